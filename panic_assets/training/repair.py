"""Finds and repairs what is wrong with training runs: lineage, rows made from other rows, files of runs that are gone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from panic_assets.lake.invariants import Finding, Kind, all_findings
from panic_assets.lake.lake import Lake
from panic_assets.operations import journal
from panic_assets.operations.house import House
from panic_assets.settings import home
from panic_assets.training import removal, runs, settings, stages
from panic_assets.training.rules import RULES

REMADE = {"convergence": stages.converge, "advice": stages.converge, "costs": stages.price}
"""Tables that are quickly made from others -> the function that makes them."""


def examine_files(lake: Lake) -> Iterator[Finding]:
    """Files of runs that have no rows: they are left over from a deletion, or were never registered."""
    deleted = _deleted()
    for folder in _strangers(lake):
        kind: Kind = "orphaned" if folder.name in deleted else "stale"
        fate = "was deleted" if folder.name in deleted else "is not registered; `panic grokking ingest` registers it"
        sentence = f"{folder} holds the files of a training run that {fate}"
        yield Finding(kind, "training_runs", 1, sentence, (("training_run", folder.name),))
    for folder in _undrawn(lake):
        yield Finding("orphaned", "renders", 1, f"{folder} holds an animation that does not belong to a run")


def mend(house: House) -> Iterator[str]:
    """Leave tombstones of parents that are missing, and finish the deletion of files; says what it did."""
    lake = house.lake
    rows = {r["training_run"]: r for r in runs.every(lake)}
    for child in [r for r in rows.values() if r["parent_run"] and r["parent_run"] not in rows]:
        removal.bury(house, runs.unknown(child))
        yield f"made a tombstone of {child['parent_run']}, from which {child['training_run']} started"
    deleted = _deleted()
    for folder in _strangers(lake):
        if folder.name in deleted:
            removal.keep_files(deleted[folder.name], folder)
            yield f"moved the files of {folder.name}, which was deleted, to the files kept for a restore"
    for folder in _undrawn(lake):
        shutil.rmtree(folder)
        yield f"removed animation {folder.name}, which does not belong to a run"


def repair_run(lake: Lake, name: str) -> Iterator[str]:
    """Make again what is broken and follows from other rows of a run. The caller holds the run's lease."""
    if all_findings(lake, RULES, "checkpoints", training_run=name):
        stages.mark_current(lake, name)
        yield "marked the newest version of every checkpoint as the current one"
    for table, make in REMADE.items():
        if all_findings(lake, RULES, table, training_run=name):
            make(lake, name, settings.read())
            yield f"made {table} again"


def _strangers(lake: Lake) -> list[Path]:
    """Folders of runs that were trained here and have no row in the lake."""
    known = {p["training_run"] for p, _ in lake.partitions("training_runs")}
    return [f for f in _folders(home().root / "training") if f.name not in known]


def _undrawn(lake: Lake) -> list[Path]:
    """Folders of animations that have no row."""
    known = set(lake.sql("SELECT render FROM renders")["render"].to_pylist())
    return [f for f in _folders(home().root / "renders") if f.name not in known]


def _folders(root: Path) -> list[Path]:
    return sorted(f for f in root.iterdir() if f.is_dir()) if root.exists() else []


def _deleted() -> dict[str, journal.Deletion]:
    """The latest deletion of every training run that was deleted and not restored."""
    known = removal.spaces()
    mine = [d for d in journal.read(home()) if d.space in known]
    return {d.key: d for d in mine if d.state != "restored"}
