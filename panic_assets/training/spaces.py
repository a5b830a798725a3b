"""The partition space of a training family's runs."""

from collections.abc import Callable, Iterator, Mapping

from panic_assets.lake.lake import Lake
from panic_assets.training import missing, runs
from panic_assets.training.runs import LEASE
from panic_assets.workload import Query, Space, later

COLUMN = "training_run"


def space_of(
    family: str,
    own: Mapping[str, Query] | None = None,
    makes: str | None = None,
    repair: Callable[[Lake, str], Iterator[str]] | None = None,
) -> Space:
    """The space of a family: `own` are its missing-work queries, `makes` the job that makes what is missing of a run,
    and `repair` mends the family's own rows of a run."""

    def keys(lake: Lake) -> list[str]:
        return [row["training_run"] for row in runs.every(lake, family)]

    def mended(lake: Lake, name: str) -> Iterator[str]:
        yield from later("panic_assets.training.repair:repair_run")(lake, name)
        if repair is not None:
            yield from repair(lake, name)

    return Space(
        name=f"{family}_run",
        noun="training run",
        table="training_runs",
        column=COLUMN,
        missing={**missing.spine(family), **(own or {})},
        repair=mended,
        lease=LEASE,
        makes=makes,
        delete=later("panic_assets.training.removal:key_deleted"),
        defined=keys,
    )
