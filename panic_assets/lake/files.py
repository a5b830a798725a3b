"""Files that appear whole or not at all, also after a power cut."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp"


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries: a rename is durable only after this."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def appearing(folder: Path, name: Callable[[], str]) -> Iterator[BinaryIO]:
    """Write a temporary file; on success it becomes `folder/name()`, flushed. On any error it is removed.

    The name is asked for after writing, so that it may depend on the content.
    """
    temporary = folder / f"{secrets.token_hex(8)}{TEMPORARY}"
    try:
        with temporary.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(folder / name())
        sync_folder(folder)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Atomically replace a small text file; its folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path.parent, lambda: path.name) as out:
        out.write(text.encode())


class HashingFile:
    """A write-only file that hashes what passes, so that a large file can be named by its content."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._out.write(data)

    def flush(self) -> None:
        self._out.flush()

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        """The caller closes the real file."""
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    @property
    def digest(self) -> str:
        """The first 32 hex digits of the SHA-256 of what was written."""
        return self._hash.hexdigest()[:32]
