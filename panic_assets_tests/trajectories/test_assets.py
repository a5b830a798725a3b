"""The stages as assets: really materialised, asked for once by automation, refused and retried as they should."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.definitions.declarative_automation.automation_condition_evaluator import AutomationConditionEvaluator

from panic_assets import steps
from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.protocol import Function, Needs, Resume
from panic_assets.errors import UserError
from panic_assets.resources import RESOURCES, LakeResource
from panic_assets.trajectories import assets, registration
from panic_assets.trajectories.runs.embed import embed
from panic_assets.trajectories.topology.homology import homology
from panic_assets_tests.trajectories.world import definition

pytestmark = pytest.mark.slow

STAGES = (assets.experiments, assets.invocations, assets.embeddings, assets.persistence_diagrams)


class Refusing(InProcessCompute):
    """A compute that can place nothing."""

    def width(self, needs: Needs) -> int:
        raise UserError("no worker fits these needs")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def resources(compute: Any = None) -> dict[str, Any]:
    return {**RESOURCES, "compute": dg.ResourceDefinition.hardcoded_resource(compute or InProcessCompute())}


def materialize(
    instance: dg.DagsterInstance, chosen: Sequence[dg.AssetsDefinition], key: str, compute: Any = None
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*STAGES, assets.clusters],
        selection=list(chosen),
        partition_key=key,
        instance=instance,
        raise_on_error=False,
        resources=resources(compute),
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {k: v.value for k, v in event.materialization.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step said."""
    (event,) = [e for e in result.all_events if e.is_step_failure]
    assert event.step_failure_data.error is not None
    return event.step_failure_data.error.message


def test_each_stage_says_what_it_made(instance: dg.DagsterInstance) -> None:
    lake = LakeResource()
    registration.add(lake, instance, definition(seeds=[-1, -1, -1], max_length=12))
    said = {asset.key.to_user_string(): metadata(materialize(instance, [asset], "a")) for asset in STAGES}
    assert (said["experiments"]["dagster/row_count"], said["experiments"]["runs rows"]) == (1, 3)
    assert (said["invocations"]["new rows"], said["invocations"]["dagster/row_count"]) == (36, 36)
    assert said["embeddings"]["dagster/row_count"] == 18
    assert said["persistence_diagrams"]["dagster/row_count"] == 6
    assert 0 < said["persistence_diagrams"]["mean entropy of H0"] < 10
    for name in ("invocations", "embeddings", "persistence_diagrams"):
        assert said[name]["seconds"] >= 0
        assert said[name]["preview"].startswith("| ")
        assert "problems" not in said[name]
    assert said["invocations"]["pictures"].startswith("![last pictures of runs](data:image/jpeg;base64,")
    assert len(said["invocations"]["pictures"]) < 50_000
    assert 0 <= said["invocations"]["idle share"] <= 1
    assert "| 3 runs of DummyT2I-DummyI2T in experiment a | " in said["invocations"]["batches"]
    with duckdb.connect(str(lake.home.catalogue), read_only=True) as connection:  # Analysts see it at once.
        assert connection.sql("SELECT count(*) FROM embeddings").fetchall() == [(18,)]
    again = metadata(materialize(instance, [assets.invocations], "a"))
    assert (again["new rows"], again["dagster/row_count"]) == (0, 36)
    assert "idle share" not in again
    pooled = metadata(materialize(instance, [assets.clusters], "DummyText"))
    assert (pooled["vectors"], pooled["experiments"]) == (18, ["a"])


