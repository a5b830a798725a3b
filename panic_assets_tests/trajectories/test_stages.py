"""The stages on a real lake: counts, independence of how work was split, and doing only what is missing."""

import itertools
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.local import LocalCompute
from panic_assets.compute.protocol import Function, Needs, Resume
from panic_assets.errors import UserError
from panic_assets.lake.invariants import all_findings
from panic_assets.lake.lake import Lake, Writer
from panic_assets.tables import open_lake
from panic_assets.trajectories import missing, stages
from panic_assets.trajectories.runs.content import decode
from panic_assets.trajectories.runs.embed import ToEmbed
from panic_assets.trajectories.runs.walk import Batch
from panic_assets.trajectories.stages import vectors
from panic_assets.trajectories.topology.homology import Points
from panic_assets.workloads import RULES
from panic_assets_tests.trajectories.world import LONG, LOOP, Nobody, definition, nothing, perform, trace

pytestmark = pytest.mark.slow


class Counting(InProcessCompute):
    """The real thing, which also notes what it was handed."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.tasks: list[Any] = []
        self._width = width

    def width(self, needs: Needs) -> int:
        return self._width

    def stream(
        self, function: Function, tasks: Sequence[Any], needs: Needs, resume: Resume | None = None
    ) -> Iterator[tuple[int, Any]]:
        self.tasks += tasks
        return super().stream(function, tasks, needs, resume)

    def embedded(self, model: str) -> Counter[Any]:
        """How often each content was handed to an embedder."""
        return Counter(
            c for t in self.tasks if isinstance(t, ToEmbed) and t.embedding_model == model for c in t.contents
        )

    def count(self, kind: type) -> int:
        return sum(isinstance(task, kind) for task in self.tasks)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_lake(tmp_path / "lake")


def counts(lake: Lake) -> dict[str, int]:
    tables = ("runs", "invocations", "embeddings", "persistence_summary")
    return {t: lake.sql(f"SELECT count(*) AS n FROM {t}")["n"][0].as_py() for t in tables}


def sound(lake: Lake) -> None:
    """Every rule of every table holds, and nothing is missing."""
    for table in ("experiments", "runs", "invocations", "embeddings", "persistence_bars", "persistence_summary"):
        assert all_findings(lake, RULES, table) == []
    for stage in ("invocations", "embeddings", "persistence_diagrams"):
        assert [m for m in missing.left(lake, stage) if m.count] == []


def test_counting(lake: Lake) -> None:
    wanted = definition(seeds=[-1, -1], prompts=["a", "b"], embedding_models=["DummyText", "DummyText2"])
    perform(lake, wanted)
    assert counts(lake) == {"runs": 4, "invocations": 40, "embeddings": 40, "persistence_summary": 16}
    diagrams = lake.sql("SELECT DISTINCT run_id, embedding_model FROM persistence_summary")
    assert diagrams.num_rows == 8
    assert lake.sql("SELECT DISTINCT type, sequence_number % 2 AS odd FROM invocations ORDER BY odd").to_pylist() == [
        {"type": "image", "odd": 0},
        {"type": "text", "odd": 1},
    ]
    assert lake.sql("SELECT * FROM embeddings WHERE sequence_number % 2 = 0").num_rows == 0
    assert lake.sql("SELECT replicate FROM runs ORDER BY ALL")["replicate"].to_pylist() == [0, 0, 1, 1]
    sound(lake)


def test_vectors_are_written_while_the_model_works_on_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block is held up until the next one has reached the model; the last has none to wait for."""
    perform(lake, definition(max_length=16, embedding_models=["RandomWalk"]))
    monkeypatch.setitem(vectors.ROWS_A_BLOCK, "text", 4)
    stages.register(lake, definition(max_length=16, embedding_models=["DummyText"]))
    blocks = 4
    begun = [threading.Event() for _ in range(blocks)]
    add, added = Writer.add, itertools.count(1)

    def held_up(writer: Writer, rows: Any) -> bool:
        if writer.table.name == "embeddings" and (block := next(added)) < blocks:
            assert begun[block].wait(300)
        return add(writer, rows)

    class Telling(Counting):
        def stream(self, *args: Any) -> Iterator[tuple[int, Any]]:
            begun[self.count(ToEmbed)].set()
            return super().stream(*args)

    monkeypatch.setattr(Writer, "add", held_up)
    assert stages.embed(lake, Telling(), Nobody(), nothing, "a").rows == 8
    assert all(event.is_set() for event in begun)
    assert [m for m in missing.left(lake, "embeddings") if m.count] == []


