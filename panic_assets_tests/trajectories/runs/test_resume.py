"""Nothing is lost, doubled or torn: processes really killed, disks really full, readers and writers at once."""

import contextlib
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from panic_assets.errors import UserError
from panic_assets.lake import catalogue
from panic_assets.lake.invariants import all_findings
from panic_assets.lake.lake import Lake
from panic_assets.tables import open_lake
from panic_assets.trajectories import missing
from panic_assets.trajectories.config import Definition
from panic_assets.workloads import RULES
from panic_assets_tests.trajectories.world import LONG, LOOP, definition, perform, started, trace

pytestmark = pytest.mark.slow

ENDED = 300
"""Seconds after which a child is taken for hung."""
TABLES = ("experiments", "runs", "invocations", "embeddings", "persistence_bars", "persistence_summary")


def large(name: str = "large", **fields: Any) -> Definition:
    """A few thousand invocations: 24 seeded runs, which loop at different lengths, of two networks."""
    usual: dict[str, Any] = {
        "networks": [LOOP, LONG],
        "prompts": ["a red cat", "two boats", "rain"],
        "seeds": [0, 1, 2, 3],
        "embedding_models": ["DummyText", "DummyVision"],
        "max_length": 150,
    }
    return definition(name, **{**usual, **fields})