def test_what_is_not_registered_is_refused_in_a_sentence_and_once(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("experiment", ["nobody"])
    result = materialize(instance, [assets.invocations], "nobody")
    assert not result.success
    assert "experiment 'nobody' has no definition; register it with" in failure(result)
    assert not [e for e in result.all_events if e.is_step_restarted or e.is_step_up_for_retry]
    with LakeResource().lake.lease("experiment nobody"):  # And it is free again.
        assert LakeResource().home.catalogue.exists()


def test_blank_captions_are_stored_counted_and_walked_on_from(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panic_assets.models.dummies.DummyCaptioner._caption", lambda *_: "")
    registration.add(LakeResource(), instance, definition(seeds=[-1], max_length=5))
    assert metadata(materialize(instance, [assets.invocations], "a"))["blank captions"] == 2
    rows = LakeResource().lake.sql("SELECT output_text, blank FROM invocations ORDER BY sequence_number").to_pylist()
    assert [(row["output_text"], row["blank"]) for row in rows] == [(None, False), ("", True)] * 2 + [(None, False)]


def test_weights_that_are_missing_are_said_before_the_first_run_starts(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever launched it; of the embedders too, and without trying again."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    registration.add(LakeResource(), instance, definition(embedding_models=["DINOv2"], max_length=2))
    result = materialize(instance, [assets.invocations], "a")
    said = failure(result)
    assert "model DINOv2 needs the weights of facebook/dinov2-base, which are not in the Hugging Face cache" in said
    assert "set HF_HOME to that cache, or point PANIC_MODEL_PATHS at a folder that holds them" in said
    assert not [e for e in result.all_events if e.is_step_up_for_retry]
    assert LakeResource().lake.manifest("invocations", experiment="a") is None


@pytest.mark.parametrize(("held", "success"), [(1, True), (9, False)])
def test_somebody_else_at_work_is_waited_for_and_asked_again(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, held: int, success: bool
) -> None:
    """The other one works for `held` of our tries: then it is our turn, or we say who it is."""
    monkeypatch.setattr(steps, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(steps, "BACKOFF_SECONDS", 0.01)
    registration.add(LakeResource(), instance, definition(max_length=2))
    other = LakeResource().lake.lease("experiment a")
    other.__enter__()
    tries = 0

    def again(context: dg.AssetExecutionContext) -> dg.RetryRequested:
        nonlocal tries
        tries += 1
        if tries == held:
            other.__exit__(None, None, None)
        return dg.RetryRequested(steps.RETRIES, 0.01)

    monkeypatch.setattr(steps, "_again", again)
    result = materialize(instance, [assets.experiments], "a")
    assert result.success == success
    if not success:
        other.__exit__(None, None, None)
        assert tries == steps.RETRIES
        assert "experiment a is being worked on by process" in failure(result)


# --- automation -------------------------------------------------------------------------------------------

FOLLOWERS = (assets.invocations, assets.embeddings, assets.persistence_diagrams)
CHAIN = {asset.key.to_user_string(): {"a"} for asset in FOLLOWERS}


class NoEmbedding(InProcessCompute):
    """A compute that breaks in the middle of the chain."""

    def stream(
        self, function: Function, tasks: Sequence[Any], needs: Needs, resume: Resume | None = None
    ) -> Iterator[tuple[int, Any]]:
        if function is embed:
            raise UserError("no embedder fits")
        return super().stream(function, tasks, needs, resume)


class Daemon:
    """Evaluates the automation conditions, tick by tick, as the daemon does."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: Any = None
        self.defs = dg.Definitions(assets=[*STAGES, assets.clusters], resources=resources())
        for name in ("a", "b"):
            self.register(name)
        assert self.tick() == {}

    def register(self, name: str, **fields: Any) -> None:
        wanted = definition(name, **{"seeds": [-1], "max_length": 4, **fields})
        registration.add(LakeResource(), self.instance, wanted)

    def tick(self) -> dict[str, set[str]]:
        """What is requested now: asset -> partitions."""
        result = dg.evaluate_automation_conditions(defs=self.defs, instance=self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        names = [asset.key.to_user_string() for asset in (*STAGES, assets.clusters)]
        asked = {name: result.get_requested_partitions(dg.AssetKey(name)) for name in names}
        return {name: {str(key) for key in keys} for name, keys in asked.items() if keys}

    def quiet(self) -> bool:
        """Nothing is asked for, however often one looks."""
        return [self.tick() for _ in range(3)] == [{}, {}, {}]

    def make(self, *chosen: dg.AssetsDefinition, key: str = "a", compute: Any = None) -> bool:
        """One run of these assets; whether it succeeded."""
        return materialize(self.instance, chosen, key, compute).success


def vectors() -> dict[str, int]:
    rows = LakeResource().lake.sql("SELECT experiment, count(*) AS n FROM embeddings GROUP BY ALL").to_pylist()
    return {row["experiment"]: row["n"] for row in rows}


def test_all_that_follows_is_asked_for_once_and_for_its_partition_only(instance: dg.DagsterInstance) -> None:
    daemon = Daemon(instance)
    assert daemon.make(assets.experiments)
    assert daemon.tick() == CHAIN
    assert daemon.quiet()
    assert daemon.make(*FOLLOWERS)
    assert daemon.quiet()
    assert vectors() == {"a": 2}


def test_what_was_made_by_hand_is_followed_too(instance: dg.DagsterInstance) -> None:
    daemon = Daemon(instance)
    assert daemon.make(assets.experiments, assets.invocations)
    asked = daemon.tick()
    assert {name: asked[name] for name in ("embeddings", "persistence_diagrams")} == {
        name: {"a"} for name in ("embeddings", "persistence_diagrams")
    }
    assert daemon.make(*FOLLOWERS)
    assert daemon.quiet()


@pytest.mark.slow
@pytest.mark.parametrize(("compute", "reason"), [(Refusing, "no worker fits"), (NoEmbedding, "no embedder fits")])
def test_a_failure_is_not_asked_for_again_until_something_changes(
    instance: dg.DagsterInstance, compute: type[InProcessCompute], reason: str
) -> None:
    daemon = Daemon(instance)
    assert daemon.make(assets.experiments)
    assert daemon.tick() == CHAIN
    assert daemon.quiet()  # The run is only starting: what happens in it is news to a later tick.
    result = materialize(instance, FOLLOWERS, "a", compute())
    assert not result.success
    assert reason in failure(result)
    assert daemon.quiet()
    assert daemon.make(assets.experiments)
    assert daemon.tick() == CHAIN
    assert daemon.quiet()
    assert daemon.make(*FOLLOWERS)
    assert daemon.quiet()
    assert vectors() == {"a": 2}


@pytest.mark.slow
def test_a_model_named_later_runs_down_the_chain_once(instance: dg.DagsterInstance) -> None:
    daemon = Daemon(instance)
    assert daemon.make(*STAGES)
    assert daemon.quiet()
    daemon.register("a", embedding_models=["DummyVision"])
    assert daemon.make(assets.experiments)
    assert daemon.tick() == CHAIN
    assert daemon.quiet()
    assert daemon.make(*FOLLOWERS)
    assert daemon.quiet()
    assert vectors() == {"a": 4}


@pytest.mark.slow
def test_what_ends_while_the_daemon_looks_is_not_asked_for_again(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick reads what was made first and what is in progress later: what ends in between was made by neither."""
    daemon = Daemon(instance)
    assert daemon.make(assets.experiments)
    assert daemon.tick() == CHAIN
    assert daemon.quiet()
    read, ended, asked = threading.Event(), threading.Event(), []
    prefetch = AutomationConditionEvaluator.prefetch

    def slowly(evaluator: AutomationConditionEvaluator) -> None:
        prefetch(evaluator)
        read.set()
        assert ended.wait(60)

    class Looking(InProcessCompute):
        """The daemon looks once in the middle of the last stage, and a second time until the run has ended."""

        def stream(
            self, function: Function, tasks: Sequence[Any], needs: Needs, resume: Resume | None = None
        ) -> Iterator[tuple[int, Any]]:
            if function is homology and not read.is_set():
                asked.append(daemon.tick())
                monkeypatch.setattr(AutomationConditionEvaluator, "prefetch", slowly)
                looking.start()
                assert read.wait(300)
            return super().stream(function, tasks, needs, resume)

    looking = threading.Thread(target=lambda: asked.append(daemon.tick()))
    assert daemon.make(*FOLLOWERS, compute=Looking())
    ended.set()
    looking.join(300)
    monkeypatch.setattr(AutomationConditionEvaluator, "prefetch", prefetch)
    assert asked == [{}, {}]
    assert daemon.quiet()


def test_clusters_are_never_asked_for(instance: dg.DagsterInstance) -> None:
    assert assets.clusters.automation_conditions_by_key == {}
