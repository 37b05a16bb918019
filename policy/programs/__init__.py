"""What programs do with their arguments: a small language (YAML data) and its interpreter.

May touch: argument vectors, and the packaged `*.yaml` through importlib.resources. May not touch:
shell syntax (policy/shell does), rules (policy/rules does), the machine.
"""
