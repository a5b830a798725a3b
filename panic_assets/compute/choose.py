"""Which compute runs the models: one environment variable, `PANIC_COMPUTE`."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from panic_assets.asleep import asleep
from panic_assets.compute import gpus
from panic_assets.compute.protocol import Compute

if TYPE_CHECKING:
    from panic_assets import variables
else:
    variables = asleep("panic_assets.variables")


def compute_from_environment() -> Compute:
    """`in_process`: here, one task after another. `local`: worker processes, one per leased GPU or CPU core.
    `ray`: actors on a Ray cluster. `auto` (default): `local` where there is a GPU, since a CUDA error or a
    crash then costs a worker and not the step; else `in_process`, which starts at once.
    """
    choice = variables.read().compute
    if choice == "auto":
        choice = "local" if gpus.visible_gpus() else "in_process"
    if choice == "ray":
        from panic_assets.compute.ray import RayCompute

        return RayCompute()
    if choice == "local":
        from panic_assets.compute.local import LocalCompute

        return LocalCompute()
    from panic_assets.compute.in_process import InProcessCompute

    return InProcessCompute()


@contextlib.contextmanager
def side_by_side(compute: Compute, count: int) -> Iterator[Compute]:
    """A compute for several tasks that each use one thread. If PANIC_COMPUTE is `auto` and there is no GPU, it has one
    worker process per core, because in one process the other cores would idle. Otherwise the given compute."""
    if count < 2 or variables.read().compute != "auto" or gpus.visible_gpus():
        yield compute
        return
    from panic_assets.compute.local import LocalCompute

    with contextlib.closing(LocalCompute()) as workers:
        yield workers
