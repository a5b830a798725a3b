"""Writing and reading the lake: whole or not at all, in order, under any sequence of events."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from panic_assets.lake import catalogue
from panic_assets.lake import lake as module
from panic_assets.lake import manifest as manifests
from panic_assets.lake.lake import Lake, Writer
from panic_assets.lake.manifest import folder_of, partition_of
from panic_assets.tables import TABLES, open_lake

PLACE = {"embedding_model": "m"}
ODD = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


def cluster(number: int) -> dict[str, object]:
    return {"clustering_id": "c", **PLACE, "cluster": number, "size": 1}


def numbers(lake: Lake, **place: str) -> list[int]:
    return lake.sql("SELECT cluster FROM clusters", **(place or PLACE))["cluster"].to_pylist()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(tmp_path / "lake")


def test_nothing_stored_reads_as_typed_and_empty(lake: Lake) -> None:
    for name, table in TABLES.items():
        found = lake.sql(f"SELECT * FROM {name}")
        assert found.num_rows == 0
        assert found.column_names == list(table.names)


def test_every_type_survives(lake: Lake) -> None:
    row = {
        "invocation_id": "i", "run_id": "r", "experiment": "e", "sequence_number": 3, "model": "m",
        "model_revision": "v", "settings_id": "s", "type": "image", "seed": 2**63 - 1, "input_invocation_id": None, "input_hash": "h",
        "content_hash": "h", "output_text": "ünï\0cödé 🐈", "output_image": b"\x00\xff", "blank": False,
        "started_at": "2024-02-29T12:00:00.123456+00:00", "completed_at": "2024-02-29T12:00:01+00:00",
        "batch_size": 1, "duration_share": 0.1, "code_version": "1", "tokens_given": 80, "tokens_read": 77,
        "finished": None,
    }  # fmt: skip
    stamps = {k: pa.scalar(row[k]).cast(pa.timestamp("us", "UTC")).as_py() for k in ("started_at", "completed_at")}
    lake.replace("invocations", [{**row, **stamps}], experiment="e")
    found = lake.sql("SELECT * FROM invocations").to_pylist()[0]
    assert found == {**row, **stamps}
    assert found["started_at"].utcoffset().total_seconds() == 0


def effect(name: str, **values: float) -> dict[str, object]:
    return {
        "experiment": "e", "outcome": "entropy H1", "effect": name, "estimate": 0.5, "low": 0.1, "high": 0.9,
        "standard_error": 0.2, "degrees": 24.0, "p_value": 0.02, "rows": 288, "prompts": 4, "code_version": "1",
    } | values  # fmt: skip


@pytest.mark.parametrize("column", ["estimate", "low", "high", "standard_error", "degrees", "p_value"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_claim_with_a_number_that_is_not_finite_is_refused(lake: Lake, column: str, value: float) -> None:
    lake.replace("model_effects", [effect("before")], experiment="e")
    said = (
        f"table model_effects refuses {column} = {value}, which is not a finite number, in the row of experiment 'e', "
        f"outcome 'entropy H1', effect 'bad'; nothing of these 2 rows is written"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        lake.replace("model_effects", [effect("good"), effect("bad", **{column: value})], experiment="e")
    assert lake.sql("SELECT effect FROM model_effects")["effect"].to_pylist() == ["before"]
    assert len(list(lake.folder("model_effects", experiment="e").glob("*.parquet"))) == 1


CLAIMS = {
    *("p_value", "adjusted_p_value", "chapman_kolmogorov_p", "estimate", "standard_error", "low", "high"),
    *("f", "observed", "null_mean", "null_deviation", "percentile", "difference", "hedges_g", "cliffs_delta"),
}


def test_every_column_of_a_claim_in_every_table_refuses_them(lake: Lake) -> None:
    """The schema says which columns do: a number with a point does, unless its column says otherwise."""
    claims = [(t, c) for t in TABLES.values() for c in t.columns if c.name in CLAIMS and c.type == "float64"]
    assert {c.name for _, c in claims} == CLAIMS
    for table, column in claims:
        with pytest.raises(ValueError, match=f"{table.name} refuses {column.name} = nan"):
            lake.replace(table.name, [{column.name: float("nan")}], **dict.fromkeys(table.partitioned_by, "p"))


def bar(death: float, birth: float = 0.0) -> dict[str, object]:
    return {
        "experiment": "e", "run_id": "r", "embedding_model": "m", "dimension": 0, "bar": 0, "birth": birth,
        "death": death, "birth_invocations": [], "death_invocations": [],
    }  # fmt: skip


def test_infinity_is_stored_where_the_schema_allows_it_and_nan_nowhere(lake: Lake) -> None:
    place = {"experiment": "e", "embedding_model": "m"}
    lake.replace("persistence_bars", [bar(float("inf"))], **place)
    with pytest.raises(ValueError, match="refuses death = nan"):
        lake.replace("persistence_bars", [bar(float("nan"))], **place)
    with pytest.raises(ValueError, match="refuses birth = inf"):
        lake.replace("persistence_bars", [bar(1.0, birth=float("inf"))], **place)
    assert lake.sql("SELECT death FROM persistence_bars")["death"].to_pylist() == [float("inf")]


def test_what_does_not_fit_into_memory_is_not_spilled_where_the_user_is(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with lake.connect([]) as connection:
        connection.execute("SET memory_limit = '60MB'")
        try:
            large = "SELECT hash(i) AS h FROM range(4000000) t(i)"
            assert connection.sql(f"SELECT count(*) FROM ({large} ORDER BY h LIMIT 3000000 OFFSET 1)").fetchall()
        finally:
            connection.execute("RESET memory_limit")
    assert not (tmp_path / ".tmp").exists()


def test_null_where_it_is_not_allowed_is_refused(lake: Lake) -> None:
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        lake.replace("clusters", [{"clustering_id": None, **PLACE, "cluster": 0, "size": 1}], **PLACE)
    assert lake.manifest("clusters", **PLACE) is None


@given(value=ODD)
def test_any_text_is_one_harmless_folder(value: str) -> None:
    root = Path("/lake")
    folder = folder_of(root, TABLES["clusters"], {"embedding_model": value})
    assert folder.parent == root / "clusters"
    assert folder.name not in (".", "..")
    assert os.path.normpath(folder) == str(folder)
    assert partition_of(folder, TABLES["clusters"]) == {"embedding_model": value}
    assert unquote(folder.name.partition("=")[2]) == value


@pytest.mark.parametrize(
    "value", ["../../etc", "a/b", "..", ".", "a b", "naïve 🐈", "%2e%2e%2f", "a'b\"c", "a=b", "*?[x]"]
)
def test_odd_partition_names_round_trip(lake: Lake, value: str) -> None:
    lake.replace("clusters", [cluster(1)], embedding_model="other")
    lake.replace("clusters", [{**cluster(7), "embedding_model": value}], embedding_model=value)
    assert numbers(lake, embedding_model=value) == [7]
    assert {p["embedding_model"] for p, _ in lake.partitions("clusters")} == {"other", value}
    files = list(lake.root.parent.rglob("*.parquet"))
    assert all((lake.root / "clusters").resolve() in p.resolve().parents for p in files)
    lake.remove("clusters", embedding_model=value)
    assert numbers(lake, embedding_model=value) == []
    assert numbers(lake, embedding_model="other") == [1]


def test_the_same_rows_twice_are_twice_there(lake: Lake) -> None:
    for _ in range(2):
        with lake.writer("clusters", **PLACE) as out:
            out.add([cluster(1)])
    assert numbers(lake) == [1, 1]


def test_an_exception_keeps_what_was_flushed_and_drops_the_rest(lake: Lake) -> None:
    def interrupted(replace: bool, error: type[BaseException]) -> None:
        with (lake.replacing if replace else lake.writer)("clusters", **PLACE) as out:
            out.add([cluster(1)])
            out.flush()
            out.add([cluster(2)])
            raise error

    for replace, error in ((False, KeyboardInterrupt), (True, RuntimeError)):
        with pytest.raises(error):
            interrupted(replace, error)
        assert numbers(lake) == [1]
    files = {p.name for p in lake.folder("clusters", **PLACE).iterdir()}
    manifest = lake.manifest("clusters", **PLACE)
    assert manifest is not None
    assert files == {manifests.MANIFEST, ".lock", *(f.name for f in manifest.files)}


def test_an_empty_partition_is_written(lake: Lake) -> None:
    assert lake.manifest("clusters", **PLACE) is None
    with lake.writer("clusters", **PLACE):
        pass
    manifest = lake.manifest("clusters", **PLACE)
    assert manifest is not None
    assert manifest.rows == 0


def test_rows_are_durable_after_seconds_rows_or_bytes(lake: Lake) -> None:
    def flushes(**limits: float) -> list[bool]:
        usual = {"every_seconds": 1e9, "every_rows": 10**9, "every_bytes": 10**12}
        out = Writer(lake, TABLES["clusters"], PLACE, replace=False, **{**usual, **limits})
        with out:
            return [out.add([cluster(n)]) for n in range(4)]

    assert flushes() == [False] * 4
    assert flushes(every_rows=2) == [False, True, False, True]
    assert flushes(every_bytes=1) == [True] * 4
    assert flushes(every_seconds=0) == [True] * 4
    assert sorted(numbers(lake)) == sorted([0, 1, 2, 3] * 4)


def test_the_writer_that_says_done_is_durable_last(lake: Lake) -> None:
    with lake.writer("cluster_members", **PLACE) as members, lake.writer("clusters", **PLACE) as out:
        out.flush_first = members
        member = {"clustering_id": "c", **PLACE, "cluster": 0, "invocation_id": "i", "run_id": "r", "assigned": False}
        members.add([{**member, "experiment": "e", "sequence_number": 0}])
        assert lake.manifest("cluster_members", **PLACE) is None
        out.add([cluster(0)])
        out.flush()
        assert numbers(lake) == [0]
        assert lake.sql("SELECT * FROM cluster_members").num_rows == 1


def test_a_column_added_later_reads_as_null_in_older_files(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from panic_assets.lake.schema import Column

    lake.replace("clusters", [cluster(1)], embedding_model="older")
    old = TABLES["clusters"]
    wider = replace(old, columns=(*old.columns, Column("note", "string", "New.", nullable=True)))
    monkeypatch.setitem(TABLES, "clusters", wider)
    lake.replace("clusters", [{**cluster(2), "note": "n"}], embedding_model="newer")
    found = lake.sql("SELECT cluster, note FROM clusters ORDER BY cluster").to_pylist()
    assert found == [{"cluster": 1, "note": None}, {"cluster": 2, "note": "n"}]


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What the empty catalogue of a process is made from is read anew, before and after."""
    catalogue._empty.cache_clear()
    yield
    catalogue._empty.cache_clear()


