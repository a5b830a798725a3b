"""Deleting a training run: refused while others started from it, or leaving a tombstone; undone for a while."""

import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from panic_assets.errors import UserError
from panic_assets.ids import uuid7
from panic_assets.lake.lake import Lake
from panic_assets.operations import deletion, journal, operation
from panic_assets.operations.actions import Action, AddKeys, Bring, Discard, Move, Retire, Stores, inode
from panic_assets.operations.house import House
from panic_assets.operations.journal import Deletion
from panic_assets.operations.operation import Operation
from panic_assets.partitions import name_of, runs_of
from panic_assets.settings import home
from panic_assets.training import runs
from panic_assets.training.families import families
from panic_assets.training.lineage import OnDelete
from panic_assets.training.runs import LEASE

FILES = "training"
"""Folder of the trash that holds the run's own files."""
STAGED = "staged"
"""Folder beside it that holds the row of a tombstone until it is listed."""


def space_of(family: str) -> str:
    """The name of the partition space of a family's runs."""
    return name_of(runs_of(family))


def spaces() -> set[str]:
    """The names of the partition spaces of all families' runs."""
    return {space_of(family) for family in families()}


def plan(house: House, name: str, mode: OnDelete) -> tuple[Deletion, str]:
    """What deleting a run would do, and whether it `remove`s the run or leaves a `tombstone`."""
    for begun in operation.unfinished(home(), LEASE.format(name)):
        if begun.record is not None and begun.record.state == "done":
            return begun.record, runs.TOMBSTONE if _leaves_a_tombstone(begun) else "remove"
    row = runs.get(house.lake, name)
    fate = runs.lineage(house.lake).on_delete(name, mode)
    if row["status"] == runs.TOMBSTONE == fate:
        raise UserError(f"training run {name!r} is deleted; only its name is kept, because other runs started from it")
    return deletion.plan(house, space_of(row["family"]), name), fate


def delete(house: House, name: str, mode: OnDelete = "block", spare: tuple[str, ...] = ()) -> Deletion:
    """Delete a run's rows, materialisations and the files that were trained here. Watched files stay: they are not ours."""
    planned, fate = plan(house, name, mode)
    return deletion.run(house, planned, spare, partial(_more, house.lake, name, fate))


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
    # A tombstone makes room: it is no run, and what is restored is more than it.
    room = [_retired(lake, name)] if row is not None and row["status"] == runs.TOMBSTONE else []
    return deletion.restore(house, space, name, partial(_files_back, name), room)


def bury(house: House, row: Mapping[str, Any]) -> None:
    """Leave a tombstone of a run of which only the name is known: its row and its key."""
    name = row["training_run"]
    stores, lease = operation.stores(house.lake, house.instance), LEASE.format(name)
    identifier = uuid7()
    with house.lake.lease(lease, wait_seconds=operation.WAIT_SECONDS):
        operation.finish_under(stores, lease)
        trash = home().lake / ".trash" / identifier
        actions = (*_tombstone(stores, trash, row), Discard(stores.name(trash), inode(trash)))
        operation.perform(stores, Operation(identifier, f"the burial of training run {name}", lease, actions))


def _more(lake: Lake, name: str, fate: str, stores: Stores, deleted: Deletion) -> Iterator[Action]:
    """What is deleted of a run besides rows and records, and the tombstone that it leaves."""
    row = runs.get(lake, name)
    for render in lake.sql("SELECT render FROM renders", training_run=name)["render"].to_pylist():
        drawn = home().root / "renders" / render
        if drawn.exists():  # Not kept: a restored row whose file is gone is drawn again when asked for.
            yield Discard(stores.name(drawn), inode(drawn))
    own, trash = _own_files(row), deleted.trash(home())
    if own is not None and own.exists():
        yield Move(stores.name(own), stores.name(trash / FILES / own.name), inode(own))
    if fate == runs.TOMBSTONE:
        yield from _tombstone(stores, trash, row)


def _tombstone(stores: Stores, trash: Path, row: Mapping[str, Any]) -> Iterator[Action]:
    """Its row is written here, where nobody looks for it, and listed by the operation."""
    staged = Lake(trash / STAGED, stores.lake.tables)
    runs.bury(staged, row)
    yield Bring("training_runs", {"training_run": row["training_run"]}, stores.name(staged.root))
    yield AddKeys(space_of(row["family"]), (row["training_run"],))


def _leaves_a_tombstone(begun: Operation) -> bool:
    return any(isinstance(action, Bring) for action in begun.actions)


def _retired(lake: Lake, name: str) -> Action:
    files = tuple(f.name for _, found in lake.partitions("training_runs", training_run=name) for f in found.files)
    return Retire("training_runs", {"training_run": name}, files)


def _files_back(name: str, stores: Stores, restored: Deletion) -> Iterator[Action]:
    kept, home_of_it = restored.trash(home()) / FILES / name, home().root / "training" / name
    if kept.exists():
        yield Move(stores.name(kept), stores.name(home_of_it), inode(kept))


def _space_of_deleted(name: str) -> str:
    """The space in which a run of that name was deleted last; that of own training loops where it never was."""
    known = spaces()
    open_ones = [o.record for o in operation.unfinished(home(), LEASE.format(name)) if o.record]
    told = [d.space for d in (*journal.read(home()), *open_ones) if d.key == name and d.space in known]
    return told[-1] if told else space_of("training")


def _own_files(row: dict[str, Any]) -> Path | None:
    where = Path(row["folder"])
    return where if where.parent == home().root / "training" else None
