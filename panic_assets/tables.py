"""Every table and view of every workload, and the lake that holds them."""

from pathlib import Path

from panic_assets.lake.lake import GRACE_SECONDS, Lake
from panic_assets.lake.schema import Table
from panic_assets.workloads import WORKLOADS

TABLES: dict[str, Table] = {table.name: table for workload in WORKLOADS for table in workload.tables}
VIEWS: dict[str, tuple[str, str]] = {name: view for workload in WORKLOADS for name, view in workload.views.items()}


def open_lake(root: Path, grace_seconds: float = GRACE_SECONDS) -> Lake:
    """The lake in a folder, with the tables of all workloads."""
    return Lake(root, TABLES, VIEWS, grace_seconds)
