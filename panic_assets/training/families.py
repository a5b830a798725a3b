"""The families of training runs, asked of the workloads: the training spine names none."""

from panic_assets.workload import Family, later


def families() -> dict[str, Family]:
    """Family name -> what it says of itself."""
    found: dict[str, Family] = later("panic_assets.workloads:families")()
    return found