@contextlib.contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is such a thing: kills ask nothing of the disk, flushing a hundred times does."""
    shm = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def reference() -> Iterator[dict[str, Any]]:
    """The uninterrupted result."""
    with in_memory() as root:
        with started(root, large()) as process:
            process.join(ENDED)
            assert process.exitcode == 0
        found = trace(open_lake(root / "lake"), "large")
        assert len(found["invocations"]) > 2000
        assert {row[6] for row in found["runs"]} == {"loop", "length"}
        yield found


def ids(lake: Lake) -> dict[tuple[str, int], tuple[str, Any]]:
    rows = lake.sql("SELECT run_id, sequence_number, invocation_id, started_at FROM invocations").to_pylist()
    return {(r["run_id"], r["sequence_number"]): (r["invocation_id"], r["started_at"]) for r in rows}


def torn(lake: Lake) -> list[str]:
    """What breaks a rule. After a kill there may be work left and files nobody lists, but nothing wrong."""
    return [str(f) for table in TABLES for f in all_findings(lake, RULES, table)]


KILLS = [("invocations", 20)] * 5 + [("embeddings", 1)] * 2 + [("persistence_summary", 10)] * 4
"""Which table is being written when the child dies, and how many commits it may get to make at the most."""


def commits(lake: Lake, table: str) -> int:
    return sum(manifest.generation for _, manifest in lake.partitions(table))


def test_kills_at_random_moments_change_nothing(tmp_path: Path, reference: dict[str, Any]) -> None:
    lake, path = open_lake(tmp_path / "lake"), tmp_path / "panic.duckdb"
    moments = random.Random(20)
    kept: dict[tuple[str, int], Any] = {}
    half_done, kills = set(), 0
    for table, most in KILLS:
        with started(tmp_path, large(), seconds=0) as process:  # Every batch is a commit.
            wanted = commits(lake, table) + moments.randint(1, most)
            while process.exitcode is None and commits(lake, table) < wanted:
                process.join(0.001)
            process.join(moments.uniform(0, 0.02))
            kills += process.exitcode is None
            assert process.exitcode in (None, 0)
            process.kill()
            process.join()
        assert torn(lake) == []
        now = ids(lake)
        assert kept.items() <= now.items()  # What was stored stays, under its id.
        kept = now
        for stage in ("invocations", "embeddings", "persistence_diagrams"):
            if any(0 < m.count < m.total for m in missing.left(lake, stage)):
                half_done.add(stage)
        if path.exists():  # Whatever was being done, analysts can read.
            with duckdb.connect(str(path), read_only=True) as connection:
                query = "SELECT (SELECT count(vector) FROM embeddings), count(output_image) FROM invocations"
                assert connection.sql(query).fetchall()
    assert kills >= 6
    assert half_done == {"invocations", "embeddings", "persistence_diagrams"}
    with started(tmp_path, large()) as process:
        process.join(ENDED)
        assert process.exitcode == 0
    assert kept.items() <= ids(lake).items()
    assert trace(lake, "large") == reference


def test_two_experiments_at_once(tmp_path: Path, reference: dict[str, Any]) -> None:
    with started(tmp_path, large()) as one, started(tmp_path, large("other")) as two:
        one.join(ENDED)
        two.join(ENDED)
        assert (one.exitcode, two.exitcode) == (0, 0)
    lake = open_lake(tmp_path / "lake")
    for name in ("large", "other"):
        assert trace(lake, name) == reference
    assert torn(lake) == []
    with duckdb.connect(str(tmp_path / "panic.duckdb"), read_only=True) as connection:
        rows = connection.sql("SELECT experiment, count(*) FROM invocations GROUP BY ALL ORDER BY ALL").fetchall()
    assert rows == [(name, len(reference["invocations"])) for name in ("large", "other")]


def test_the_same_experiment_at_once(tmp_path: Path, reference: dict[str, Any]) -> None:
    with started(tmp_path, large()) as one, started(tmp_path, large()) as two:
        one.join(ENDED)
        two.join(ENDED)
        assert (one.exitcode, two.exitcode) == (0, 0)  # One waited for the other.
    lake = open_lake(tmp_path / "lake")
    assert trace(lake, "large") == reference
    assert torn(lake) == []


def test_readers_in_another_process_see_rows_only_grow(tmp_path: Path) -> None:
    """Hundreds of reads through panic.duckdb while another process writes, compacts and rebuilds the catalogue."""
    path, seen, reads = tmp_path / "panic.duckdb", (0, 0, 0), 0
    wanted = large(seeds=[-1] * 4, max_length=200, embedding_models=["DummyText"])
    states = set()
    with started(tmp_path, wanted) as process:
        while process.exitcode is None or reads < 300:
            if not path.exists():
                assert process.exitcode is None
                process.join(0.01)
                continue
            with duckdb.connect(str(path), read_only=True) as connection:
                now = connection.sql(
                    """SELECT (SELECT count(output_text) + count(octet_length(output_image)) FROM invocations),
                              (SELECT count(vector) FROM embeddings), (SELECT count(*) FROM persistence_summary)"""
                ).fetchall()[0]
                if reads % 10 == 0:
                    dangling = connection.sql("FROM embeddings ANTI JOIN invocations USING (invocation_id)")
                    assert dangling.fetchall() == []
            assert all(a <= b for a, b in zip(seen, now, strict=True))
            seen, reads = now, reads + 1
            states.add(now)
        assert process.exitcode == 0
    assert reads >= 300
    assert len(states) >= 2  # Rows arrived while they were read.
    assert seen == (4800, 2400, 48)


def test_a_file_that_may_grow_no_further_loses_nothing(tmp_path: Path, reference: dict[str, Any]) -> None:
    lake = open_lake(tmp_path / "lake")
    with started(tmp_path, large(), seconds=1e9, file_limit=100_000) as process:
        process.join(ENDED)
        assert process.exitcode == 3
    refusal = (tmp_path / "refusal").read_text()
    assert refusal.startswith("a file grew too large in ")
    assert refusal.endswith("; what is stored is safe: make room, then start again to carry on")
    assert torn(lake) == []
    assert not list(lake.root.rglob("*.tmp"))
    perform(lake, large())
    assert trace(lake, "large") == reference


def test_a_full_disk_is_said_in_a_sentence_and_loses_nothing(small_disk: Path, reference: dict[str, Any]) -> None:
    lake = open_lake(small_disk / "lake", grace_seconds=0)
    with started(small_disk, large(), seconds=0.05, for_analysts=False) as process:
        process.join(ENDED)
        assert process.exitcode in (1, 3)  # 1: there was no room even for the refusal.
    with pytest.raises(UserError, match=r"the disk is full in .*; what is stored is safe: make room, then start again"):
        perform(lake, large())
    kept = ids(lake)
    assert len(kept) > 100
    assert torn(lake) == []
    with pytest.raises(UserError, match=r"disk is full|could not be rebuilt, so the older one stays"):
        catalogue.build(lake, small_disk / "panic.duckdb")
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    perform(lake, large())
    assert kept.items() <= ids(lake).items()
    assert trace(lake, "large") == reference
    catalogue.build(lake, small_disk / "panic.duckdb")
