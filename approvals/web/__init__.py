"""The approval page and its API: HTTP on a listener of its own, beside the terminal's socket.

May touch: one listening socket, the approvers' file, one lock and the one-time links beside the
store. Who may answer is decided here; what an answer leads to is the desk's business.
"""
