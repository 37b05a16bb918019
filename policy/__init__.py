"""Policy: text in, decision out. Reads a command, says what it may touch, and applies the rules.

May touch: nothing but its arguments. No clock, files, environment or randomness; the packaged data
(programs, packs) is read once through importlib.resources.
"""
