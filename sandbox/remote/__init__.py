"""Remote hosts: which they are, by which keys they are known, and one command on them."""
