"""How much of this machine is ours: cores and memory, as the system or the container grants them."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where a container finds its own limits (cgroup v2)."""


def cores() -> int:
    """CPU cores that this process may use, at least 1."""
    usable = len(os.sched_getaffinity(0))
    quota, period = [*_limit("cpu.max"), "100000"][:2]
    return usable if quota == "max" else max(1, min(usable, int(quota) // int(period)))


def memory_gb() -> float:
    """Memory in GiB: the machine's, or the container's limit when that is less."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _limit("memory.max")[0]
    return (physical if limit == "max" else min(physical, int(limit))) / 2**30


def _limit(name: str) -> list[str]:
    try:
        return (CGROUP / name).read_text().split() or ["max"]
    except OSError:
        return ["max"]
