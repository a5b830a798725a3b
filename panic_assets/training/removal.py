"""Deleting a training run: refused while others started from it, or leaving a tombstone; undone for a while."""

import shutil
from pathlib import Path
from typing import Any

from panic_assets.instance.hook import without_hook
from panic_assets.lake.catalogue import build
from panic_assets.operations import deletion, journal
from panic_assets.operations.house import House
from panic_assets.operations.journal import Deletion
from panic_assets.partitions import name_of, runs_of
from panic_assets.settings import home
from panic_assets.training import registration, runs
from panic_assets.training.families import families
from panic_assets.training.lineage import OnDelete

FILES = "training"
"""Folder of the trash that holds the run's own files."""


def space_of(family: str) -> str:
    """The name of the partition space of a family's runs."""
    return name_of(runs_of(family))


def spaces() -> set[str]:
    """The names of the partition spaces of all families' runs."""
    return {space_of(family) for family in families()}


def plan(house: House, name: str, mode: OnDelete) -> tuple[Deletion, str]:
    """What deleting a run would do, and whether it `remove`s the run or leaves a `tombstone`."""
    row = runs.get(house.lake, name)
    fate = runs.lineage(house.lake).on_delete(name, mode)
    return deletion.plan(house, space_of(row["family"]), name), fate


def delete(house: House, name: str, mode: OnDelete = "block", spare: tuple[str, ...] = ()) -> Deletion:
    """Delete a run's rows, materialisations and the files that were trained here. Watched files stay: they are not ours."""
    lake = house.lake
    row = runs.get(lake, name)
    planned, fate = plan(house, name, mode)
    drawn = lake.sql("SELECT render FROM renders", training_run=name)["render"].to_pylist()
    done = deletion.run(house, planned, spare)
    for render in drawn:  # not kept: a restored row whose file is gone is drawn again when asked for
        shutil.rmtree(home().root / "renders" / render, ignore_errors=True)
    own = _own_files(row)
    if own is not None and own.exists():
        keep_files(done, own)
    if fate == runs.TOMBSTONE:
        runs.bury(lake, row)
        registration.add_keys(house.instance, row["family"], [name])
        build(lake, home().catalogue)
    return done


def key_deleted(house: House, space: str, key: str) -> None:
    """The key was deleted in Dagster, where nothing is asked. A run from which others started leaves a tombstone."""
    row = runs.find(house.lake, key)
    if row is None:
        deletion.key_deleted(house, space, key)
    elif space_of(row["family"]) == space:  # A run of another family of that name stays as it is.
        delete(house, key, "tombstone")


def keep_files(deletion: Deletion, folder: Path) -> None:
    """Move a deleted run's files to the files that are kept for a restore."""
    kept = deletion.trash(home()) / FILES
    kept.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, kept / folder.name)


def restore(house: House, name: str) -> Deletion:
    """Bring a deleted run back with its files."""
    lake, row = house.lake, runs.find(house.lake, name)
    space = _space_of_deleted(name) if row is None else space_of(row["family"])
    if row is not None and row["status"] == runs.TOMBSTONE:
        with without_hook():  # the tombstone alone goes, and is no deletion to undo
            house.instance.delete_dynamic_partition(space, name)
        lake.remove("training_runs", training_run=name)
    kept = {d.identifier: d.trash(home()) / FILES / name for d in journal.restorable(home(), space) if d.key == name}
    waiting = [path for path in kept.values() if path.exists()]
    moved = home().root / "training" / name
    if waiting and not moved.exists():
        moved.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(waiting[-1], moved)
    return deletion.restore(house, space, name)


def _space_of_deleted(name: str) -> str:
    """The space in which a run of that name was deleted last; that of own training loops where it never was."""
    known = spaces()
    told = [d.space for d in journal.read(home()) if d.key == name and d.space in known]
    return told[-1] if told else space_of("training")


def _own_files(row: dict[str, Any]) -> Path | None:
    where = Path(row["folder"])
    return where if where.parent == home().root / "training" else None
