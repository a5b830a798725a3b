"""A stored partition is a folder of immutable Parquet files and a manifest that says which of them count.

Swapping the manifest is the one atomic step of every write: a reader sees the old list or the new one.
Files that no longer count are *retired*: they stay readable for a grace period counted from their
retirement, for readers that opened the old list, and are removed by a later write or sweep.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from panic_assets.files import write_text
from panic_assets.lake.schema import Table

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StoredFile:
    """One Parquet file: its name in the partition's folder, rows, bytes and the schema it was written with."""

    name: str
    rows: int
    bytes: int
    schema: str


@dataclass(frozen=True)
class Manifest:
    """What a partition holds now. `written_at` is in seconds since 1970."""

    generation: int = 0
    files: tuple[StoredFile, ...] = ()
    retired: tuple[tuple[str, float], ...] = ()
    written_at: float = 0.0
    removed: bool = False

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    @property
    def bytes(self) -> int:
        return sum(f.bytes for f in self.files)

    def swapped(self, files: tuple[StoredFile, ...], removed: bool = False) -> "Manifest":
        """The next generation, with what it no longer lists retired now."""
        listed = {f.name for f in files}
        retired = {name: at for name, at in self.retired if name not in listed}
        retired.update({f.name: time.time() for f in self.files if f.name not in listed})
        return replace(
            self,
            generation=self.generation + 1,
            files=files,
            retired=tuple(retired.items()),
            written_at=time.time(),
            removed=removed,
        )


def read(folder: Path) -> Manifest | None:
    """The manifest of a partition folder; None when there is none."""
    try:
        raw = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        return None
    return Manifest(
        generation=raw["generation"],
        files=tuple(StoredFile(**f) for f in raw["files"]),
        retired=tuple((name, at) for name, at in raw["retired"]),
        written_at=raw["written_at"],
        removed=raw["removed"],
    )


def changed_since(root: Path, moment: float) -> bool:
    """Whether any partition under `root` was written after `moment`, in seconds since 1970."""
    for path in root.rglob(MANIFEST):
        # A file's own time costs less than reading it, and is no older: a sweep touches the file and changes no row.
        if path.stat().st_mtime > moment:
            found = read(path.parent)
            if found is not None and found.written_at > moment:
                return True
    return False


def write(folder: Path, manifest: Manifest) -> None:
    """Swap the manifest in."""
    write_text(folder / MANIFEST, json.dumps({**vars(manifest), "files": [vars(f) for f in manifest.files]}))


def folder_of(root: Path, table: Table, partition: dict[str, str]) -> Path:
    """`root/table/column=value/...`; values are percent-encoded, so any text is one harmless folder name."""
    if set(partition) != set(table.partitioned_by):
        raise ValueError(f"{table.name} is partitioned by {table.partitioned_by}, not {tuple(partition)}")
    return root.joinpath(table.name, *(f"{c}={quote(partition[c], safe='')}" for c in table.partitioned_by))


def partition_of(folder: Path, table: Table) -> dict[str, str]:
    """The inverse of `folder_of`."""
    parts = folder.parts[-len(table.partitioned_by) :]
    return {c: unquote(p.partition("=")[2]) for c, p in zip(table.partitioned_by, parts, strict=True)}