def test_each_embedder_gets_its_own_modality(lake: Lake) -> None:
    perform(lake, definition(embedding_models=["DummyText", "DummyVision", "RandomWalk"], max_length=7))
    found = lake.sql(
        "SELECT embedding_model, list(sequence_number ORDER BY sequence_number) AS at, any_value(len(vector)) AS d "
        "FROM embeddings GROUP BY ALL ORDER BY ALL"
    ).to_pylist()
    assert found == [
        {"embedding_model": "DummyText", "at": [1, 3, 5], "d": 256},
        {"embedding_model": "DummyVision", "at": [0, 2, 4, 6], "d": 256},
        {"embedding_model": "RandomWalk", "at": [1, 3, 5], "d": 384},
    ]
    sound(lake)


def test_a_run_without_any_text_has_an_empty_diagram(lake: Lake) -> None:
    perform(lake, definition(max_length=1))
    (zero, one) = lake.sql("SELECT * FROM persistence_summary ORDER BY dimension").to_pylist()
    for row in (zero, one):
        assert (row["points"], row["bars"], row["entropy"]) == (0, 0, 0.0)
    sound(lake)


MIXED = definition(
    "mixed",
    networks=[LOOP, LONG],
    prompts=["a cat", "two boats"],
    seeds=[0, 1, 2],
    embedding_models=["DummyText", "DummyVision", "RandomWalk50"],
    max_length=90,
)


@pytest.fixture(scope="module")
def performed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with the uninterrupted result; to be read, or copied."""
    lake = open_lake(tmp_path_factory.mktemp("reference") / "lake")
    perform(lake, MIXED)
    sound(lake)
    return lake


@pytest.fixture(scope="module")
def reference(performed: Lake) -> dict[str, Any]:
    return trace(performed, MIXED.name)


def test_a_run_that_loops_is_complete(reference: dict[str, Any]) -> None:
    reasons = Counter(row[6] for row in reference["runs"])
    assert reasons["loop"] >= 3
    assert set(reasons) <= {"loop", "length"}
    for row in reference["runs"]:
        assert (row[7] is not None) == (row[6] == "loop")
        assert (row[5] == 90) or row[6] == "loop"


def test_splitting_a_batch_changes_no_bit(lake: Lake, reference: dict[str, Any]) -> None:
    compute = Counting(width=5)
    perform(lake, MIXED, compute)
    assert compute.count(Batch) == 10
    assert trace(lake, MIXED.name) == reference


@pytest.mark.slow
def test_worker_processes_change_no_bit(lake: Lake, reference: dict[str, Any]) -> None:
    compute = LocalCompute(workers=2)
    try:
        perform(lake, MIXED, compute)
    finally:
        compute.close()
    assert trace(lake, MIXED.name) == reference


def test_other_runs_beside_it_change_no_bit(lake: Lake, reference: dict[str, Any]) -> None:
    """The same runs in the reverse order, with more in their batches."""
    wider = definition(
        "mixed",
        networks=[LONG, LOOP],
        prompts=["another", "two boats", "a cat"],
        seeds=[5, 2, 1, 0, -1],
        embedding_models=["DummyVision", "DummyText", "RandomWalk50"],
        max_length=90,
    )
    perform(lake, wider)
    found = trace(lake, "mixed")
    for table, rows in reference.items():
        runs = {row[:3] for row in rows}
        assert [row for row in found[table] if row[:3] in runs] == rows


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.8])
def test_unequal_progress_resumes_to_the_same_end(
    performed: Lake, lake: Lake, reference: dict[str, Any], keep: float
) -> None:
    shutil.copytree(performed.root, lake.root)
    ids = dict(_ids(lake))
    cut = f"CAST(hash(run_id) % 1000 AS DOUBLE) / 1000 * {keep} * 90"
    lake.replace(
        "invocations", lake.sql(f"SELECT * FROM invocations WHERE sequence_number < {cut}"), experiment="mixed"
    )
    kept = dict(_ids(lake))
    lake.replace(
        "runs",
        lake.sql(
            "SELECT * REPLACE (0::INTEGER AS length, NULL AS stop_reason, NULL::INTEGER AS loop_length) FROM runs"
        ),
        experiment="mixed",
    )
    for table in ("embeddings", "persistence_bars", "persistence_summary"):
        for partition, _ in list(lake.partitions(table)):
            lake.remove(table, **partition)
    perform(lake, MIXED)
    assert trace(lake, MIXED.name) == reference
    now = dict(_ids(lake))
    assert {place: now[place] for place in kept} == kept == {place: ids[place] for place in kept}
    sound(lake)


def test_an_embedder_that_needs_a_card_is_looked_for_where_one_is(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the network needs none."""
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"Qwen3Embed={tmp_path}")
    stages.register(lake, definition(embedding_models=["Qwen3Embed"], max_length=2))
    stages.plan(lake, "a")
    asked: list[tuple[Function, Needs]] = []

    class Noting(InProcessCompute):
        def stream(self, function: Function, tasks: Any, needs: Needs, resume: Any = None) -> Iterator[tuple[int, Any]]:
            asked.append((function, needs))
            return super().stream(function, tasks, needs, resume)

    stages.walk(lake, Noting(), Nobody(), nothing, "a")
    assert [(function.__name__, needs.device) for function, needs in asked] == [("inspect", "gpu"), ("advance", "cpu")]


