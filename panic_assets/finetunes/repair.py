"""Repair of a fine-tune's rows: what breaks a rule of its table goes, so that it counts as missing and is made again."""

from collections.abc import Iterator

from panic_assets.finetunes.tables import TABLES
from panic_assets.lake.lake import Lake
from panic_assets.lake.mending import mend
from panic_assets.lake.schema import Table


def upstream_first(tables: tuple[Table, ...]) -> list[Table]:
    """Tables after those that they refer to: what goes from one makes rows of the next refer to nothing."""
    left, done = list(tables), list[Table]()
    while left:
        names = {table.name for table in left}
        ready = [t for t in left if not any(r.target in names and r.target != t.name for r in t.references)] or left
        done += ready
        left = [table for table in left if table not in ready]
    return done


def repair(lake: Lake, name: str) -> Iterator[str]:
    """Repair one run; says what it did. The caller holds the run's lease."""
    for table in upstream_first(TABLES):
        where = {"training_run" if "training_run" in table.partitioned_by else table.partitioned_by[0]: name}
        yield from mend(lake, table.name, **where)
