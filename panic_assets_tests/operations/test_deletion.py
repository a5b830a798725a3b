"""Deletion cascades along the graph, spares what others need, survives interruption, and can be undone."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import duckdb
import pytest

from panic_assets.cli.performing import materialise
from panic_assets.doctor import doctor
from panic_assets.errors import UserError
from panic_assets.house import open_house
from panic_assets.lake import catalogue
from panic_assets.lake.invariants import all_findings
from panic_assets.lake.lake import Lake
from panic_assets.operations import actions, deletion, operation
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import TABLES
from panic_assets.trajectories import missing, registration
from panic_assets.trajectories.stages.similarity import similarity
from panic_assets.workloads import RULES
from panic_assets_tests.killing import interrupted
from panic_assets_tests.operations.conftest import MODELS
from panic_assets_tests.trajectories.world import Nobody, definition, trace

pytestmark = pytest.mark.slow

ASSETS = ["experiments", "invocations", "embeddings", "persistence_diagrams"]


def materialised(instance: dg.DagsterInstance, key: str) -> list[str]:
    return [a for a in ASSETS if key in instance.get_materialized_partitions(dg.AssetKey(a))]


def tables_with(lake: Lake, key: str) -> set[str]:
    """Tables that hold a row of an experiment, wherever it is stored."""
    named = [t for t in TABLES.values() if "experiment" in t.names]
    return {t.name for t in named if lake.sql(f"SELECT 1 FROM {t.name} WHERE experiment = ?", [key]).num_rows}


def assert_gone(instance: dg.DagsterInstance, lake: Lake, key: str) -> None:
    assert not instance.has_dynamic_partition("experiment", key)
    assert materialised(instance, key) == []
    assert tables_with(lake, key) == set()
    assert operation.unfinished(home()) == []


def test_everything_of_the_key_goes_and_nothing_of_others(instance: dg.DagsterInstance, lake: Lake) -> None:
    before = trace(lake, "b")
    planned = deletion.plan(open_house(instance), "experiment", "a")
    by_asset = {e.asset: e for e in planned.entries}
    assert [by_asset[a].delete for a in ASSETS] == [("a",)] * 4
    assert by_asset["clusters"].delete == ()
    assert set(by_asset["clusters"].rebuild) == set(MODELS), "clusters have another parent: rebuilt, not deleted"
    assert by_asset["invocations"].rows == lake.sql("SELECT 1 FROM invocations WHERE experiment = 'a'").num_rows
    assert tables_with(lake, "a"), "planning deletes nothing"

    deletion.run(open_house(instance), planned)

    assert_gone(instance, lake, "a")
    assert trace(lake, "b") == before
    assert materialised(instance, "b") == ASSETS
    assert {m.key for m in missing.left(lake, "clusters") if m.count} == set(MODELS), "stale, visibly"


def test_pairs_with_its_runs_go_from_other_experiments_too(instance: dg.DagsterInstance, lake: Lake) -> None:
    place = {"experiment": "b", "embedding_model": MODELS[0]}
    stored = similarity(lake, Nobody(), place, distance_runs=3, across_runs=2)
    assert stored == 3 * 2 + 4 * 2
    deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", "a"))
    assert lake.sql("SELECT * FROM diagram_distances").num_rows == 3 * 2
    assert all_findings(lake, RULES, "diagram_distances") == []


def test_the_last_parent_takes_the_clusters_with_it(instance: dg.DagsterInstance, lake: Lake) -> None:
    for key in ("a", "b"):
        deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", key))
    assert [t for t in TABLES if list(lake.partitions(t)) and t != "model_settings"] == []  # That belongs to no key.
    assert instance.get_materialized_partitions(dg.AssetKey("clusters")) == set()
    assert instance.get_dynamic_partitions("embedding_model") == [], "nothing names these models any more"
    assert doctor.examine(open_house(instance)) == []
    deletion.restore(open_house(instance), "experiment", "a")
    assert sorted(instance.get_dynamic_partitions("embedding_model")) == MODELS
    assert not [f for f in doctor.examine(open_house(instance)) if f.kind != "stale"]


def test_a_restore_brings_back_rows_key_and_records(instance: dg.DagsterInstance, lake: Lake) -> None:
    before = trace(lake, "a")
    ids = lake.sql("SELECT invocation_id FROM invocations WHERE experiment = 'a' ORDER BY 1")
    deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", "a"))
    deletion.restore(open_house(instance), "experiment", "a")
    assert trace(lake, "a") == before
    assert lake.sql("SELECT invocation_id FROM invocations WHERE experiment = 'a' ORDER BY 1") == ids
    assert instance.has_dynamic_partition("experiment", "a")
    assert materialised(instance, "a") == ASSETS
    with pytest.raises(UserError, match="cannot be restored: it was purged, restored"):
        deletion.restore(open_house(instance), "experiment", "a")


def test_a_purge_keeps_nothing(instance: dg.DagsterInstance, lake: Lake) -> None:
    folder = lake.folder("invocations", experiment="a")
    deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", "a", purge=True))
    assert_gone(instance, lake, "a")
    assert [path.name for path in folder.iterdir()] == [".lock"]
    assert not list((lake.root / ".trash").glob("*"))
    with pytest.raises(UserError, match="'a' cannot be restored: it was purged"):
        deletion.restore(open_house(instance), "experiment", "a")


def test_what_was_deleted_too_long_ago_is_forgotten(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", "a"))
    assert done.trash(home()).exists()
    monkeypatch.setenv("PANIC_TRASH_DAYS", "0")
    with pytest.raises(UserError, match="too long ago"):
        deletion.restore(open_house(instance), "experiment", "a")
    assert deletion.expire(home()) == 1
    assert not done.trash(home()).exists()


def test_a_name_that_is_taken_again_is_not_overwritten_by_a_restore(instance: dg.DagsterInstance) -> None:
    deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", "a"))
    registration.add(LakeResource(), instance, definition("a"))
    assert materialised(instance, "a") == [], "a new experiment of an old name starts afresh"
    with pytest.raises(UserError, match="exists; delete it before"):
        deletion.restore(open_house(instance), "experiment", "a")


def test_unknown_keys_are_refused_with_the_nearest(instance: dg.DagsterInstance) -> None:
    registration.add(LakeResource(), instance, definition("apples"))
    with pytest.raises(UserError, match=r"^there is no experiment 'aples'; did you mean 'apples'\?$"):
        deletion.plan(open_house(instance), "experiment", "aples")


def failing(real: Callable[..., Any], at_call: int) -> Callable[..., Any]:
    calls = iter(range(10_000))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == at_call:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    return call


STEPS = [
    (dg.DagsterInstance, "wipe_asset_partitions", 0),
    (dg.DagsterInstance, "wipe_asset_partitions", 2),
    (Lake, "retire", 0),
    (Lake, "retire", 3),
    (Lake, "take_rows", 0),
    (actions, "build", 0),
]


@pytest.mark.parametrize(("owner", "name", "at_call"), STEPS, ids=[f"{n}-{c}" for _, n, c in STEPS])
def test_an_interrupted_deletion_is_finished_when_asked_again(
    instance: dg.DagsterInstance, lake: Lake, owner: Any, name: str, at_call: int
) -> None:
    before = trace(lake, "b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, failing(getattr(owner, name), at_call))
        with pytest.raises(KeyboardInterrupt):
            deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", "a"))
    if operation.unfinished(home()):
        assert any(
            "deletion of experiment a was interrupted" in f.sentence for f in doctor.examine(open_house(instance))
        )
        deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", "a"))
    assert_gone(instance, lake, "a")
    assert trace(lake, "b") == before
    deletion.restore(open_house(instance), "experiment", "a")
    assert tables_with(lake, "a") >= {"experiments", "runs", "invocations", "embeddings", "persistence_bars"}


def test_deleting_the_key_in_dagster_cascades(instance: dg.DagsterInstance, lake: Lake) -> None:
    """What the UI's delete button calls."""
    instance.delete_dynamic_partition("experiment", "a")
    assert_gone(instance, lake, "a")
    assert materialised(instance, "b") == ASSETS
    deletion.restore(open_house(instance), "experiment", "a")
    assert "invocations" in tables_with(lake, "a")


