"""Tables of the trajectories workload: runs and what they gave, how they moved, and the clusters they visited."""

from panic_assets.trajectories.tables import dynamics, runs, symbols

TABLES = (*runs.TABLES, *dynamics.TABLES, *symbols.TABLES)
VIEWS: dict[str, tuple[str, str]] = {
    name: view for module in (runs, dynamics, symbols) for name, view in getattr(module, "VIEWS", {}).items()
}
