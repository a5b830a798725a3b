"""Repair of a grokking run's rows: losses are copied again, broken analyses dropped, so that they are made again."""

from collections.abc import Iterator
from pathlib import Path

from panic_assets.grokking import tables
from panic_assets.grokking.config import FAMILY
from panic_assets.grokking.rules import RULES
from panic_assets.lake.invariants import all_findings
from panic_assets.lake.lake import Lake
from panic_assets.training import runs

SOURCE = FAMILY.metrics or ""
ANALYSES = tuple(t.name for t in tables.TABLES if t.name != "grokking_losses")


def repair(lake: Lake, name: str) -> Iterator[str]:
    """Repair one run; says what it did. The caller holds the run's lease."""
    if (
        all_findings(lake, RULES, "grokking_losses", training_run=name)
        and Path(runs.get(lake, name)["folder"]).exists()
    ):
        from panic_assets.grokking import stages

        stages.store_losses(lake, name)
        yield "copied the losses of its training again"
    broken = [t for t in ANALYSES if all_findings(lake, RULES, t, training_run=name)]
    if all_findings(lake, RULES, "metrics", training_run=name, source=SOURCE):
        lake.remove("metrics", training_run=name, source=SOURCE)
        broken.append("metrics")
    if broken:
        for table in {*broken, "grokking_analyses"} - {"metrics"}:
            for partition, _ in list(lake.partitions(table, training_run=name)):
                lake.remove(table, **partition)
        yield f"removed its rows of {', '.join(broken)}; they are made again"
