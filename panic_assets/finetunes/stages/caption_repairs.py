"""Captions are repaired, and repairs are undone: all files of a repair or none, also after an interruption."""

from collections.abc import Collection
from pathlib import Path

from panic_assets.finetunes.captions import files
from panic_assets.finetunes.captions.files import Batch, Change
from panic_assets.finetunes.captions.rules import Rules
from panic_assets.ids import uuid7
from panic_assets.lake.lake import Lake
from panic_assets.operations import operation
from panic_assets.operations.actions import Action, Move, Overwrite, Stores, inode
from panic_assets.operations.operation import WAIT_SECONDS, Operation


def proposed_repairs(lake: Lake, folder: Path, wanted: Rules) -> list[Change]:
    """The changes that would repair what can be repaired, after a repair that was interrupted is finished."""
    operation.finish(operation.stores(lake, None), _lease(folder.resolve()))
    return files.repairs(files.load(folder), wanted)


def repair_captions(lake: Lake, folder: Path, changes: Collection[Change]) -> Batch:
    """Make changes to captions: all of them or, when a file has changed since it was read, none. A backup is kept."""
    stores, folder = operation.stores(lake, None), folder.resolve()
    lease = _lease(folder)
    with lake.lease(lease, wait_seconds=WAIT_SECONDS):
        operation.finish_under(stores, lease)
        batch = files.back_up(folder, changes)
        backup = batch.folder(folder)
        actions = [
            Overwrite(str(folder / e.name), e.before, e.after, str(backup / files.AFTER / e.name))
            for e in batch.entries
        ]
        _perform(stores, f"repair {batch.id} of captions in {folder}", lease, actions)
    return batch


def undo_repair(lake: Lake, folder: Path, batch_id: str) -> Batch:
    """Put back every file of a repair, byte for byte. Refused when one was edited since; then nothing is written."""
    stores, folder = operation.stores(lake, None), folder.resolve()
    lease = _lease(folder)
    sentence = f"the undoing of repair {batch_id} in {folder}"
    with lake.lease(lease, wait_seconds=WAIT_SECONDS):
        if any(finished.sentence == sentence for finished in operation.finish_under(stores, lease)):
            return files.batch(folder, batch_id, files.UNDONE)
        batch = files.undoable(folder, batch_id)
        backup = batch.folder(folder)
        told = backup / files.BATCH
        actions: list[Action] = [
            Overwrite(str(folder / e.name), e.after, e.before, str(backup / e.name)) for e in batch.entries
        ]
        actions.append(Move(str(told), str(backup / files.UNDONE), inode(told)))
        _perform(stores, sentence, lease, actions)
    return batch


def _lease(folder: Path) -> str:
    return f"captions in {folder}"


def _perform(stores: Stores, sentence: str, lease: str, actions: Collection[Action]) -> None:
    operation.perform(stores, Operation(uuid7(), sentence, lease, tuple(actions)))
