"""The lake and its catalogue, for commands that only read. Imports no Dagster."""

from panic_assets.lake.catalogue import build
from panic_assets.lake.lake import Lake
from panic_assets.settings import home
from panic_assets.tables import open_lake


def lake() -> Lake:
    """The lake of PANIC_HOME."""
    return open_lake(home().lake)


def refresh() -> None:
    """Rebuild the catalogue."""
    build(lake(), home().catalogue)