def test_analysts_read_rows_of_earlier_versions(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None
) -> None:
    """In tables that are copied: a column that is new is null, one that is gone is left out."""
    from dataclasses import replace

    from panic_assets.lake.schema import Column

    now = TABLES["clusters"]
    assert now.hot
    before = replace(now, columns=(*(c for c in now.columns if c.name != "size"), Column("gone", "string", "Old.")))
    monkeypatch.setitem(TABLES, "clusters", before)
    old = {k: v for k, v in cluster(1).items() if k != "size"}
    lake.replace("clusters", [{**old, "gone": "x"}], embedding_model="older")
    monkeypatch.setitem(TABLES, "clusters", now)
    lake.replace("clusters", [cluster(2)], embedding_model="newer")
    catalogue.build(lake, tmp_path / "panic.duckdb")
    with duckdb.connect(str(tmp_path / "panic.duckdb"), read_only=True) as connection:
        found = connection.sql("SELECT * FROM clusters ORDER BY cluster").to_arrow_table()
    assert found.column_names == list(now.names)
    assert found.select(["cluster", "size"]).to_pylist() == [{"cluster": 1, "size": None}, {"cluster": 2, "size": 1}]


def test_a_table_that_grew_too_large_is_left_in_its_files(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "HOT_ROWS", 2)
    kinds = "SELECT table_type FROM information_schema.tables WHERE table_name = 'clusters'"
    for rows, kind in ((2, "BASE TABLE"), (3, "VIEW"), (1, "BASE TABLE")):
        lake.replace("clusters", [cluster(i) for i in range(rows)], **PLACE)
        catalogue.build(lake, tmp_path / "panic.duckdb")
        with duckdb.connect(str(tmp_path / "panic.duckdb"), read_only=True) as connection:
            assert connection.sql(kinds).fetchall() == [(kind,)]
            assert connection.sql("SELECT count(*) FROM clusters").fetchall() == [(rows,)]