def test_the_pace_of_each_batch_is_that_of_its_calls(lake: Lake) -> None:
    wanted = definition(networks=[LOOP, LONG], seeds=[-1, -1], max_length=6)
    stages.register(lake, wanted)
    stages.plan(lake, "a")
    paces = stages.walk(lake, Counting(width=2), Nobody(), nothing, "a").paces
    expected = [f"1 runs of {'-'.join(network)} in experiment a" for network in wanted.networks for _ in range(2)]
    assert sorted(pace.batch for pace in paces) == sorted(expected)
    shares = lake.sql(
        "SELECT network, sum(duration_share) AS busy FROM invocations JOIN runs USING (run_id) GROUP BY 1"
    )
    for row in shares.to_pylist():
        mine = [pace for pace in paces if row["network"] + " " in pace.batch]
        assert sum(pace.busy for pace in mine) == pytest.approx(row["busy"])
        assert all(0 < pace.busy <= pace.wall and 0 <= pace.idle < 1 for pace in mine)
    assert stages.walk(lake, Counting(), Nobody(), nothing, "a").paces == []
    assert stages.Pace("nobody").idle == 0


def _ids(lake: Lake) -> list[tuple[tuple[str, int], str]]:
    rows = lake.sql("SELECT run_id, sequence_number, invocation_id FROM invocations").to_pylist()
    return [((r["run_id"], r["sequence_number"]), r["invocation_id"]) for r in rows]


def test_doing_it_twice_does_nothing(lake: Lake) -> None:
    compute = Counting()
    perform(lake, MIXED, compute)
    before = {t: lake.files(t) for t in ("invocations", "embeddings", "persistence_bars", "persistence_summary")}
    ids = lake.sql("SELECT run_id FROM runs ORDER BY ALL")
    compute.tasks.clear()
    perform(lake, MIXED, compute)
    assert compute.tasks == []
    assert {t: lake.files(t) for t in before} == before
    assert lake.sql("SELECT run_id FROM runs ORDER BY ALL") == ids


def test_one_more_embedding_model_computes_only_what_it_adds(lake: Lake) -> None:
    compute = Counting()
    perform(lake, definition(seeds=[1, 2], max_length=12), compute)
    first = {t: set(lake.files(t)) for t in ("invocations", "embeddings", "persistence_bars")}
    compute.tasks.clear()
    perform(lake, definition(seeds=[1, 2], max_length=12, embedding_models=["DummyText2", "DummyText"]), compute)
    assert compute.count(Batch) == 0
    assert not compute.embedded("DummyText")
    assert sum(compute.embedded("DummyText2").values()) == 12
    assert compute.count(Points) == 2
    for table, files in first.items():
        assert files <= set(lake.files(table))
    assert missing.definition(lake, "a").embedding_models == ("DummyText", "DummyText2")  # type: ignore[union-attr]
    sound(lake)


