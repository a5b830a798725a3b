"""The families of training runs, asked of the workloads: the training spine names none."""

from panic_assets.workload import Family


def families() -> dict[str, Family]:
    """Family name -> what it says of itself."""
    from panic_assets.workloads import FAMILIES  # Late: the list of workloads imports this room.

    return FAMILIES
