"""Every rule derived from the schemas, and every rule of the workload, finds what is planted and nothing else."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from panic_assets.checks import checks_of
from panic_assets.compute.in_process import InProcessCompute
from panic_assets.lake import manifest as manifests
from panic_assets.lake.invariants import all_findings
from panic_assets.lake.lake import Lake
from panic_assets.lake.manifest import StoredFile
from panic_assets.partitions import EMBEDDING_MODEL, EXPERIMENT
from panic_assets.resources import RESOURCES
from panic_assets.tables import TABLES, open_lake
from panic_assets.trajectories import stages
from panic_assets.trajectories.workload import WORKLOAD
from panic_assets.workloads import RULES
from panic_assets_tests.trajectories.world import Nobody, definition, perform

pytestmark = pytest.mark.slow

TABLES_HERE = (
    "experiments", "runs", "invocations", "embeddings", "persistence_bars", "persistence_summary",
    "clusterings", "clusters", "cluster_members",
)  # fmt: skip
MODEL = {"experiment": "a", "embedding_model": "DummyText"}
PARTITION = {
    **{t: {"experiment": "a"} for t in ("experiments", "runs", "invocations")},
    **dict.fromkeys(("embeddings", "persistence_bars", "persistence_summary"), MODEL),
    **{t: {"embedding_model": "DummyText"} for t in ("clusterings", "clusters", "cluster_members")},
}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("healthy")
    lake = open_lake(root / "lake", grace_seconds=0)
    for name in ("a", "b"):
        perform(lake, definition(name, seeds=[0, 1, 2], max_length=60, prompts=[f"prompt of {name}"]))
    stages.cluster(lake, Nobody(), "DummyText")
    return root


@pytest.fixture
def lake(healthy: Path) -> Iterator[Lake]:
    """The healthy lake; what a test plants is taken out again by putting the old manifests back."""
    lake = open_lake(healthy / "lake", grace_seconds=3600)
    kept = {path: path.read_bytes() for path in lake.root.rglob("*") if path.is_file()}
    yield lake
    for path in lake.root.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    for path, content in kept.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def plant(lake: Lake, table: str, rows: pa.Table, *, mistyped: bool = False) -> None:
    """Put rows in place of a partition's, past the writer, which would refuse most of them."""
    folder = lake.folder(table, **PARTITION[table])
    path = folder / "planted.parquet"
    nullable = pa.schema([f.with_nullable(True) for f in (rows.schema if mistyped else TABLES[table].arrow)])
    pq.write_table(rows.cast(nullable), path)
    found = manifests.read(folder)
    assert found is not None
    stored = StoredFile(path.name, rows.num_rows, path.stat().st_size, "planted")
    manifests.write(folder, found.swapped((stored,)))


def replaced(lake: Lake, table: str, expression: str, where: str) -> pa.Table:
    """A partition's rows, with `expression` AS column applied where it holds."""
    value, column = expression.rsplit(" AS ", 1)
    return lake.sql(
        f"SELECT * REPLACE (CASE WHEN {where} THEN {value} ELSE {column} END AS {column}) FROM {table}",
        **PARTITION[table],
    )


def kinds(lake: Lake, table: str, **where: str) -> list[tuple[str, int]]:
    return [(f.kind, f.count) for f in all_findings(lake, RULES, table, **where)]


def test_a_healthy_lake_has_no_finding(lake: Lake) -> None:
    for table in TABLES_HERE:
        assert kinds(lake, table) == []
        assert kinds(lake, table, **PARTITION[table]) == []


ONE = "run_id = (SELECT min(run_id) FROM runs) AND sequence_number = 1"
FIRST = "run_id = (SELECT min(run_id) FROM runs) AND dimension = 0"

VALUES: list[tuple[str, str, str, str]] = [
    ("invocations", "NULL AS model", ONE, "model (null is not allowed)"),
    ("invocations", "'sound' AS type", ONE, "type (null is not allowed; accepted: text, image)"),
    (
        "invocations",
        "'nan'::DOUBLE AS duration_share",
        ONE,
        "duration_share (null is not allowed; finite numbers only)",
    ),
    ("runs", "'tired' AS stop_reason", "seed = 0", "stop_reason (null is allowed; accepted: length, loop, failed)"),
    ("experiments", "'gif' AS image_format", "true", "image_format (null is not allowed; accepted: png, webp, jpeg)"),
    ("embeddings", "list_concat(vector[:255], ['nan'::FLOAT]) AS vector", ONE, "vector (null is not allowed; finite"),
    ("embeddings", "list_concat(vector[:255], ['-inf'::FLOAT]) AS vector", ONE, "vector (null is not allowed; finite"),
    ("embeddings", "list_concat(vector[:255], [NULL::FLOAT]) AS vector", ONE, "vector (null is not allowed; finite"),
    ("embeddings", "vector[:255] AS vector", ONE, "vector (null is not allowed; finite"),
    ("embeddings", "NULL AS vector", ONE, "vector (null is not allowed; finite"),
    ("persistence_bars", "'nan'::DOUBLE AS death", f"{FIRST} AND bar = 0", "death (null is not allowed; infinity is"),
    ("persistence_bars", "'inf'::DOUBLE AS birth", f"{FIRST} AND bar = 0", "birth (null is not allowed; finite"),
    ("persistence_summary", "'inf'::DOUBLE AS entropy", FIRST, "entropy (null is not allowed; finite numbers only)"),
]


