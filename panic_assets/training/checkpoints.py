"""Recognising checkpoint files: what a name says, whether a file is complete, what changed since last asked.

A file is taken only when its size and mtime stood still across two looks and its safetensors header is sound.
"""

import hashlib
import itertools
import json
import math
import os
import re
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from panic_assets.errors import UserError, shown
from panic_assets.training.names import LARGEST_EPOCH, NAME

HEADER_LIMIT = 25_000_000
"""Bytes. Headers of the largest models have 2 MB, and reading one takes a hundred times its size in memory."""
MOST_DIMENSIONS = 16
BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Bits of one number, by safetensors' name of its type."""


@dataclass(frozen=True)
class Named:
    """What a file's name says. `epoch` None: the last file of its run; the name carries no number."""

    run: str | None
    epoch: int | None


class Pattern:
    """A family's way of naming checkpoint files.

    Either a template with `{epoch:0Nd}` and perhaps `{name}` (then the last file may carry no number: `{name}.safetensors`), or a regular expression with the named group
    `epoch` and perhaps `name`. Without a name the run is the folder's.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._last: re.Pattern[str] | None = None
        if "(?P<" in text:
            try:
                self._numbered = re.compile(text)
            except (re.error, RecursionError, OverflowError) as broken:
                raise UserError(f"pattern {shown(text)} is not a regular expression: {broken}") from None
            if "epoch" not in self._numbered.groupindex:
                raise UserError(
                    f"pattern {shown(text)} lacks the named group (?P<epoch>...); add it where the file name has the epoch"
                )
            return
        field = re.search(r"\{epoch:0(\d+)d\}", text)
        if field is None:
            raise UserError(
                f"pattern {shown(text)} does not say where the epoch is; it needs {{epoch:06d}}, or as a regular expression "
                "the group (?P<epoch>...)"
            )
        width = field.group(1)
        parts = re.split(r"(\{name\}|\{epoch:0\d+d\})", text)
        kinds = {"{name}": r"(?P<name>.+)", field.group(0): rf"(?P<epoch>\d{{{width},}})"}
        try:
            self._numbered = re.compile("".join(kinds.get(p, re.escape(p)) for p in parts))
        except (re.error, OverflowError):
            raise UserError(
                f"pattern {shown(text)} cannot be used; it may have {{name}} and {{epoch:06d}} once each"
            ) from None
        if "{name}" in text:
            bare = re.sub(r"[-_.]?\{epoch:0\d+d\}", "", text)
            self._last = re.compile(re.escape(bare).replace(re.escape("{name}"), "(?P<name>.+)"))

    def match(self, filename: str) -> Named | None:
        """What the name of a file (without folders) says; None for a file of another kind."""
        found = self._numbered.fullmatch(filename)
        if found:
            groups = found.groupdict()
            try:
                return Named(groups.get("name"), int(groups["epoch"]))
            except (TypeError, ValueError):
                return None
        last = self._last.fullmatch(filename) if self._last else None
        return Named(last.group("name"), None) if last else None


def last_epoch(numbered: Iterable[int], header: Mapping[str, str], planned: int | None = None) -> int | None:
    """The epoch of the file without a number.

    From the file's own metadata (`ss_epoch`), else the planned number of epochs, else one step (the smallest
    distance between siblings) after the last numbered file. None when nothing tells.
    """
    told = header.get("ss_epoch", "")
    if told.isdecimal() and len(told) <= len(str(LARGEST_EPOCH)):
        return int(told)
    if planned is not None:
        return planned
    seen = sorted(set(numbered))
    if len(seen) < 2:
        return None
    return seen[-1] + min(b - a for a, b in itertools.pairwise(seen))


@dataclass(frozen=True)
class Header:
    """A sound safetensors header: tensors by name with dtype and shape, and the file's metadata."""

    tensors: dict[str, tuple[str, tuple[int, ...]]]
    metadata: dict[str, str]


class BrokenFile(Exception):
    """A file that is not a complete checkpoint; the message is one sentence."""


