"""`permitgate approvals watch`: a live screen of what waits, answered by single keys."""
