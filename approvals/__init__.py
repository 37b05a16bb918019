"""Approvals: who may say yes, their yes or no, and what exactly it was said to.

May touch: one SQLite file, one directory of local sockets. What an action is, and what the audit
log does with a record, is the hall's business: both arrive here as plain values.
"""