def read_header(file: BinaryIO, size: int) -> Header:
    """Read and verify a safetensors header against the file's size in bytes: each tensor's type and shape must need as
    many bytes as it has, and all of them must fill the file. Raises BrokenFile."""
    if size < 8:
        raise BrokenFile(f"{size} bytes are too few for a safetensors file; copy it again")
    (length,) = struct.unpack("<Q", file.read(8))
    if HEADER_LIMIT < length <= size - 8:
        raise BrokenFile(f"its safetensors header has {length:,} bytes; at most {HEADER_LIMIT:,} are read")
    if length > size - 8:
        raise BrokenFile("it is not a safetensors file, or it is cut off within its header; copy it again")
    try:
        fields: dict[str, Any] = json.loads(file.read(length))
        metadata = {str(k): str(v) for k, v in fields.pop("__metadata__", {}).items()}
        tensors = {name: (str(f["dtype"]), tuple(int(n) for n in f["shape"])) for name, f in fields.items()}
        spans = {name: (int(f["data_offsets"][0]), int(f["data_offsets"][1])) for name, f in fields.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise BrokenFile("it is not a safetensors file: its header cannot be read") from None
    for name, (dtype, shape) in tensors.items():
        start, end = spans[name]
        if dtype not in BITS:
            raise BrokenFile(f"tensor {shown(name)} has the unknown type {shown(dtype)}; write the file again")
        if (
            len(shape) > MOST_DIMENSIONS
            or any(n < 0 for n in shape)
            or math.prod(shape) * BITS[dtype] != 8 * (end - start)
        ):
            raise BrokenFile(
                f"tensor {shown(name)} has the shape {shown(shape)} of {dtype}, which does not fit its {end - start:,} "
                "bytes; write the file again"
            )
    ends = sorted(spans.values())
    at = 0
    for start, end in ends:
        if start != at or end < start:
            raise BrokenFile("its safetensors header describes data that overlaps or leaves gaps; write it again")
        at = end
    if not tensors:
        raise BrokenFile("it is a safetensors file without tensors; a checkpoint needs weights")
    expected = 8 + length + at
    if size < expected:
        raise BrokenFile(f"it is cut off after {size} of {expected} bytes; copy it again")
    if size > expected:
        raise BrokenFile(f"it is {size - expected} bytes longer than its header says; copy it again")
    return Header(tensors, metadata)


def content_hash(file: BinaryIO) -> str:
    """SHA-256 of what is left in the file, in hexadecimal."""
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


@dataclass(frozen=True)
class Seen:
    """A file as a listing shows it. `mtime` in nanoseconds since 1970."""

    path: str
    size: int
    mtime: int
    problem: str = ""
    """Why nothing is known of it; then size and time are 0."""

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def folder(self) -> str:
        return str(PurePosixPath(self.path).parent)


def list_folder(url: str) -> list[Seen]:
    """Files directly in a folder, local or any fsspec URL, by path. A folder that is not there is empty."""
    if "://" not in url:
        try:
            with os.scandir(url) as entries:
                found = [seen for seen in map(_seen, entries) if seen is not None]
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda s: s.path)
    import fsspec

    fs, path = fsspec.core.url_to_fs(url)
    try:
        entries = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    files = [e for e in entries if e["type"] == "file"]
    seen = [Seen(fs.unstrip_protocol(e["name"]), int(e["size"]), _mtime(fs, e)) for e in files]
    return sorted(seen, key=lambda s: s.path)


def _seen(entry: "os.DirEntry[str]") -> Seen | None:
    """A file; None for a folder or a pipe. A link that leads nowhere is a file of which nothing is known."""
    try:
        found = entry.stat()
    except FileNotFoundError:
        if not entry.is_symlink():
            return None  # It was removed just now.
        return Seen(entry.path, 0, 0, "it is a link to a file that is not there")
    except OSError as error:
        return Seen(entry.path, 0, 0, f"it cannot be read: {error.strerror}")
    return Seen(entry.path, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _mtime(fs: Any, entry: Mapping[str, Any]) -> int:
    for field in ("mtime", "LastModified", "last_modified", "updated", "created"):
        if entry.get(field) is not None:
            value = entry[field]
            return int((value.timestamp() if hasattr(value, "timestamp") else float(value)) * 1e9)
    try:
        return int(fs.modified(entry["name"]).timestamp() * 1e9)
    except NotImplementedError:  # a store without times: the size alone tells whether a file stands still
        return 0


@dataclass(frozen=True)
class Look:
    """What one look at a folder found.

    `still` files did not change since the look before, are not known, and are ready to be read.
    `waiting` is what the next look needs to be given.
    """

    still: list[Seen]
    waiting: dict[str, tuple[int, int]]


def look(listing: Iterable[Seen], waiting: Mapping[str, tuple[int, int]], known: Mapping[str, tuple[int, int]]) -> Look:
    """Compare a listing with the look before. `known` maps path to (size, mtime) of files already dealt with:
    registered, or reported as broken. A known file that changed waits again, like a new one."""
    still, next_waiting = [], {}
    for seen in listing:
        stamp = (seen.size, seen.mtime)
        if known.get(seen.path) == stamp:
            continue
        if waiting.get(seen.path) == stamp:
            still.append(seen)
        next_waiting[seen.path] = stamp
    return Look(still, next_waiting)


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint file: one row of table `checkpoints`, before it has a version."""

    run: str
    epoch: int
    path: str
    size: int
    mtime: int
    content_hash: str


def open_file(path: str) -> BinaryIO:
    """Open a local file or any fsspec URL for reading bytes."""
    if "://" not in path:
        return open(path, "rb")
    import fsspec

    return fsspec.open(path, "rb").open()


def _stamp(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def inspect(seen: Seen, run: str, named: Named, siblings: Iterable[int], planned: int | None = None) -> Checkpoint:
    """Read a file that stood still: verify its header and hash its content.

    Raises BrokenFile; OSError when the file is gone or changed meanwhile.

    `siblings` are the epochs of the run's numbered files, from which the epoch of a last file may follow.
    """
    if seen.problem:
        raise BrokenFile(seen.problem)
    if not NAME.fullmatch(run):
        raise BrokenFile(
            f"its training run would be called {shown(run)}; a name has 1 to 100 letters, digits, '_', '.' or '-', and "
            "starts with a letter or digit"
        )
    with open_file(seen.path) as file:
        header = read_header(file, seen.size)
        epoch = named.epoch if named.epoch is not None else last_epoch(siblings, header.metadata, planned)
        if epoch is None:
            raise BrokenFile(
                "its name has no epoch, and nothing else tells it; set the planned number of epochs of the run"
            )
        if epoch > LARGEST_EPOCH:
            raise BrokenFile(f"its epoch would be {shown(epoch)}; an epoch is at most {LARGEST_EPOCH:,}")
        file.seek(0)
        digest = content_hash(file)
        if "://" not in seen.path and _stamp(os.fstat(file.fileno())) != (seen.size, seen.mtime):
            raise OSError(f"{seen.path} changed while it was read")
    return Checkpoint(run, epoch, seen.path, seen.size, seen.mtime, digest)
