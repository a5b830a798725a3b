"""The journal of deletions. Each is written down before it starts, so that it can be finished or undone later. Imports no Dagster."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from panic_assets.ids import uuid7
from panic_assets.lake.files import write_text
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
    """One deletion of a partition key. `state`: started, done, restored."""

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


def begun(space: str, key: str, entries: tuple[Entry, ...], purge: bool) -> Deletion:
    """A deletion that has not been written down yet."""
    return Deletion(uuid7(), space, key, entries, purge, "started", time.time())


def save(home: Home, deletion: Deletion, state: str) -> Deletion:
    """Write the deletion down in a new state; it is on disk when this returns."""
    changed = replace(deletion, state=state, at=time.time())
    write_text(home.deletions / f"{deletion.identifier}.json", json.dumps(asdict(changed), indent=1))
    return changed


def read(home: Home) -> Iterator[Deletion]:
    """All deletions that were written down, oldest first."""
    for path in sorted(home.deletions.glob("*.json")):
        raw = json.loads(path.read_text())
        listed: list[dict[str, Any]] = raw.pop("entries")
        entries: list[dict[str, Any]] = [
            {k: tuple(v) if isinstance(v, list) else v for k, v in e.items()} for e in listed
        ]
        yield Deletion(entries=tuple(Entry(**e) for e in entries), **raw)


def unfinished(home: Home) -> list[Deletion]:
    """Deletions that were begun and not finished."""
    return [d for d in read(home) if d.state == "started"]


def restorable(home: Home, space: str) -> list[Deletion]:
    """Deletions that can still be undone, oldest first."""
    now = time.time()
    mine = (d for d in read(home) if d.space == space)
    return [d for d in mine if (d.restorable_until() or 0) > now and d.trash(home).exists()]
