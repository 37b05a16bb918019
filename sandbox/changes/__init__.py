"""Change sets: what a command or patch did to a workspace, committed as a set, held, or put back.

`overlay` shows a command a copy-on-write view; `upper` reads what it did there; `filter` says what
a person should see; `transaction` lands or reverts it, `recovery` ends what a crash cut off;
`store` keeps it; `points` brings back the workspace of a moment.
"""
