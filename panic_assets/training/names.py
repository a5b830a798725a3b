"""What training runs and the shared assets of a family are called. Imports nothing of ours: all of training uses it."""

import re

NAME = re.compile(r"(?!.*\.\.\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Of a training run. It is a partition key, hence without "...", which Dagster reads as a range."""
LARGEST_EPOCH = 1_000_000_000
"""A larger number in a file's name is a date or a hash, and no epoch."""

SPINE = ("training_runs", "checkpoints", "convergence", "costs", "notifications")


def asset(family: str, shared: str) -> str:
    """The asset of a family that does what `shared` names: `grokking_checkpoints`."""
    return f"{family}_{shared.removeprefix('training_')}"