def test_each_distinct_content_is_embedded_once(lake: Lake) -> None:
    """Within a run, across runs, across experiments and for what is there already when a step is asked again."""
    compute = Counting(width=3)
    fields: dict[str, Any] = {"seeds": [1, 2, 3], "max_length": 200, "embedding_models": ["DummyText", "DummyVision"]}
    perform(lake, definition("a", **fields), compute)
    perform(lake, definition("b", **{**fields, "prompts": ["a red cat", "new"]}), compute)
    for model, column in (("DummyText", "output_text"), ("DummyVision", "output_image")):
        handed = compute.embedded(model)
        assert set(handed.values()) == {1}
        kind = column.removeprefix("output_")
        query = f"SELECT count(*) AS n, count(DISTINCT content_hash) AS d FROM invocations WHERE type = '{kind}'"
        stored = lake.sql(query).to_pylist()[0]
        assert stored["n"] > 1.5 * stored["d"] > 0  # b repeats all of a, and every loop ends in a repeat.
        assert len(handed) == stored["d"]
    sound(lake)


def test_a_fixed_point_costs_one_call(lake: Lake) -> None:
    wanted = definition(seeds=[-1], max_length=40)
    stages.register(lake, wanted)
    stages.plan(lake, "a")
    compute = Counting()
    stages.walk(lake, compute, Nobody(), nothing, "a")
    same = "SELECT * REPLACE ('same' AS output_text, 'h' AS content_hash) FROM invocations WHERE type = 'text'"
    lake.replace("invocations", lake.sql(same.replace("'h'", f"'{'ab' * 32}'")), experiment="a")
    done = stages.embed(lake, compute, Nobody(), nothing, "a")
    assert done.rows == 20
    assert compute.embedded("DummyText") == {"same": 1}
    assert lake.sql("SELECT count(DISTINCT vector) AS n FROM embeddings")["n"].to_pylist() == [1]


