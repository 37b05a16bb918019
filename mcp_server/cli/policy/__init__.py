"""`permitgate policy`: write a policy, try it, and see what it would have done."""
