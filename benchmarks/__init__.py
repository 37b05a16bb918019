"""What Permitgate costs, as ratios to doing the same without it, taken within one run.

A ratio of two medians measured in turns survives a slow or busy machine; a time does not. Nothing
here asserts anything: `make bench` prints one table, for people.
"""
