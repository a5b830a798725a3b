"""What the shared assets of a training family are called. Imports nothing: missing-work queries and jobs use it too."""

SPINE = ("training_runs", "checkpoints", "convergence", "costs", "notifications")


def asset(family: str, shared: str) -> str:
    """The asset of a family that does what `shared` names: `grokking_checkpoints`."""
    return f"{family}_{shared.removeprefix('training_')}"
