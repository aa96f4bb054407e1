"""Faults under load, and what the books say afterwards."""
