"""Sandbox: the only room that touches the world. Local processes, files, remote hosts.

Its runners take a Permit and nothing else; what they run is frozen inside it.
"""
