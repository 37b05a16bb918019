"""Remote hosts."""
