"""The catalogue as a link to its newest generation: whoever connects anew sees the new state, and nobody an older one."""

import contextlib
import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from panic_assets.errors import UserError
from panic_assets.lake import catalogue, generations
from panic_assets.lake import manifest as manifests
from panic_assets.lake.lake import Lake
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets_tests.conftest import Panic

PLACE = {"embedding_model": "m"}
STATE = "SELECT generation, (SELECT count(*) FROM clusters) FROM catalogue"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(tmp_path / "lake")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "panic.duckdb"


def add(lake: Lake, count: int) -> None:
    rows = [{"clustering_id": "c", **PLACE, "cluster": number, "size": 1} for number in range(count)]
    lake.replace("clusters", rows, **PLACE)


def folders(path: Path) -> list[str]:
    return sorted(found.name for found in (path.parent / generations.FOLDER).iterdir())


def age(path: Path, generation: int, seconds: float = 3600) -> None:
    """Makes a generation as old as if it had been built that long ago."""
    folder = path.parent / generations.FOLDER / str(generation)
    os.utime(folder, (time.time() - seconds,) * 2)


def test_a_process_that_has_the_older_state_open_sees_the_new_one_when_it_connects_again(
    lake: Lake, path: Path
) -> None:
    add(lake, 1)
    catalogue.build(lake, path)
    with duckdb.connect(str(path), read_only=True) as old:
        add(lake, 2)
        catalogue.build(lake, path)
        with duckdb.connect(str(path), read_only=True) as by_the_link, generations.opened(path) as ours:
            assert by_the_link.sql(STATE).fetchall() == ours.sql(STATE).fetchall() == [(2, 2)]
            name = "SELECT database_name FROM duckdb_databases() WHERE NOT internal"
            assert by_the_link.sql(name).fetchall() == ours.sql(name).fetchall() == [("panic",)]
            assert generations.as_of(ours).generation == 2
            assert generations.as_of(ours).built_at > generations.as_of(old).built_at
        assert old.sql(STATE).fetchall() == [(1, 1)], "the older connection keeps to its state"
    assert path.is_symlink()


WRITER = """
import sys
from pathlib import Path
from panic_assets.lake import catalogue
from panic_assets.tables import open_lake
folder = Path(sys.argv[1])
lake = open_lake(folder / "lake")
for count in range(1, 20):
    rows = [{"clustering_id": "c", "embedding_model": "m", "cluster": n, "size": 1} for n in range(count)]
    lake.replace("clusters", rows, embedding_model="m")
    catalogue.build(lake, folder / "panic.duckdb")
"""
READER = """
import sys, time, duckdb
seen = [(1, 0)]
while seen[-1][0] < 20:
    with duckdb.connect(sys.argv[1], read_only=True) as connection:
        seen += connection.sql(sys.argv[2]).fetchall()
    time.sleep(0.005)
assert seen == sorted(seen), seen
assert all(rows == generation - 1 for generation, rows in seen), seen
"""


@pytest.mark.slow
def test_readers_in_many_threads_and_processes_never_fail_and_never_go_back(lake: Lake, path: Path) -> None:
    """Generation 1 has no rows, and each later one has one row more."""
    catalogue.build(lake, path)
    seen: list[list[tuple[int, int]]] = [[(1, 0)], [(1, 0)]]
    failures: list[BaseException] = []

    def read(mine: list[tuple[int, int]]) -> None:
        kept: list[duckdb.DuckDBPyConnection] = []
        try:
            while mine[-1][0] < 20:
                kept = [duckdb.connect(str(path), read_only=True), *kept[:2]]  # As a notebook keeps some open.
                mine += kept[0].sql(STATE).fetchall()
                time.sleep(0.005)  # The writer needs a processor, too.
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(mine,)) for mine in seen]
    with started(READER, path, STATE), started(WRITER, path.parent):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    for mine in seen:
        assert mine == sorted(mine)
        assert all(rows == generation - 1 for generation, rows in mine), mine
        assert len(set(mine)) > 2, "generations came while they were read"


