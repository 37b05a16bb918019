"""Approvals: who may say yes, their yes or no, and what exactly it was said to."""
