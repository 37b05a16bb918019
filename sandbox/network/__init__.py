"""Network for a command: a namespace with no route out, and a broker outside that serves it.

The command's own calls decide: every connection is taken inside the namespace, and the broker asks
policy about it by name, port and what the first bytes say. Names get synthetic addresses, so the
address that is connected to tells the name. Where the broker is gone nothing answers any more.
"""