@contextlib.contextmanager
def started(code: str, *words: object) -> Iterator[subprocess.Popen]:
    """A Python process, which must succeed."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)])
    try:
        yield process
        assert process.wait(300) == 0
    finally:
        process.kill()
        process.wait()


HOLDER = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    print("open", flush=True)
    sys.stdin.readline()
    print(connection.sql(sys.argv[2]).fetchall(), flush=True)
"""


def test_an_older_generation_stays_a_while_and_as_long_as_another_process_reads_it(lake: Lake, path: Path) -> None:
    add(lake, 1)
    catalogue.build(lake, path)
    command = [sys.executable, "-c", HOLDER, str(path), STATE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "open\n"
        for _ in range(2):
            catalogue.build(lake, path)
        assert folders(path) == ["1", "2", "3"], "they were replaced just now"
        for generation in (2, 3):
            age(path, generation)
        catalogue.build(lake, path)
        assert folders(path) == ["1", "3", "4"], "nobody reads the second, and the third was replaced just now"
        print(file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "[(1, 1)]\n"
    catalogue.build(lake, path)
    assert folders(path) == ["3", "4", "5"]


def test_what_a_killed_build_left_behind_is_cleared_away(lake: Lake, path: Path) -> None:
    catalogue.build(lake, path)
    _, half = generations.coming(path)
    (half / "panic.duckdb").write_bytes(b"half")
    number, whole = generations.coming(path)  # Killed before the link was turned.
    assert (number, whole) == (2, half)
    assert not list(whole.iterdir())
    whole.rename(whole.with_suffix(""))
    with generations.opened(path) as connection:
        assert generations.as_of(connection).generation == 1
    catalogue.build(lake, path)
    with generations.opened(path) as connection:
        assert generations.as_of(connection).generation == 3


def test_where_links_cannot_be_the_file_is_replaced_and_this_is_said(
    lake: Lake, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a memory stick, whose file system answers like this."""

    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "symlink_to", refused)
    with caplog.at_level(logging.WARNING):
        for generation in (1, 2):
            add(lake, generation)
            catalogue.build(lake, path)
            assert not path.is_symlink()
            with generations.opened(path) as connection:
                assert connection.sql(STATE).fetchall() == [(generation, generation)]
    assert "cannot hold links (Operation not permitted), so panic.duckdb is replaced as a file" in caplog.text


def test_a_sweep_is_no_change_and_a_write_is_one(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "lake", grace_seconds=0)
    add(lake, 1)
    add(lake, 2)  # Retires the file of the first.
    (folder, moment) = (lake.folder("clusters", **PLACE), time.time())
    assert lake.sweep() > 0
    assert manifests.read(folder).retired == ()  # type: ignore[union-attr]
    os.utime(folder / manifests.MANIFEST, (moment + 1,) * 2)
    assert not manifests.changed_since(lake.root, moment)
    add(lake, 3)
    assert manifests.changed_since(lake.root, moment)


def test_after_a_full_disk_a_query_says_how_old_its_catalogue_is(
    small_disk: Path, panic: Panic, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    monkeypatch.setenv("PANIC_HOME", str(small_disk))
    lake = open_lake(home().lake)
    catalogue.build(lake, home().catalogue)
    code, _, err = panic("query", "SELECT 1")
    assert (code, err) == (0, "")
    add(lake, 7)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    with pytest.raises(UserError, match=r"disk is full|could not be rebuilt"):
        catalogue.build(lake, home().catalogue)
    code, out, err = panic("query", "SELECT count(*) AS n FROM clusters", "--format", "csv")
    assert (code, out.split()) == (0, ["n", "0"])
    assert "note: the catalogue is " in err
    assert "seconds old (generation 1 of " in err
    assert "lacks what was stored since" in err
    filler.unlink()
    catalogue.build(lake, home().catalogue)
    code, out, err = panic("query", "SELECT count(*) AS n FROM clusters", "--format", "csv")
    assert (code, out.split(), err) == (0, ["n", "7"], "")
