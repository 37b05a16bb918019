"""Tests of the hall: the road, the transports, the tools, the command line."""
