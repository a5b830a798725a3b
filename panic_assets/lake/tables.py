"""Every table of the lake, and the views the catalogue adds, workload by workload."""

from panic_assets.finetunes import tables as finetunes
from panic_assets.grokking import tables as grokking
from panic_assets.lake.schema import Table
from panic_assets.training import tables as training
from panic_assets.trajectories.tables import dynamics, runs, symbols

_MODULES = [dynamics, finetunes, grokking, symbols, training, runs]

TABLES: dict[str, Table] = {t.name: t for module in _MODULES for t in module.TABLES}
VIEWS: dict[str, tuple[str, str]] = {
    name: view for module in _MODULES for name, view in getattr(module, "VIEWS", {}).items()
}