def test_contents_are_found_again_when_the_cache_is_full(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from panic_assets.trajectories.stages import vectors

    monkeypatch.setattr(vectors, "CACHE_BYTES", 2048)  # Two vectors.
    monkeypatch.setitem(vectors.ROWS_A_BLOCK, "text", 7)
    compute = Counting()
    perform(lake, definition(seeds=[1, 2, 3], prompts=["a", "b"], max_length=150), compute)
    assert set(compute.embedded("DummyText").values()) == {1}
    sound(lake)


def test_control_walks_are_each_runs_own_and_can_be_redone(lake: Lake) -> None:
    fields: dict[str, Any] = {
        "seeds": [-1, -1],
        "prompts": ["a", "b"],
        "max_length": 30,
        "embedding_models": ["RandomWalk50"],
    }
    perform(lake, definition("a", **fields))
    perform(lake, definition("b", **fields))
    query = "SELECT experiment, run_id, vector FROM embeddings ORDER BY ALL"
    walks = lake.sql("SELECT run_id, vector FROM embeddings WHERE sequence_number = 1").to_pylist()
    assert len({tuple(row["vector"]) for row in walks}) == 8
    before = lake.sql(query)
    one_whole = "SELECT * FROM embeddings WHERE sequence_number < 9 OR run_id = (SELECT min(run_id) FROM runs)"
    lake.replace("embeddings", lake.sql(one_whole, experiment="a"), experiment="a", embedding_model="RandomWalk50")
    assert before.num_rows - lake.sql(query).num_rows == 3 * 11
    perform(lake, definition("a", **fields))
    assert lake.sql(query) == before
    sound(lake)


def test_what_cannot_be_embedded_is_said_and_spoils_nothing_else(lake: Lake) -> None:
    wanted = definition(embedding_models=["DummyVision"], max_length=9)
    stages.register(lake, wanted)
    stages.plan(lake, "a")
    compute = InProcessCompute()
    stages.walk(lake, compute, Nobody(), nothing, "a")
    spoilt = "SELECT * REPLACE (CASE WHEN sequence_number = 4 THEN 'x'::BLOB ELSE output_image END AS output_image) FROM invocations"
    lake.replace("invocations", lake.sql(spoilt), experiment="a")
    done = stages.embed(lake, compute, Nobody(), nothing, "a")
    assert done.rows == 4
    assert len(done.problems) == 1
    assert "stored image of 1 bytes cannot be decoded" in done.problems[0]
    assert [(m.count, m.total) for m in missing.left(lake, "embeddings", "a")] == [(1, 5)]


def test_a_stored_input_that_is_broken_fails_its_run_and_no_other(lake: Lake) -> None:
    wanted = definition(seeds=[-1, -1, -1], max_length=6)
    stages.register(lake, wanted)
    stages.plan(lake, "a")
    compute = InProcessCompute()
    stages.walk(lake, compute, Nobody(), nothing, "a")
    first = lake.sql("SELECT min(run_id) AS r FROM runs")["r"][0].as_py()
    spoilt = f"""SELECT * REPLACE (CASE WHEN run_id = '{first}' AND type = 'image' THEN 'x'::BLOB ELSE output_image END
        AS output_image) FROM invocations WHERE sequence_number < 3"""
    lake.replace("invocations", lake.sql(spoilt), experiment="a")
    unfinished = "SELECT * REPLACE (NULL::VARCHAR AS stop_reason) FROM runs"
    lake.replace("runs", lake.sql(unfinished), experiment="a")
    done = stages.walk(lake, compute, Nobody(), nothing, "a")
    assert done.rows == 6
    (problem,) = done.problems
    assert problem.startswith(
        f"run {first}: the input of step 3 cannot be used: the stored image of 1 bytes cannot be decoded"
    )
    found = lake.sql("SELECT run_id, length, stop_reason, failure FROM runs ORDER BY run_id").to_pylist()
    assert [(r["length"], r["stop_reason"]) for r in found] == [(3, "failed"), (6, "length"), (6, "length")]
    assert found[0]["failure"] in problem


@pytest.mark.parametrize("form", ["png", "webp", "jpeg"])
def test_images_are_stored_as_asked_for(lake: Lake, form: str) -> None:
    perform(lake, definition(image_format=form, image_size=24, max_length=4))
    images = lake.sql("SELECT output_image FROM invocations WHERE type = 'image'")["output_image"].to_pylist()
    assert {(decode(data).format, decode(data).size) for data in images} == {(form.upper(), (24, 24))}
    sound(lake)


# --- registering ----------------------------------------------------------------------------------------


def test_registering_twice_is_registering_once(lake: Lake) -> None:
    assert stages.register(lake, definition()) == (definition(), True)
    before = lake.sql("SELECT * FROM experiments")
    assert stages.register(lake, definition()) == (definition(), False)
    assert lake.sql("SELECT * FROM experiments") == before
    more, changed = stages.register(lake, definition(embedding_models=["DummyVision"]))
    assert changed
    assert more.embedding_models == ("DummyText", "DummyVision")
    after = lake.sql("SELECT * FROM experiments")
    assert after["created_at"] == before["created_at"]
    assert missing.definitions(lake) == {"a": more}


def test_a_taken_name_is_refused_and_nothing_changes(lake: Lake) -> None:
    stages.register(lake, definition())
    with pytest.raises(UserError, match="name 'a' is taken by an experiment with different max_length"):
        stages.register(lake, definition(max_length=11))
    assert missing.definitions(lake) == {"a": definition()}


def test_what_is_not_registered_cannot_be_planned(lake: Lake) -> None:
    for stage in (lambda: stages.plan(lake, "zzz"), lambda: stages.registered(lake, "zzz")):
        with pytest.raises(UserError, match="experiment 'zzz' has no definition; register it with"):
            stage()
    assert list(lake.partitions("runs")) == []


def test_planning_twice_keeps_the_ids(lake: Lake) -> None:
    stages.register(lake, definition(seeds=[1, -1, -1], prompts=["a", "b"]))
    stages.plan(lake, "a")
    ids = lake.sql("SELECT run_id, prompt, seed, replicate FROM runs ORDER BY ALL")
    assert ids.num_rows == 6
    stages.plan(lake, "a")
    assert lake.sql("SELECT run_id, prompt, seed, replicate FROM runs ORDER BY ALL") == ids


# --- clusters ------------------------------------------------------------------------------------------


def test_clusters_pool_experiments_and_become_stale(lake: Lake) -> None:
    fields: dict[str, Any] = {"seeds": [1, 2, 3], "max_length": 60}
    perform(lake, definition("a", **fields))
    assert [(m.key, m.count) for m in missing.left(lake, "clusters")] == [("DummyText", 1)]
    row = stages.cluster(lake, Nobody(), "DummyText")
    assert row is not None
    assert row["experiments"] == ["a"]
    assert [m.count for m in missing.left(lake, "clusters")] == [0]
    for table in ("clusterings", "clusters", "cluster_members"):
        assert all_findings(lake, RULES, table) == []
    members = lake.sql("SELECT cluster, count(*) AS size FROM cluster_members GROUP BY ALL ORDER BY ALL").to_pylist()
    sizes = lake.sql("SELECT cluster, size FROM clusters WHERE size > 0 ORDER BY ALL").to_pylist()
    assert members == sizes
    medoids = lake.sql(
        "SELECT medoid_text, output_text FROM clusters JOIN invocations ON invocation_id = medoid_invocation_id"
    ).to_pylist()
    assert all(r["medoid_text"] == r["output_text"] for r in medoids)
    perform(lake, definition("b", **{**fields, "prompts": ["else"]}))
    assert [m.count for m in missing.left(lake, "clusters")] == [1]
    assert lake.sql("SELECT experiments FROM clusterings")["experiments"].to_pylist() == [["a"]]  # Still readable.
    again = stages.cluster(lake, Nobody(), "DummyText")
    assert again is not None
    assert again["experiments"] == ["a", "b"]
    assert [m.count for m in missing.left(lake, "clusters")] == [0]
    for table in ("runs", "invocations", "embeddings"):
        for partition, _ in list(lake.partitions(table, experiment="a")):
            lake.remove(table, **partition)
    assert [m.count for m in missing.left(lake, "clusters")] == [1]


def test_clusters_redone_half_are_stale(lake: Lake) -> None:
    perform(lake, definition(seeds=[1, 2], max_length=40))
    stages.cluster(lake, Nobody(), "DummyText")
    other = lake.sql("SELECT * REPLACE ('another' AS clustering_id) FROM cluster_members")
    lake.replace("cluster_members", other, embedding_model="DummyText")  # A later clustering, killed half way.
    assert [m.count for m in missing.left(lake, "clusters")] == [1]
    assert [f.kind for f in all_findings(lake, RULES, "cluster_members")] == ["orphaned"]
    stages.cluster(lake, Nobody(), "DummyText")
    assert [m.count for m in missing.left(lake, "clusters")] == [0]
    assert all_findings(lake, RULES, "cluster_members") == []


def test_clusters_of_what_is_gone_are_stale_and_then_gone(lake: Lake) -> None:
    perform(lake, definition(seeds=[1], max_length=40))
    stages.cluster(lake, Nobody(), "DummyText")
    lake.remove("embeddings", experiment="a", embedding_model="DummyText")
    assert [(m.key, m.count) for m in missing.left(lake, "clusters")] == [("DummyText", 1)]
    assert stages.cluster(lake, Nobody(), "DummyText") is None
    assert missing.left(lake, "clusters") == []
    assert list(lake.partitions("clusterings")) == []


def test_clusters_of_the_same_number_of_other_vectors_are_stale(lake: Lake) -> None:
    perform(lake, definition(seeds=[1], max_length=40))
    stages.cluster(lake, Nobody(), "DummyText")
    for table in ("runs", "invocations", "embeddings", "persistence_bars", "persistence_summary"):
        for partition, _ in list(lake.partitions(table)):
            lake.remove(table, **partition)
    perform(lake, definition(seeds=[1], max_length=40))
    assert [m.count for m in missing.left(lake, "clusters")] == [1]