# --- merging small files ---------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(large=st.sets(st.integers(0, 15)), flushes=st.integers(1, 16), many=st.integers(2, 5))
def test_merging_keeps_rows_and_order(
    tmp_path_factory: pytest.TempPathFactory, large: set[int], flushes: int, many: int
) -> None:
    lake = open_lake(tmp_path_factory.mktemp("lake"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MANY_FILES", many)
        patch.setattr(module, "SMALL_FILE", 6000)
        wanted = []
        with lake.writer("clusters", **PLACE) as out:
            for index in range(flushes):
                texts = [os.urandom(3000).hex()] if index in large else ["x"]
                rows = [{**cluster(index), "medoid_text": text} for text in texts]
                out.add(rows)
                out.flush()
                wanted += [index] * len(rows)
        assert numbers(lake) == wanted
        manifest = lake.manifest("clusters", **PLACE)
        assert manifest is not None
        assert manifest.rows == len(wanted)
        assert len(manifest.files) <= (len(large) + 1) * (many - 1) + len(large) + 1
        paths = {p.name for p in lake.folder("clusters", **PLACE).glob("*.parquet")}
        assert paths == {f.name for f in manifest.files} | {name for name, _ in manifest.retired}


class LakeAgainstList(RuleBasedStateMachine):
    """Any sequence of writes equals a list. Two partitions, one of them only to be left alone."""

    @initialize()
    def start(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.lake = open_lake(Path(self.folder.name) / "lake", grace_seconds=0)
        self.lake.replace("clusters", [cluster(99)], embedding_model="other")
        self.rows: list[int] = []
        self.trashed: list[tuple[Path, list[int]]] = []
        self.written = False
        self.next = 0

    def fresh(self, count: int) -> list[dict[str, object]]:
        self.next += count
        return [cluster(n) for n in range(self.next - count, self.next)]

    @rule(counts=st.lists(st.integers(0, 3), max_size=4), flush=st.booleans())
    def append(self, counts: list[int], flush: bool) -> None:
        with self.lake.writer("clusters", **PLACE) as out:
            for count in counts:
                rows = self.fresh(count)
                out.add(rows)
                self.rows = [*self.rows, *(int(str(r["cluster"])) for r in rows)]  # a list may also be in the trash
                if flush:
                    out.flush()
        self.written = True

    @rule(count=st.integers(0, 3))
    def interrupted(self, count: int) -> None:
        out = self.lake.replacing("clusters", **PLACE)
        with contextlib.suppress(RuntimeError), out:
            out.add(self.fresh(count))
            raise RuntimeError

    @rule(count=st.integers(0, 3))
    def replace(self, count: int) -> None:
        rows = self.fresh(count)
        self.lake.replace("clusters", rows, **PLACE)
        self.rows, self.written = [int(str(r["cluster"])) for r in rows], True

    @rule()
    def remove(self) -> None:
        trash = Path(self.folder.name) / f"trash-{len(self.trashed)}"
        found = self.lake.manifest("clusters", **PLACE)
        assert (found is not None) == self.written
        if found is not None:
            assert found.rows == len(self.rows)
            self.lake.retire("clusters", [f.name for f in found.files], trash, **PLACE)
            self.trashed.append((trash, self.rows))
        self.rows, self.written = [], False

    @rule(number=st.integers(0, 40))
    def take(self, number: int) -> None:
        self.lake.take_rows("clusters", "cluster IS NOT DISTINCT FROM ?", [number], **PLACE)
        self.rows = [n for n in self.rows if n != number]

    @precondition(lambda self: self.trashed)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        trash, rows = data.draw(st.sampled_from(self.trashed))
        self.lake.bring("clusters", trash, **PLACE)
        if not self.written:
            self.rows, self.written = rows, True

    @rule()
    def sweep(self) -> None:
        self.lake.sweep()
        assert not list(self.lake.root.rglob("*.tmp"))

    @rule()
    def look(self) -> None:
        assert numbers(self.lake) == self.rows
        assert (self.lake.manifest("clusters", **PLACE) is not None) == self.written
        assert numbers(self.lake, embedding_model="other") == [99]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.look()
            self.folder.cleanup()


TestLakeAgainstList = LakeAgainstList.TestCase
TestLakeAgainstList.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)


# --- retirement --------------------------------------------------------------------------------------


def test_grace_counts_from_retirement(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "lake", grace_seconds=3600)
    folder = lake.folder("clusters", **PLACE)
    lake.replace("clusters", [cluster(1)], **PLACE)
    (first,) = lake.files("clusters", **PLACE)
    os.utime(first, (time.time() - 10**6,) * 2)  # An old file ...
    lake.replace("clusters", [cluster(2)], **PLACE)  # ... retired just now.
    assert lake.sweep() == 0
    assert first.exists()
    manifest = manifests.read(folder)
    assert manifest is not None
    assert [name for name, _ in manifest.retired] == [first.name]
    raw = json.loads((folder / manifests.MANIFEST).read_text())
    raw["retired"] = [[first.name, time.time() - 3601]]
    (folder / manifests.MANIFEST).write_text(json.dumps(raw))
    size = first.stat().st_size
    assert lake.sweep() == size
    assert not first.exists()
    assert numbers(lake) == [2]
    assert manifests.read(folder).retired == ()  # type: ignore[union-attr]


def test_a_swept_tombstone_can_be_written_again(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "lake", grace_seconds=0)
    lake.replace("clusters", [cluster(1)], **PLACE)
    with lake.writer("clusters", **PLACE) as out:
        lake.remove("clusters", **PLACE)
        lake.sweep()
        out.add([cluster(2)])
    assert numbers(lake) == [2]


def test_an_older_catalogue_stays_readable_until_a_newer_one_was_built(tmp_path: Path) -> None:
    import duckdb

    lake, path = open_lake(tmp_path / "lake", grace_seconds=0), tmp_path / "panic.duckdb"
    member = {"clustering_id": "c", **PLACE, "cluster": 0, "invocation_id": "i", "run_id": "r", "assigned": False}
    row = {**member, "experiment": "e", "sequence_number": 0}
    lake.replace("cluster_members", [row], **PLACE)
    catalogue.build(lake, path)
    for _ in range(3):  # A process that writes, and dies before it rebuilds the catalogue.
        lake.replace("cluster_members", [row, row], **PLACE)
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM cluster_members").fetchall() == [(1,)]
    catalogue.build(lake, path)
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM cluster_members").fetchall() == [(2,)]
    assert len(list(lake.folder("cluster_members", **PLACE).glob("*.parquet"))) == 1


def test_leftovers_of_a_kill_are_invisible_and_swept(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "lake", grace_seconds=60)
    lake.replace("clusters", [cluster(1)], **PLACE)
    folder = lake.folder("clusters", **PLACE)
    young, old, unlisted = folder / "young.tmp", folder / "old.tmp", folder / "unlisted.parquet"
    for path in (young, old, unlisted):
        path.write_bytes(b"half")
    for path in (old, unlisted):
        os.utime(path, (time.time() - 61,) * 2)
    assert numbers(lake) == [1]
    assert set(lake.half_written("clusters", **PLACE)) == {old, unlisted}
    lake.sweep()
    assert young.exists()
    assert not old.exists()


# --- several processes ---------------------------------------------------------------------------------

REPLACER = """
import sys
from pathlib import Path
from panic_assets.lake.lake import Lake
from panic_assets.tables import open_lake
lake = open_lake(Path(sys.argv[1]), grace_seconds=float(sys.argv[2]))
rows = lambda n: [{"clustering_id": str(n), "embedding_model": "m", "cluster": k, "size": n} for k in range(n % 7 + 1)]
lake.replace("clusters", rows(0), embedding_model="m")
print("ready", flush=True)
n = 0
while True:
    n += 1
    lake.replace("clusters", rows(n), embedding_model="m")
"""


def test_readers_see_the_old_rows_or_the_new(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", REPLACER, str(tmp_path), "60"], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        lake = open_lake(tmp_path, grace_seconds=60)
        generations, reads = set(), 0
        while reads < 100 or len(generations) <= 10:
            reads += 1
            rows = lake.sql("SELECT clustering_id, cluster, size FROM clusters", **PLACE).to_pylist()
            (size,) = {r["size"] for r in rows}
            assert [r["cluster"] for r in rows] == list(range(size % 7 + 1))
            generations.add(size)
    finally:
        child.kill()
        child.wait()


APPENDER = """
import sys
from pathlib import Path
from panic_assets.lake.lake import Lake
from panic_assets.tables import open_lake
lake = open_lake(Path(sys.argv[1]))
start = int(sys.argv[2])
for n in range(start, start + 25):
    with lake.writer("clusters", embedding_model="m") as out:
        out.add([{"clustering_id": "c", "embedding_model": "m", "cluster": n, "size": 1}])
"""


def test_two_processes_that_append_lose_nothing(tmp_path: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path), str(n)]) for n in (0, 100)]
    assert [child.wait(300) for child in children] == [0, 0]
    found = numbers(open_lake(tmp_path))
    assert [n for n in found if n < 100] == list(range(25))
    assert [n for n in found if n >= 100] == list(range(100, 125))