@pytest.mark.parametrize(("table", "value", "where", "said"), VALUES, ids=[f"{v[0]}-{v[1]}" for v in VALUES])
def test_a_forbidden_value_is_found(lake: Lake, table: str, value: str, where: str, said: str) -> None:
    rows = replaced(lake, table, value, where)
    plant(lake, table, rows)
    found = [f for f in all_findings(lake, RULES, table, experiment="a") if "forbidden value" in f.sentence]
    assert [(f.kind, f.table, f.count) for f in found] == [("invalid", table, 1)]
    assert f"1 rows of {table} have a forbidden value in {said}" in found[0].sentence
    assert kinds(lake, table, experiment="b") == []


ROWS: list[tuple[str, str, str, tuple[str, int]]] = [
    # table, rows that take the place of its own, what finds it, (kind, count)
    ("invocations", "FROM invocations UNION ALL (FROM invocations LIMIT 2)", "repeat the key", ("duplicate", 2)),
    ("runs", "FROM runs UNION ALL (FROM runs LIMIT 1)", "repeat the key", ("duplicate", 1)),
    ("embeddings", "FROM embeddings UNION ALL (FROM embeddings LIMIT 3)", "repeat the key", ("duplicate", 3)),
    (
        "invocations",
        f"SELECT * REPLACE (CASE WHEN {ONE} THEN 'gone' ELSE run_id END AS run_id) FROM invocations",
        "refer to values of run_id that are not in runs",
        ("orphaned", 1),
    ),
    (
        "embeddings",
        f"SELECT * REPLACE (CASE WHEN {ONE} THEN 'gone' ELSE invocation_id END AS invocation_id) FROM embeddings",
        "refer to values of invocation_id that are not in invocations",
        ("orphaned", 1),
    ),
    ("invocations", f"FROM invocations WHERE NOT ({ONE})", "without a gap", ("gap", 1)),
    (
        "invocations",
        f"SELECT * REPLACE (CASE WHEN {ONE} THEN NULL ELSE output_text END AS output_text) FROM invocations",
        "whose output is missing, or is of another type",
        ("invalid", 1),
    ),
    (
        "invocations",
        f"SELECT * REPLACE (CASE WHEN {ONE} THEN repeat('0', 64) ELSE input_hash END AS input_hash) FROM invocations",
        "whose input is not the previous output",
        ("invalid", 1),
    ),
    (
        "runs",
        "SELECT * REPLACE (CASE WHEN seed = 0 THEN length - 1 ELSE length END AS length) FROM runs",
        "whose length differs from their stored invocations",
        ("invalid", 1),
    ),
    (
        "runs",
        "SELECT * REPLACE ('loop' AS stop_reason, CASE WHEN stop_reason = 'loop' THEN loop_length ELSE 2 END "
        "AS loop_length) FROM runs",
        "stopped with a loop but whose last output differs",
        ("invalid", 2),
    ),
    (
        "persistence_summary",
        f"SELECT * REPLACE (CASE WHEN {FIRST} THEN bars + 1 ELSE bars END AS bars) FROM persistence_summary",
        "that have more or fewer stored bars than their summary says",
        ("half-written", 1),
    ),
    (
        "clusters",
        "SELECT * REPLACE (CASE WHEN cluster = 0 THEN 'nobody' ELSE medoid_invocation_id END AS medoid_invocation_id) "
        "FROM clusters",
        "whose medoid is not one of their members",
        ("invalid", 1),
    ),
]


@pytest.mark.parametrize(
    ("table", "query", "said", "expected"), ROWS, ids=[f"{r[0]}-{r[3][0]}-{r[2][:24]}" for r in ROWS]
)
def test_what_does_not_fit_is_found(lake: Lake, table: str, query: str, said: str, expected: tuple[str, int]) -> None:
    if "loop_length" in query:  # As many as do not loop in truth.
        truly = lake.sql("SELECT count(*) AS n FROM runs WHERE stop_reason <> 'loop'", experiment="a")["n"][0].as_py()
        expected = (expected[0], truly)
        assert truly > 0
    plant(lake, table, lake.sql(query, **PARTITION[table]))
    found = [f for f in all_findings(lake, RULES, table, **PARTITION[table]) if said in f.sentence]
    assert [(f.kind, f.count) for f in found] == [expected]


