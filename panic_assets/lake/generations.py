"""The generations of the catalogue: immutable files, and the link `panic.duckdb` that names the newest.

    panic.duckdb -> catalogues/42/panic.duckdb

DuckDB shares one instance per real path within a process. So a file that is replaced under its own name is not seen by a
process that has the old one open; a link that leads elsewhere is. Every generation has its own folder, so that the
database has the same name, `panic`, in all of them.

An older generation stays for a grace period, which a reader needs between following the link and opening the file, and
then for as long as another process has it open. A reader in the process that removes it loses nothing: an open file
outlives its name.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from panic_assets.asleep import asleep
from panic_assets.files import sync_folder
from panic_assets.locks import is_read

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb
else:
    duckdb = asleep("duckdb")

FOLDER = "catalogues"
GRACE_SECONDS = 60.0
"""How long a generation stays after a newer one took its place. A new one may come every five seconds."""
TABLE = "catalogue"
"""The table of one row in which a catalogue says of itself what it is."""
COLUMNS = {"generation": "BIGINT", "built_at": "TIMESTAMP WITH TIME ZONE"}

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without links answer."""

logger = logging.getLogger(__name__)


class AsOf(NamedTuple):
    """Which state of the lake a catalogue shows."""

    generation: int
    """Counts the catalogues of a home; a newer one has a larger number."""
    built_at: datetime

    def __str__(self) -> str:
        return f"generation {self.generation} of {self.built_at:%Y-%m-%d %H:%M:%S}"


def as_of(connection: duckdb.DuckDBPyConnection) -> AsOf:
    """Which generation an open catalogue is, and when it was made; for the caption of a figure, for example."""
    ((generation, built_at),) = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM {TABLE}").fetchall()
    return AsOf(generation, built_at)


def opened(link: Path) -> duckdb.DuckDBPyConnection:
    """The newest generation, read-only, with times in UTC."""
    connection = duckdb.connect(str(link.resolve()), read_only=True)
    connection.execute("SET TimeZone='UTC'")
    return connection


def coming(link: Path) -> tuple[int, Path]:
    """The number of the next generation, and an empty folder to build its file in. One process at a time may build."""
    folder = link.parent / FOLDER
    for left_over in folder.glob("*.building"):
        shutil.rmtree(left_over)
    number = max((n for n, _ in _generations(folder)), default=0) + 1
    building = folder / f"{number}.building"
    building.mkdir(parents=True)
    return number, building


def publish(link: Path, building: Path) -> None:
    """Make the generation that was built the newest, in one step. It was named by `coming`."""
    generation = building.with_suffix("")
    building.rename(generation)
    sync_folder(generation.parent)
    temporary = link.with_name(f".{link.name}.link")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(Path(FOLDER, generation.name, link.name))
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        logger.warning(
            f"{link.parent} cannot hold links ({error.strerror}), so {link.name} is replaced as a file. A process that "
            "has it open sees the older state, until it has closed all its connections"
        )
        (generation / link.name).replace(link)
    else:
        temporary.replace(link)
    sync_folder(link.parent)


def sweep(link: Path, grace_seconds: float = GRACE_SECONDS) -> None:
    """Remove generations that were replaced a grace period ago, unless another process reads them."""
    found = sorted(_generations(link.parent / FOLDER))
    for (_, folder), (_, newer) in itertools.pairwise(found):
        # It was replaced when the next one was made. A folder without its file moved away where links cannot be.
        if time.time() - newer.stat().st_mtime >= grace_seconds and not is_read(folder / link.name):
            shutil.rmtree(folder)


def _generations(folder: Path) -> Iterator[tuple[int, Path]]:
    with contextlib.suppress(FileNotFoundError):
        yield from ((int(path.name), path) for path in folder.iterdir() if path.name.isdigit())
