"""Every kind of damage is planted, found in a sentence, and repaired to the very rows that were there before."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.definitions import SENSORS, defs
from panic_assets.doctor import doctor
from panic_assets.house import open_house
from panic_assets.ids import uuid7
from panic_assets.lake import manifest as manifests
from panic_assets.lake.invariants import Finding
from panic_assets.lake.lake import Lake
from panic_assets.operations import journal
from panic_assets.settings import home
from panic_assets.tables import TABLES, open_lake
from panic_assets.trajectories import stages
from panic_assets_tests.killing import interrupted
from panic_assets_tests.trajectories.world import Nobody, trace

pytestmark = pytest.mark.slow

(ORPHANS,) = (sensor for sensor in SENSORS if sensor.name == "orphans")
A = {"experiment": "a"}
A_TEXT = {"experiment": "a", "embedding_model": "DummyText"}


def cure(lake: Lake, instance: dg.DagsterInstance, found: list[Finding]) -> list[str]:
    """What `panic doctor --fix` does, without a Dagster run around each stage."""
    done = list(doctor.repair(open_house(instance), found))
    for job, partition in doctor.recompute(lake):
        if job == "recompute_clusters":
            stages.cluster(lake, Nobody(), partition)
        else:
            stages.plan(lake, partition)
            for stage in (stages.walk, stages.embed, stages.diagrams):
                stage(lake, InProcessCompute(), Nobody(), lambda: None, partition)
    return done


def rows(lake: Lake, table: str, **where: str) -> pa.Table:
    return lake.sql(f"SELECT * FROM {table}", **where).select(TABLES[table].names).cast(TABLES[table].arrow)


def put(data: pa.Table, column: str, at: int, value: object) -> pa.Table:
    """`data` with one value replaced."""
    field = data.schema.field(column)
    values = data[column].to_pylist()
    values[at] = value
    index = data.schema.get_field_index(column)
    return data.set_column(index, field, pa.array(values, field.type))


def duplicate_vectors(lake: Lake) -> None:
    data = rows(lake, "embeddings", **A_TEXT)
    lake.replace("embeddings", pa.concat_tables([data, data.slice(3, 2)]), **A_TEXT)


def nan_vector(lake: Lake) -> None:
    data = rows(lake, "embeddings", **A_TEXT)
    vector = data["vector"][2].as_py()
    lake.replace("embeddings", put(data, "vector", 2, [np.nan, *vector[1:]]), **A_TEXT)


def short_vector(lake: Lake) -> None:
    data = rows(lake, "embeddings", **A_TEXT)
    lake.replace("embeddings", put(data, "vector", 4, [1.0, 0.0]), **A_TEXT)


def orphaned_vector(lake: Lake) -> None:
    data = rows(lake, "embeddings", **A_TEXT)
    stray = put(data.slice(0, 1), "invocation_id", 0, uuid7())
    lake.replace("embeddings", pa.concat_tables([data, stray]), **A_TEXT)


def missing_vectors(lake: Lake) -> None:
    lake.replace("embeddings", rows(lake, "embeddings", **A_TEXT).slice(5), **A_TEXT)


def gap_in_a_run(lake: Lake) -> None:
    data = rows(lake, "invocations", **A)
    run = data["run_id"][0].as_py()
    hole = pc.and_(pc.equal(data["run_id"], run), pc.equal(data["sequence_number"], 4))
    lake.replace("invocations", data.filter(pc.invert(hole)), **A)


def step_stored_twice(lake: Lake) -> None:
    data = rows(lake, "invocations", **A)
    again = put(data.slice(7, 1), "invocation_id", 0, uuid7())
    lake.replace("invocations", pa.concat_tables([data, again]), **A)


def other_input(lake: Lake) -> None:
    data = rows(lake, "invocations", **A)
    at = data["sequence_number"].to_pylist().index(3)
    lake.replace("invocations", put(data, "input_hash", at, "0" * 64), **A)


def output_of_no_type(lake: Lake) -> None:
    data = rows(lake, "invocations", **A)
    at = data["type"].to_pylist().index("text")
    lake.replace("invocations", put(data, "output_text", at, None), **A)


def run_said_to_loop(lake: Lake) -> None:
    data = rows(lake, "runs", **A)
    lake.replace("runs", put(put(data, "stop_reason", 0, "loop"), "loop_length", 0, 2), **A)


def bars_lost(lake: Lake) -> None:
    lake.replace("persistence_bars", rows(lake, "persistence_bars", **A_TEXT).slice(6), **A_TEXT)


def diagram_twice(lake: Lake) -> None:
    for table in ("persistence_bars", "persistence_summary"):
        data = rows(lake, table, **A_TEXT)
        run = data["run_id"][0].as_py()
        lake.replace(table, pa.concat_tables([data, data.filter(pc.equal(data["run_id"], run))]), **A_TEXT)


def file_gone(lake: Lake) -> None:
    lake.files("embeddings", **A_TEXT)[0].unlink()


def file_cut_short(lake: Lake) -> None:
    path = lake.files("invocations", **A)[0]
    os.truncate(path, path.stat().st_size // 2)


def file_of_other_types(lake: Lake) -> None:
    path = lake.files("persistence_summary", **A_TEXT)[0]
    data = pq.read_table(path)
    wrong = data.set_column(data.schema.get_field_index("entropy"), "entropy", data["entropy"].cast(pa.string()))
    pq.write_table(wrong, path)
    folder = lake.folder("persistence_summary", **A_TEXT)
    now = manifests.read(folder)
    assert now is not None
    manifests.write(folder, replace(now, files=(replace(now.files[0], bytes=path.stat().st_size),)))


def file_left_behind(lake: Lake) -> None:
    path = lake.folder("invocations", **A) / "0123456789abcdef.tmp"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - 7200,) * 2)


def medoid_of_another_cluster(lake: Lake) -> None:
    where = {"embedding_model": "DummyText"}
    data = rows(lake, "clusters", **where)
    stray = put(data.slice(0, 1), "cluster", 0, 77)
    stray = put(stray, "medoid_invocation_id", 0, rows(lake, "cluster_members", **where)["invocation_id"][0].as_py())
    lake.replace("clusters", pa.concat_tables([data, stray]), **where)


DAMAGE: dict[Callable[[Lake], None], tuple[str, str]] = {
    duplicate_vectors: ("duplicate", "2 rows of embeddings repeat the key"),
    nan_vector: ("invalid", "1 rows of embeddings have a forbidden value in vector"),
    short_vector: ("invalid", "1 rows of embeddings have a forbidden value in vector"),
    orphaned_vector: ("orphaned", "1 rows of embeddings refer to values of invocation_id that are not in invocations"),
    missing_vectors: ("missing", "experiment a lacks 5 of 30 vectors of DummyText"),
    gap_in_a_run: ("gap", "1 runs whose stored invocations are not numbered"),
    step_stored_twice: ("duplicate", "stored more than once"),
    other_input: ("invalid", "whose input is not the previous output"),
    output_of_no_type: ("invalid", "invocations whose output is missing, or is of another type"),
    run_said_to_loop: ("invalid", "1 runs that stopped with a loop"),
    bars_lost: ("half-written", "diagrams that have more or fewer stored bars"),
    diagram_twice: ("duplicate", "rows of persistence_summary repeat the key"),
    file_gone: ("half-written", "is missing"),
    file_cut_short: ("half-written", "bytes instead of"),
    file_of_other_types: ("mistyped", "entropy is string instead of double"),
    file_left_behind: ("half-written", "1 files of invocations (a) were left behind by an interrupted write"),
    medoid_of_another_cluster: ("invalid", "clusters whose medoid is not one of their members"),
}


@pytest.fixture(scope="module")
def before(template: Path) -> dict[str, dict[str, list[tuple[Any, ...]]]]:
    """What every repair must come back to."""
    return {name: trace(open_lake(template / "lake"), name) for name in ("a", "b")}


def test_nothing_is_found_where_nothing_is_wrong(instance: dg.DagsterInstance, lake: Lake) -> None:
    assert doctor.examine(open_house(instance)) == []


@pytest.mark.parametrize("plant", DAMAGE, ids=lambda plant: plant.__name__)
def test_damage_is_found_and_repaired(
    instance: dg.DagsterInstance,
    lake: Lake,
    before: dict[str, dict[str, list[tuple[Any, ...]]]],
    plant: Callable[[Lake], None],
) -> None:
    plant(lake)
    kind, words = DAMAGE[plant]
    found = doctor.examine(open_house(instance))
    assert any(f.kind == kind and words in f.sentence for f in found), [str(f) for f in found]

    cure(lake, instance, found)

    assert [str(f) for f in doctor.examine(open_house(instance))] == []
    assert {name: trace(lake, name) for name in ("a", "b")} == before


def test_a_key_without_definition_goes(instance: dg.DagsterInstance, lake: Lake) -> None:
    instance.add_dynamic_partitions("experiment", ["ghost"])
    found = doctor.examine(open_house(instance))
    assert [str(f) for f in found] == ["orphaned: Dagster has the key ghost, but there is no experiment ghost"]
    cure(lake, instance, found)
    assert not instance.has_dynamic_partition("experiment", "ghost")
    assert doctor.examine(open_house(instance)) == []


def test_rows_without_a_key_get_it_back_when_they_are_a_whole_experiment(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    from panic_assets.instance.hook import without_hook

    before = trace(lake, "a")
    with without_hook():
        instance.delete_dynamic_partition("experiment", "a")
    found = doctor.examine(open_house(instance))
    assert "orphaned: experiment a has rows, but Dagster has no key for it" in [str(f) for f in found]
    cure(lake, instance, found)
    assert instance.has_dynamic_partition("experiment", "a")
    assert trace(lake, "a") == before


def test_rows_of_no_experiment_are_removed_and_can_be_restored(instance: dg.DagsterInstance, lake: Lake) -> None:
    from panic_assets.instance.hook import without_hook

    with without_hook():
        instance.delete_dynamic_partition("experiment", "a")
    lake.remove("experiments", **A)
    cure(lake, instance, doctor.examine(open_house(instance)))
    assert lake.manifest("invocations", **A) is None
    assert doctor.examine(open_house(instance)) == []
    assert [d.key for d in journal.read(home()) if d.trash(home()).exists()] == ["a"]


def test_an_experiment_somebody_works_on_is_not_called_incomplete(instance: dg.DagsterInstance, lake: Lake) -> None:
    missing_vectors(lake)
    with lake.lease("experiment a"):
        assert not [f for f in doctor.examine(open_house(instance)) if f.kind == "missing"]
    assert [f for f in doctor.examine(open_house(instance)) if f.kind == "missing"]


def test_the_orphan_sensor_reports_and_repairs_only_when_allowed(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from panic_assets.resources import LakeResource

    def tick(cursor: str | None = None) -> dg.SensorResult:
        context = dg.build_sensor_context(instance, cursor=cursor, resources={"lake": LakeResource()}, definitions=defs)
        result: Any = ORPHANS(context)
        assert isinstance(result, dg.SensorResult)
        return result

    healthy = tick()
    assert [(e.asset_key.to_user_string(), e.partition, e.passed) for e in healthy.asset_events] == [
        ("experiments", None, True), ("clusters", "DummyText", True), ("clusters", "RandomWalk", True)
    ]  # fmt: skip
    missing_vectors(lake)
    first = tick(healthy.cursor)
    assert first.asset_events[0].passed is False
    assert "experiment a lacks 5 of 30 vectors" in str(first.asset_events[0].description)
    assert not first.run_requests, "advice is not action"
    assert not tick(first.cursor).asset_events, "the same finding is reported once"
    monkeypatch.setenv("PANIC_REPAIR", "1")
    asked = tick(first.cursor).run_requests or []
    assert [(r.job_name, r.partition_key) for r in asked] == [("perform_experiment", "a")]
    nan_vector(lake)
    asked = tick(first.cursor).run_requests or []
    assert [r.job_name for r in asked] == ["repair"]


def test_the_sensor_finishes_an_interrupted_deletion(instance: dg.DagsterInstance, lake: Lake) -> None:
    from panic_assets.operations import deletion
    from panic_assets.resources import LakeResource

    house = open_house(instance)
    interrupted(lambda: deletion.run(house, deletion.plan(house, "experiment", "a")))
    ORPHANS(dg.build_sensor_context(instance, resources={"lake": LakeResource()}, definitions=defs))
    assert lake.manifest("invocations", **A) is None
    assert not instance.has_dynamic_partition("experiment", "a")