def test_the_job_deletes_and_restores(instance: dg.DagsterInstance, lake: Lake) -> None:
    from panic_assets.definitions import defs

    def run(job: str, op: str, **config: object) -> bool:
        ops = {"ops": {op: {"config": config}}}
        job_def = defs.resolve_job_def(job)
        return job_def.execute_in_process(ops, instance=instance, raise_on_error=False).success

    assert run("delete_experiment", "delete_experiment_op", name="a", dry_run=True)
    assert "invocations" in tables_with(lake, "a")
    assert run("delete_experiment", "delete_experiment_op", name="a")
    assert_gone(instance, lake, "a")
    assert not run("delete_experiment", "delete_experiment_op", name="a")
    assert run("restore_experiment", "restore_experiment_op", name="a")
    assert instance.has_dynamic_partition("experiment", "a")


def test_two_deletions_of_two_keys_keep_each_others_rows_apart(instance: dg.DagsterInstance, lake: Lake) -> None:
    before = trace(lake, "a")
    for key in ("a", "b"):
        deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", key))
    deletion.restore(open_house(instance), "experiment", "a")
    assert trace(lake, "a") == before
    assert tables_with(lake, "b") <= {"cluster_members"}


def delete(instance: dg.DagsterInstance, key: str, purge: bool = False) -> None:
    deletion.run(open_house(instance), deletion.plan(open_house(instance), "experiment", key, purge))


