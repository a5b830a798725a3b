"""What commands work with: the lake and its catalogue; and Dagster, for those that do more than read.

Dagster takes longer to import than a question to the lake takes to answer. So it is imported here, and only when a
command carries something out: command modules import at their top what they need, and a command that reads stays quick.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from panic_assets.cli.output import say
from panic_assets.lake.catalogue import build
from panic_assets.lake.lake import Lake
from panic_assets.settings import home
from panic_assets.tables import open_lake

if TYPE_CHECKING:
    import dagster as dg

    from panic_assets.operations.house import House


def lake() -> Lake:
    """The lake of PANIC_HOME."""
    return open_lake(home().lake)


def refresh() -> None:
    """Rebuild the catalogue."""
    build(lake(), home().catalogue)


@contextmanager
def instance(carry_on: bool = True) -> Iterator["dg.DagsterInstance"]:
    """The Dagster instance of PANIC_HOME. What was interrupted, such as a deletion, is finished first.

    Without `carry_on` the caller does that: it was asked for the same again."""
    from panic_assets.cli import performing
    from panic_assets.operations import operation

    with performing.instance() as opened:
        if carry_on:
            for done in operation.finish_all(operation.stores(lake(), opened)):
                say(done)
                refresh()
        yield opened


def materialise(
    opened: "dg.DagsterInstance", job: str, partition: str | None, what: str, run_config: dict[str, Any] | None = None
) -> None:
    """Run a job of the graph here, for one partition."""
    from panic_assets.cli import performing

    performing.materialise(opened, job, partition, what, run_config)


def open_house(opened: "dg.DagsterInstance") -> "House":
    """What operations work on."""
    from panic_assets import house

    return house.open_house(opened)
