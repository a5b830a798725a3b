"""Rolls of dice: an example of a workload that comes from another package."""