def performed_again(instance: dg.DagsterInstance) -> None:
    wanted = definition("a", prompts=["x"], seeds=[1], embedding_models=MODELS)
    registration.add(LakeResource(), instance, wanted)
    materialise(instance, "perform_experiment", "a", "experiment a")


@pytest.mark.parametrize("purge", [False, True])
def test_an_interrupted_deletion_does_not_delete_what_is_made_afterwards(
    instance: dg.DagsterInstance, lake: Lake, purge: bool
) -> None:
    interrupted(lambda: delete(instance, "a", purge))
    performed_again(instance)
    made = trace(lake, "a")
    assert len(made["runs"]) == 1
    list(doctor.repair(open_house(instance), doctor.examine(open_house(instance))))
    assert trace(lake, "a") == made
    assert operation.unfinished(home()) == []
    assert not [f for f in doctor.examine(open_house(instance)) if f.kind != "stale"]


def test_an_operation_that_is_carried_on_late_leaves_what_came_since(instance: dg.DagsterInstance, lake: Lake) -> None:
    """Even where somebody went around the registration, which would have finished the deletion."""
    interrupted(lambda: delete(instance, "a"))
    [begun] = operation.unfinished(home())
    begun.file(home()).rename(home().root / "aside.json")
    delete(instance, "a")
    performed_again(instance)
    made = trace(lake, "a")
    (home().root / "aside.json").rename(begun.file(home()))
    list(operation.finish_all(operation.stores(lake, instance)))
    assert trace(lake, "a") == made


def test_nothing_works_on_a_subject_of_an_interrupted_operation(instance: dg.DagsterInstance, lake: Lake) -> None:
    interrupted(lambda: delete(instance, "a"))
    with pytest.raises(UserError, match="the deletion of experiment a was interrupted, and must be finished first"):
        materialise(instance, "perform_experiment", "a", "experiment a")
    assert materialised(instance, "a") == ASSETS


def test_an_interrupted_restore_is_carried_on_whole(instance: dg.DagsterInstance, lake: Lake) -> None:
    before = trace(lake, "a")
    delete(instance, "a")
    real = Lake.bring
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lake, "bring", failing(real, 3))
        with pytest.raises(KeyboardInterrupt):
            deletion.restore(open_house(instance), "experiment", "a")
    with pytest.raises(UserError, match="the restore of experiment a was interrupted; finish it first"):
        deletion.plan(open_house(instance), "experiment", "a")
    deletion.restore(open_house(instance), "experiment", "a")
    assert trace(lake, "a") == before
    assert materialised(instance, "a") == ASSETS


@pytest.mark.parametrize("purge", [False, True])
def test_a_catalogue_that_was_not_renewed_is_renewed_by_asking_again(
    instance: dg.DagsterInstance, lake: Lake, purge: bool
) -> None:
    """What is left of a deletion that was interrupted at its very end."""
    catalogue.build(lake, home().catalogue)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actions, "build", failing(actions.build, 0))
        with pytest.raises(KeyboardInterrupt):
            delete(instance, "a", purge)
    assert shown("a") > 0
    list(operation.finish_all(operation.stores(lake, instance)))
    assert shown("a") == 0
    if purge:
        assert len([path for path in (home().root / "catalogues").iterdir() if path.is_dir()]) == 1


def shown(key: str) -> int:
    """How many runs of an experiment analysts see."""
    with duckdb.connect(str(home().catalogue), read_only=True) as connection:
        [[count]] = connection.execute("SELECT count(*) FROM runs WHERE experiment = ?", [key]).fetchall()
    return int(count)
