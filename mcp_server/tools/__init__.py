"""The tools an agent sees, one module per family; each only asks the gate."""
