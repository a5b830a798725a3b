"""An operation of several steps: written down before its first action, and carried on after an interruption.

Everything that changes more than one place goes through here: deletions, restores, tombstones, registrations, repairs of
captions. An operation works under the lease of its subject. While it is unfinished, nothing else may work on the subject:
whoever wants to either finishes it first (`finish`) or is refused (`refuse_unfinished`).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panic_assets.errors import UserError
from panic_assets.files import write_text
from panic_assets.lake.lake import Lake
from panic_assets.lake.lease import LeaseHeld
from panic_assets.operations import actions as kinds
from panic_assets.operations import journal
from panic_assets.operations.actions import Action, Stores
from panic_assets.operations.journal import Deletion
from panic_assets.settings import Home, home

if TYPE_CHECKING:
    import dagster as dg

WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Operation:
    """What is to be done, in order. `record` is what the journal of deletions says once it is done."""

    identifier: str
    sentence: str
    """What it is, in words: "the deletion of experiment dice"."""
    lease: str
    """What it holds while it works."""
    actions: tuple[Action, ...]
    record: Deletion | None = None

    def file(self, where: Home) -> Path:
        """Where it is written down until it is done."""
        return where.operations / f"{self.identifier}.json"


def stores(lake: Lake, instance: "dg.DagsterInstance | None") -> Stores:
    """What an operation in the home of PANIC_HOME changes."""
    return Stores(lake, instance, home().root)


def perform(where: Stores, operation: Operation) -> None:
    """Write an operation down and carry it out. The caller holds its lease."""
    _write(operation)
    carry_out(where, operation)


def carry_out(where: Stores, operation: Operation) -> None:
    """Do everything that an operation says and is not done yet. The caller holds its lease."""
    for action in operation.actions:
        action.do(where)
    if operation.record is not None:
        journal.save(home(), operation.record)
    operation.file(home()).unlink(missing_ok=True)


def unfinished(where: Home, lease: str | None = None) -> list[Operation]:
    """Operations (that hold the lease) which were begun and not finished, oldest first. One that is at work right now
    is among them."""
    found = []
    for path in sorted(where.operations.glob("*.json")):
        try:
            operation = _read(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue  # It was finished just now.
        if lease is None or operation.lease == lease:
            found.append(operation)
    return found


def finish_under(where: Stores, lease: str) -> list[Operation]:
    """Finish what was interrupted on a subject, oldest first. The caller holds the lease."""
    found = unfinished(home(), lease)
    for operation in found:
        carry_out(where, operation)
    return found


def finish(where: Stores, lease: str) -> list[Operation]:
    """The same for whoever does not hold the lease. It is taken only if there is something to finish."""
    if not unfinished(home(), lease):
        return []
    with where.lake.lease(lease, wait_seconds=WAIT_SECONDS):
        return finish_under(where, lease)


def finish_all(where: Stores) -> Iterator[str]:
    """Finish everything that was interrupted, and say what it was. What somebody works on is left to them."""
    for lease in dict.fromkeys(operation.lease for operation in unfinished(home())):
        try:
            with where.lake.lease(lease):
                done = finish_under(where, lease)
        except LeaseHeld:
            continue
        yield from (f"finished {operation.sentence}, which had been interrupted" for operation in done)


def refuse_unfinished(lease: str) -> None:
    """Refuse to work on a subject while an operation on it is unfinished."""
    for operation in unfinished(home(), lease):
        raise UserError(
            f"{operation.sentence} was interrupted, and must be finished first: run `panic doctor --fix`, then try again"
        )


def _write(operation: Operation) -> None:
    record = asdict(operation.record) if operation.record else None
    raw = {**vars(operation), "actions": [kinds.written(a) for a in operation.actions], "record": record}
    write_text(operation.file(home()), json.dumps(raw, indent=1))


def _read(raw: dict[str, Any]) -> Operation:
    listed: Sequence[dict[str, Any]] = raw["actions"]
    record = journal.parsed(raw["record"]) if raw["record"] else None
    return Operation(**{**raw, "actions": tuple(kinds.read(a) for a in listed), "record": record})
