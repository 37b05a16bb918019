"""Shell text to an understood tree, and the tree back to the only text a shell is given.

May touch: the text it is handed. May not touch: files, clocks, processes, other parts of policy.
Source: bash 5.2 (Bash Reference Manual, and its sources where the manual is silent).
"""
