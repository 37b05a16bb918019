"""Copies of the log elsewhere: each sink follows the log's files and delivers what is signed.

May touch: the log's files for reading, `sinks/` and `cosignatures/` below the log, and the one
receiver a sink is configured for. Nothing here is on the road of a call: the log itself is the
spool, so a dead receiver costs no memory, and loses nothing when it returns.
"""
