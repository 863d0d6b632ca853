"""Parley: organisations learn a model together; every row stays at home."""
