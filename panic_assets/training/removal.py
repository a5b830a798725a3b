"""Deleting a training run: refused while others started from it, or leaving a tombstone; undone for a while."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg

from panic_assets.instance.hook import without_hook
from panic_assets.lake.catalogue import build
from panic_assets.lake.lake import Lake
from panic_assets.operations import deletion
from panic_assets.operations.journal import Deletion
from panic_assets.settings import home
from panic_assets.training import registration, runs
from panic_assets.training.lineage import OnDelete

FILES = "training"
"""Folder of the trash that holds the run's own files."""


def plan(instance: dg.DagsterInstance, name: str, mode: OnDelete) -> tuple[Deletion, str]:
    """What deleting a run would do, and whether it `remove`s the run or leaves a `tombstone`."""
    lake = Lake(home().lake)
    runs.get(lake, name)
    fate = runs.lineage(lake).on_delete(name, mode)
    return deletion.plan(instance, registration.SPACE, name), fate


def delete(instance: dg.DagsterInstance, name: str, mode: OnDelete = "block", spare: tuple[str, ...] = ()) -> Deletion:
    """Delete a run's rows, materialisations and the files that were trained here. Watched files stay: they are not ours."""
    lake = Lake(home().lake)
    row = runs.get(lake, name)
    planned, fate = plan(instance, name, mode)
    drawn = lake.sql("SELECT render FROM renders", training_run=name)["render"].to_pylist()
    done = deletion.run(instance, planned, spare)
    for render in drawn:  # not kept: a restored row whose file is gone is drawn again when asked for
        shutil.rmtree(home().root / "renders" / render, ignore_errors=True)
    own = _own_files(row)
    if own is not None and own.exists():
        keep_files(done, own)
    if fate == runs.TOMBSTONE:
        runs.bury(lake, row)
        registration.add_keys(instance, [name])
        build(lake, home().catalogue)
    return done


def keep_files(deletion: Deletion, folder: Path) -> None:
    """Put a deleted run's files with what is kept for a restore."""
    kept = deletion.trash(home()) / FILES
    kept.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, kept / folder.name)


def restore(instance: dg.DagsterInstance, name: str) -> Deletion:
    """Bring a deleted run back with its files."""
    lake = Lake(home().lake)
    row = runs.find(lake, name)
    if row is not None and row["status"] == runs.TOMBSTONE:
        with without_hook():  # the tombstone alone goes, and is no deletion to undo
            instance.delete_dynamic_partition(registration.SPACE, name)
        lake.remove("training_runs", training_run=name)
    kept = {
        d.identifier: d.trash(home()) / FILES / name for d in deletion.restorable(registration.SPACE) if d.key == name
    }
    waiting = [path for path in kept.values() if path.exists()]
    moved = home().root / "training" / name
    if waiting and not moved.exists():
        moved.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(waiting[-1], moved)
    return deletion.restore(instance, registration.SPACE, name)


def _own_files(row: dict[str, Any]) -> Path | None:
    where = Path(row["folder"])
    return where if where.parent == home().root / "training" else None
