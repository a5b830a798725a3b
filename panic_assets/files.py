"""Files that appear whole or not at all, even after a power cut; and a sentence for a full disk."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from panic_assets.errors import UserError

TEMPORARY = ".tmp"
_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EFBIG: "a file grew too large"}


@contextlib.contextmanager
def room_needed(folder: Path) -> Iterator[None]:
    """Around writes to `folder`: if the disk is full, raises UserError with a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UserError(
            f"{_FULL[error.errno]} in {folder}; what is stored is safe: make room, then start again to carry on"
        ) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries: a rename is durable only after this."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[BinaryIO]:
    """Write a temporary file beside `path`; on success it takes its place, flushed. On any error it is removed."""
    temporary = path.with_name(f"{secrets.token_hex(8)}{TEMPORARY}")
    with room_needed(path.parent):
        try:
            with temporary.open("wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Atomically replace a small text file; its folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as out:
        out.write(text.encode())


def replace_by_copy(source: Path, target: Path) -> None:
    """Atomically give a file the content of another one. What is half-written lies beside `source`, never beside the
    target: that folder may be somebody's data."""
    half = source.with_name(source.name + TEMPORARY)
    with room_needed(source.parent):
        shutil.copyfile(source, half)
        with half.open("rb+") as written:
            os.fsync(written.fileno())
        half.replace(target)
        sync_folder(target.parent)
