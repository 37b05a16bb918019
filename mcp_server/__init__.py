"""The hall: joins policy, approvals, sandbox and audit behind MCP tools and a command line.

Only the hall knows more than one room, so every mapping between rooms is here.
"""
