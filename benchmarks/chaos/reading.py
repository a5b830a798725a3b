"""Spoilt files of every kind, and catalogues that are opened while they are written."""

import contextlib
import itertools
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from safetensors.numpy import save

from benchmarks.chaos.commands import Failed
from benchmarks.mutations import mutations
from panic_assets.errors import LONGEST_SHOWN, UserError
from panic_assets.finetunes.captions import files as captions
from panic_assets.finetunes.captions.rules import Rules
from panic_assets.finetunes.pictures import colour
from panic_assets.lake import catalogue
from panic_assets.tables import open_lake
from panic_assets.training.checkpoints import BrokenFile, read_header
from panic_assets_tests.finetunes.captioned import ART, SOUND
from panic_assets_tests.written import KINDS

HANGS = 300
"""Seconds after which reading one small file can be said to hang. It takes less than one."""
Kind = tuple[bytes, str, Callable[[Path], object]]


def kinds() -> dict[str, Kind]:
    """A sound file of every kind, its name, and what reads it."""
    texts = {kind: (text.encode(), name, read) for kind, (text, name, read) in KINDS.items()}
    return {
        **texts,
        "checkpoint": (save({"w": np.ones((4, 3), np.float32)}, {"epoch": "1"}), "x.safetensors", _header),
        "picture": (colour.encode(ART), "x.png", lambda path: colour.decode(path.read_bytes())),
        "caption": (SOUND.encode(), "x.txt", _caption),
    }


def _header(path: Path) -> object:
    data = path.read_bytes()
    return read_header(BytesIO(data), len(data))


def _caption(path: Path) -> object:
    found = captions.load(path.parent)
    return captions.check(found, Rules()), captions.repairs(found, Rules())


def spoilt(kind: Kind, chance: random.Random) -> None:
    """Fail unless a spoilt file gives what it says, or a sentence."""
    data, name, read = kind
    [made] = mutations(data, chance, 1)
    with tempfile.TemporaryDirectory() as folder, _no_longer_than(HANGS):
        path = Path(folder) / name
        path.write_bytes(made)
        try:
            read(path)
        except (UserError, BrokenFile) as error:  # What is wrong with a checkpoint becomes a row.
            said = str(error).replace(folder, "")
            said.encode()
            if len(said) > 4 * LONGEST_SHOWN:
                raise Failed(f"a sentence of {len(said)} characters: {said[:300]}") from None
        except Exception as error:
            raise Failed(f"{type(error).__name__}: {str(error)[:200]} for {made[:200]!r}") from error


@contextlib.contextmanager
def _no_longer_than(seconds: int) -> Iterator[None]:
    def hangs(*_: Any) -> None:
        raise TimeoutError(f"it took over {seconds} seconds")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


PLACE = {"embedding_model": "m"}
ROWS = 100
STATE = "SELECT generation, (SELECT count(*) FROM clusters) FROM catalogue"


def write_for_ever(folder: Path) -> None:
    """Build catalogues whose tables grow to a hundred rows and shrink again."""
    lake = open_lake(folder / "lake")
    for count in itertools.count(1):
        rows = [{"clustering_id": "c", **PLACE, "cluster": n, "size": 1} for n in range(count % ROWS)]
        lake.replace("clusters", rows, **PLACE)
        catalogue.build(lake, folder / "panic.duckdb")


class Opens:
    """A catalogue that another process builds again and again. Generation g has (g - 1) % ROWS rows."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "panic.duckdb"
        self._generation = 0
        self._writer: subprocess.Popen | None = None

    def trial(self, _: random.Random) -> None:
        """Open it anew and read."""
        if self._writer is None:
            catalogue.build(open_lake(self.path.parent / "lake"), self.path)
            self._writer = subprocess.Popen([sys.executable, "-m", __name__, str(self.path.parent)])
        if self._writer.poll() is not None:
            raise Failed("the writer has ended by itself")
        try:
            with duckdb.connect(str(self.path), read_only=True) as connection:
                [(generation, rows)] = connection.sql(STATE).fetchall()
        except duckdb.Error as error:
            raise Failed(f"{type(error).__name__}: {str(error)[:300]}") from error
        if rows != (generation - 1) % ROWS or generation < self._generation:
            raise Failed(f"generation {generation} after {self._generation} has {rows} rows")
        self._generation = generation

    def close(self) -> None:
        """End the writer."""
        if self._writer is not None:
            self._writer.kill()
            self._writer.wait()


if __name__ == "__main__":
    write_for_ever(Path(sys.argv[1]))
