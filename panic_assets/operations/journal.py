"""The journal of deletions that were carried out, so that they can be undone. Imports no Dagster."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from panic_assets.files import write_text
from panic_assets.settings import Home

DAY = 86_400.0


@dataclass(frozen=True)
class Entry:
    """What a deletion does to one asset: partitions that are deleted or rebuilt, and rows and bytes that are removed."""

    asset: str
    tables: tuple[str, ...]
    delete: tuple[str, ...]
    rebuild: tuple[str, ...]
    rows: int
    bytes: int
    materialised: tuple[str, ...] = ()
    """Partitions that were materialised before. A restore records them again."""


@dataclass(frozen=True)
class Deletion:
    """One deletion of a partition key. `state`: done, or restored."""

    identifier: str
    space: str
    key: str
    entries: tuple[Entry, ...]
    purge: bool
    state: str
    at: float

    @property
    def rows(self) -> int:
        return sum(e.rows for e in self.entries)

    @property
    def bytes(self) -> int:
        return sum(e.bytes for e in self.entries)

    def trash(self, home: Home) -> Path:
        """Where its files are kept for a restore."""
        return home.lake / ".trash" / self.identifier

    def restorable_until(self) -> float | None:
        """Seconds since 1970; None if it was purged, was restored or is not done."""
        if self.purge or self.state != "done":
            return None
        from panic_assets import variables  # Late: who only lists what is there deleted nothing, and needs no pydantic.

        return self.at + DAY * variables.read().trash_days


def save(home: Home, deletion: Deletion) -> None:
    """Write a deletion down; it is on disk when this returns."""
    write_text(home.deletions / f"{deletion.identifier}.json", json.dumps(asdict(deletion), indent=1))


def read(home: Home) -> Iterator[Deletion]:
    """All deletions that were written down, oldest first."""
    for path in sorted(home.deletions.glob("*.json")):
        yield parsed(json.loads(path.read_text()))


def parsed(raw: dict[str, Any]) -> Deletion:
    """A deletion as JSON has it."""
    listed: list[dict[str, Any]] = raw["entries"]
    entries: list[dict[str, Any]] = [{k: tuple(v) if isinstance(v, list) else v for k, v in e.items()} for e in listed]
    return Deletion(**{**raw, "entries": tuple(Entry(**e) for e in entries)})


def restorable(home: Home, space: str) -> list[Deletion]:
    """Deletions that can still be undone, oldest first."""
    now = time.time()
    mine = (d for d in read(home) if d.space == space)
    return [d for d in mine if (d.restorable_until() or 0) > now and d.trash(home).exists()]
