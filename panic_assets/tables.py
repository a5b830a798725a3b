"""Every table and view of every workload and of the platform itself, and the lake that holds them."""

from pathlib import Path

from panic_assets.lake.lake import GRACE_SECONDS, Lake
from panic_assets.lake.schema import Table
from panic_assets.model_settings import MODEL_SETTINGS
from panic_assets.problems import PROBLEMS
from panic_assets.workloads import WORKLOADS

PLATFORM: tuple[Table, ...] = (PROBLEMS, MODEL_SETTINGS)
"""Tables that belong to no workload."""
TABLES: dict[str, Table] = {t.name: t for t in (*PLATFORM, *(t for workload in WORKLOADS for t in workload.tables))}
VIEWS: dict[str, tuple[str, str]] = {name: view for workload in WORKLOADS for name, view in workload.views.items()}


def open_lake(root: Path, grace_seconds: float = GRACE_SECONDS) -> Lake:
    """The lake in a folder, with the tables of all workloads."""
    return Lake(root, TABLES, VIEWS, grace_seconds)