def retire_all(lake: Lake, trash: Path) -> None:
    found = lake.manifest("clusters", **PLACE)
    assert found is not None
    lake.retire("clusters", [f.name for f in found.files], trash, **PLACE)


def test_only_what_was_there_is_retired_and_what_came_later_stays(tmp_path: Path) -> None:
    lake, trash = open_lake(tmp_path / "lake", grace_seconds=0), tmp_path / "trash"
    lake.replace("clusters", [cluster(1)], **PLACE)
    old = [f.name for _, found in lake.partitions("clusters", **PLACE) for f in found.files]
    with lake.writer("clusters", **PLACE) as out:
        out.add([cluster(2)])
    lake.retire("clusters", old, trash, **PLACE)
    assert numbers(lake) == [2]
    lake.retire("clusters", old, trash, **PLACE)
    assert numbers(lake) == [2]
    assert numbers(Lake(trash, lake.tables)) == [1]


def test_rows_that_are_taken_while_somebody_writes_do_not_take_theirs_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_lake(tmp_path / "lake")
    lake.replace("clusters", [cluster(1), cluster(2)], **PLACE)
    real, written = Lake._count, []

    def meanwhile(self: Lake, *arguments: Any) -> int:
        found = real(self, *arguments)
        if not written:
            written.append(True)
            with lake.writer("clusters", **PLACE) as out:
                out.add([cluster(3)])
        return found

    monkeypatch.setattr(Lake, "_count", meanwhile)
    lake.take_rows("clusters", "cluster IS NOT DISTINCT FROM ?", [1], **PLACE)
    assert numbers(lake) == [2, 3]


def test_what_is_erased_leaves_no_file(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "lake")
    lake.replace("clusters", [cluster(1)], **PLACE)
    lake.replace("clusters", [cluster(2)], **PLACE)
    lake.erase("clusters", **PLACE)
    assert numbers(lake) == [2]
    lake.remove("clusters", **PLACE)
    lake.erase("clusters", **PLACE)
    assert [p.name for p in lake.folder("clusters", **PLACE).iterdir()] == [".lock"]


def test_a_removed_partition_comes_back_as_it_was_unless_written_again(tmp_path: Path) -> None:
    lake, trash = open_lake(tmp_path / "lake", grace_seconds=0), tmp_path / "trash"
    lake.replace("clusters", [cluster(1), cluster(2)], **PLACE)
    retire_all(lake, trash)
    lake.sweep()  # The lake's own copies are gone; the trash holds links.
    assert numbers(lake) == []
    lake.replace("clusters", [cluster(3)], **PLACE)
    lake.bring("clusters", trash, **PLACE)
    assert numbers(lake) == [3]
    lake.remove("clusters", **PLACE)
    lake.bring("clusters", trash, **PLACE)
    assert numbers(lake) == [1, 2]
    assert lake.remove("clusters", embedding_model="never there") is None
