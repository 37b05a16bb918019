"""Patches: a diff or edits to exact bytes, landed as one set, and put back again.

Only `run.py` changes files, and only for a permit.
"""
