"""One look at a watched folder: which checkpoints are new, which changed, which files are broken.

It only reads files. The caller passes what is registered already, and stores what is found.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from panic_assets.training.checkpoints import (
    BrokenFile,
    Checkpoint,
    Named,
    Pattern,
    Seen,
    inspect,
    list_folder,
    look,
)
from panic_assets.training.families import families
from panic_assets.training.names import LARGEST_EPOCH

Stamp = tuple[int, int]
"""Size in bytes and mtime in nanoseconds."""


@dataclass(frozen=True)
class Watch:
    """One folder (local path or fsspec URL) that a family's checkpoints appear in.

    `run` names the run where the file names do not; else the folder's own name does.
    `epochs` is the planned number of epochs, which tells the epoch of a last file without a number.
    """

    family: str
    url: str
    pattern: str = ""
    run: str = ""
    epochs: int | None = None

    def compiled(self) -> Pattern:
        return Pattern(self.pattern or families()[self.family].pattern)

    def holds(self, path: str) -> bool:
        """Whether a path is that of the folder, or of a file in it."""
        return path == self.url or path.rpartition("/")[0] == self.url.rstrip("/")

    def run_of(self, named: Named) -> str:
        """The run a file belongs to."""
        return named.run or self.run or PurePosixPath(self.url.rstrip("/")).name


@dataclass
class Cursor:
    """What a watcher must remember between looks, by path: files that wait to stand still, files found broken
    (with the reason), and files whose content is registered under another path or time.

    Losing it costs one look, never a duplicate: what is registered is known by path, size and mtime, and
    whatever is read again is known by its hash.
    """

    waiting: dict[str, Stamp] = field(default_factory=dict)
    broken: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    settled: dict[str, Stamp] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"waiting": self.waiting, "broken": self.broken, "settled": self.settled}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Cursor":
        return cls(
            {path: (int(s), int(m)) for path, (s, m) in stored.get("waiting", {}).items()},
            {path: (int(s), int(m), str(why)) for path, (s, m, why) in stored.get("broken", {}).items()},
            {path: (int(s), int(m)) for path, (s, m) in stored.get("settled", {}).items()},
        )


@dataclass(frozen=True)
class Registered:
    """A checkpoint already stored, as far as a watcher needs to know it."""

    run: str
    epoch: int
    version: int
    path: str
    size: int
    mtime: int
    content_hash: str


@dataclass(frozen=True)
class Arrival:
    """A checkpoint to register: version 1 is new, a higher one replaces what stood at the same run and epoch.

    Where `moved`, the content is registered already (as that version) and only its path is news.
    """

    checkpoint: Checkpoint
    version: int
    moved: bool = False


@dataclass(frozen=True)
class Report:
    """A file that was not registered, and why, in one sentence."""

    path: str
    why: str


@dataclass(frozen=True)
class Tick:
    """Outcome of one look at one folder."""

    arrivals: list[Arrival]
    reports: list[Report]
    cursor: Cursor
    unread: int
    """Files that stood still but did not fit into the time allowed; the next look goes on with them."""


def tick(watch: Watch, cursor: Cursor, registered: Iterable[Registered], seconds: float = 20.0) -> Tick:
    """Look at one folder once. Listing is cheap; reading stops after `seconds` (one file is read)."""
    pattern = watch.compiled()
    listing = list_folder(watch.url)
    here = {s.path for s in listing}
    named = {s.path: n for s in listing if (n := pattern.match(s.name)) is not None}
    latest: dict[tuple[str, int], Registered] = {}
    known: dict[str, Stamp] = {}
    for r in sorted(registered, key=lambda r: r.version):
        latest[r.run, r.epoch] = r
        known[r.path] = (r.size, r.mtime)
    broken = {path: entry for path, entry in cursor.broken.items() if path in here}
    settled = {path: stamp for path, stamp in cursor.settled.items() if path in here}
    known |= settled | {path: (size, mtime) for path, (size, mtime, _) in broken.items()}
    found = look([s for s in listing if s.path in named or s.name.endswith(".safetensors")], cursor.waiting, known)
    siblings: dict[str, list[int]] = {}
    for n in named.values():
        if n.epoch is not None and n.epoch <= LARGEST_EPOCH:
            siblings.setdefault(watch.run_of(n), []).append(n.epoch)
    arrivals, reports, unread = [], [], 0
    waiting = dict(found.waiting)
    deadline = time.monotonic() + seconds
    for count, seen in enumerate(found.still):
        if count and time.monotonic() > deadline:
            unread = len(found.still) - count
            break
        try:
            checkpoint = _read(watch, seen, named.get(seen.path), siblings)
        except BrokenFile as why:
            broken[seen.path] = (seen.size, seen.mtime, str(why))
            reports.append(Report(seen.path, str(why)))
            del waiting[seen.path]
            continue
        except OSError:  # gone, or being replaced right now: it waits for another look
            continue
        broken.pop(seen.path, None)
        del waiting[seen.path]
        before = latest.get((checkpoint.run, checkpoint.epoch))
        if before is None or before.content_hash != checkpoint.content_hash:
            arrivals.append(Arrival(checkpoint, 1 if before is None else before.version + 1))
            continue
        settled[seen.path] = (seen.size, seen.mtime)
        if before.path not in here:
            arrivals.append(Arrival(checkpoint, before.version, moved=True))
    return Tick(arrivals, reports, Cursor(waiting, broken, settled), unread)


def _read(watch: Watch, seen: Seen, named: Named | None, siblings: Mapping[str, list[int]]) -> Checkpoint:
    if named is None:
        raise BrokenFile(
            f"its name does not fit the pattern {watch.compiled().text}; rename it, or give the run another pattern"
        )
    run = watch.run_of(named)
    return inspect(seen, run, named, siblings.get(run, ()), watch.epochs)
