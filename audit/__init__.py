"""Audit: one record format, one signed log, and the means to check both without trusting us."""