def test_one_content_with_two_vectors_is_found(lake: Lake) -> None:
    same = lake.sql("SELECT * REPLACE ('h' AS content_hash) FROM embeddings", **MODEL)
    plant(lake, "embeddings", same)
    (found,) = all_findings(lake, RULES, "embeddings", **MODEL)
    assert "equal outputs that have different vectors by the same model" in found.sentence


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _garbled(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "is missing"),
        (_truncated, "bytes instead of"),
        (_garbled, "is not a readable Parquet file"),
    ],
)
@pytest.mark.parametrize("table", ["invocations", "embeddings", "persistence_summary"])
def test_a_harmed_file_is_found_and_named(lake: Lake, table: str, harm: Callable[[Path], None], said: str) -> None:
    path = lake.files(table, **PARTITION[table])[0]
    harm(path)
    (found,) = all_findings(lake, RULES, table, **PARTITION[table])
    assert (found.kind, found.file) == ("half-written", path.name)
    assert f"file {path.name} of {table} (" in found.sentence
    assert said in found.sentence
    assert kinds(lake, table, experiment="b") == []


def test_a_mistyped_file_is_found_and_named(lake: Lake) -> None:
    rows = lake.sql("SELECT * REPLACE (sequence_number::VARCHAR AS sequence_number) FROM invocations", experiment="a")
    plant(lake, "invocations", rows.drop_columns(["seed"]), mistyped=True)
    (found,) = all_findings(lake, RULES, "invocations", experiment="a")
    assert (found.kind, found.file) == ("mistyped", "planted.parquet")
    assert "sequence_number is string instead of int32" in found.sentence
    assert "seed is missing instead of int64" in found.sentence


def test_what_an_interrupted_write_left_is_found_once_it_is_old(lake: Lake) -> None:
    folder = lake.folder("invocations", experiment="a")
    for name in ("0123.tmp", "unlisted.parquet"):
        (folder / name).write_bytes(b"half")
    assert kinds(lake, "invocations", experiment="a") == []
    for name in ("0123.tmp", "unlisted.parquet"):
        os.utime(folder / name, (time.time() - 3601,) * 2)
    assert kinds(lake, "invocations", experiment="a") == [("half-written", 2)]


# --- as asset checks --------------------------------------------------------------------------------------


def outcomes(
    healthy: Path, asset: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dg.AssetCheckEvaluation]:
    monkeypatch.setenv("PANIC_HOME", str(healthy))
    space = EMBEDDING_MODEL if asset == "clusters" else EXPERIMENT
    graph = WORKLOAD.graph()
    definitions = dg.Definitions(
        assets=graph.assets,
        asset_checks=[checks_of(a) for a in graph.assets],
        jobs=[dg.define_asset_job("check", dg.AssetSelection.checks_for_assets(asset), partitions_def=space)],
        resources={**RESOURCES, "compute": dg.ResourceDefinition.hardcoded_resource(InProcessCompute())},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("experiment", ["a", "b"])
        instance.add_dynamic_partitions("embedding_model", ["DummyText"])
        # By its tag: the argument is refused for a run of checks alone.
        tags = {"dagster/partition": key}
        result = definitions.resolve_job_def("check").execute_in_process(tags=tags, instance=instance)
        assert result.success
        return {e.check_name: e for e in result.get_asset_check_evaluations()}


EXPECTED = {
    "experiments": {"experiments_valid", "runs_valid"},
    "invocations": {"invocations_valid", "runs_valid", "complete"},
    "embeddings": {"embeddings_valid", "complete"},
    "persistence_diagrams": {"persistence_bars_valid", "persistence_summary_valid", "complete"},
    "clusters": {"clusterings_valid", "clusters_valid", "cluster_members_valid", "complete"},
}


@pytest.mark.parametrize("asset", EXPECTED)
def test_all_checks_pass_on_a_healthy_experiment(healthy: Path, asset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcomes(healthy, asset, "DummyText" if asset == "clusters" else "a", monkeypatch)
    assert set(found) >= EXPECTED[asset]
    assert {name for name, e in found.items() if not e.passed} == set()


def test_a_check_is_about_its_partition(healthy: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(lake, "invocations", lake.sql(f"FROM invocations WHERE NOT ({ONE})", experiment="a"))
    bad = outcomes(healthy, "invocations", "a", monkeypatch)
    assert not bad["invocations_valid"].passed
    assert bad["invocations_valid"].severity == dg.AssetCheckSeverity.ERROR
    assert "gap: there are 1 runs" in str(bad["invocations_valid"].description)
    good = outcomes(healthy, "invocations", "b", monkeypatch)
    assert all(e.passed for e in good.values())


def test_what_is_missing_is_a_warning(healthy: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.replace("embeddings", lake.sql("FROM embeddings LIMIT 5", **MODEL), **MODEL)
    found = outcomes(healthy, "embeddings", "a", monkeypatch)["complete"]
    total = lake.sql("SELECT count(*) AS n FROM invocations WHERE type = 'text'", experiment="a")["n"][0].as_py()
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.description is not None
    assert f"a lacks {total - 5} of {total} vectors of DummyText" in found.description
    assert found.metadata["missing"].value == total - 5
    stale = outcomes(healthy, "clusters", "DummyText", monkeypatch)["complete"]
    assert not stale.passed
    assert "stale" in str(stale.description)
