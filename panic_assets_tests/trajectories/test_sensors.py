"""Experiments enter by file, by launchpad or not at all; stale clusters are asked for at night."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from panic_assets.definitions import SENSORS
from panic_assets.resources import LakeResource
from panic_assets.trajectories import jobs, missing, stages
from panic_assets_tests.trajectories.world import Nobody, definition, perform

FIELDS: dict[str, Any] = {
    "networks": [["DummyT2I", "DummyI2T"]],
    "prompts": ["a"],
    "seeds": [1],
    "embedding_models": ["DummyText"],
    "max_length": 4,
}


(DROPS,) = (sensor for sensor in SENSORS if sensor.name == "dropped_files")


class Daemon:
    """Ticks the sensor as the daemon does: the cursor outlives it."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.folder = root / "experiments"
        self.folder.mkdir()
        self.instance = instance
        self.cursor: str | None = None

    def drop(self, file: str, **fields: Any) -> None:
        (self.folder / file).write_text(json.dumps({**FIELDS, **fields}))

    def tick(self) -> tuple[list[str], str | None]:
        """(partitions a run is requested for, why none)."""
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"lake": LakeResource()}
        ) as context:
            result: Any = DROPS(context)
            if isinstance(result, dg.SkipReason):
                self.cursor = context.cursor
                return [], result.skip_message
            assert isinstance(result, dg.SensorResult)
            self.cursor = result.cursor
            return [str(r.partition_key) for r in result.run_requests or []], None

    @property
    def keys(self) -> list[str]:
        return sorted(self.instance.get_dynamic_partitions("experiment"))


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PANIC_EXPERIMENTS", str(tmp_path / "experiments"))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(tmp_path, instance)


def test_no_folder_or_no_file_is_no_trouble(daemon: Daemon) -> None:
    assert daemon.tick()[0] == []
    daemon.folder.rmdir()
    requested, why = daemon.tick()
    assert requested == []
    assert "no new file in" in str(why)


def test_a_dropped_file_is_registered_and_run_once(daemon: Daemon) -> None:
    daemon.drop("one.json")
    daemon.drop("two.yaml", name="given")
    (daemon.folder / "notes.txt").write_text("not an experiment")
    assert daemon.tick() == (["one", "given"], None)
    assert daemon.keys == ["given", "one"]
    assert set(missing.definitions(LakeResource().lake)) == {"given", "one"}
    assert daemon.tick()[0] == []
    restarted = daemon.cursor
    daemon.cursor = restarted  # The daemon restarts: all it knows is the cursor.
    assert daemon.tick()[0] == []


def test_a_refused_file_says_why_until_it_is_changed_or_gone(daemon: Daemon) -> None:
    daemon.drop("bad.json", max_length=0)
    daemon.drop("good.json")
    assert daemon.tick() == (["good"], None)
    assert daemon.keys == ["good"]
    daemon.drop("worse.json", prompts=[])
    requested, why = daemon.tick()
    assert requested == []
    assert "worse.json is refused: prompts is []; it must be a list of texts" in str(why)
    assert "bad.json is refused: max_length is 0" in str(why), "still, at every tick"
    daemon.drop("bad.json", max_length=3)
    assert daemon.tick() == (["bad"], None)
    assert "bad.json" not in str(daemon.tick()[1])
    assert daemon.keys == ["bad", "good"]


def test_a_file_that_is_still_being_copied_is_tried_again(daemon: Daemon) -> None:
    whole = json.dumps(FIELDS)
    path = daemon.folder / "large.json"
    path.write_text(whole[: len(whole) // 2])
    assert "large.json is not valid JSON" in str(daemon.tick()[1])
    path.write_text(whole)
    assert daemon.tick() == (["large"], None)


def test_a_taken_name_is_refused_and_more_models_are_taken(daemon: Daemon) -> None:
    daemon.drop("one.json")
    daemon.tick()
    perform(LakeResource().lake, definition("one", **FIELDS, image_size=None))
    daemon.drop("one.json", max_length=9)
    requested, why = daemon.tick()
    assert requested == []
    assert "name 'one' is taken by an experiment with different max_length" in str(why)
    daemon.drop("one.json")
    assert daemon.tick()[0] == []  # As it stands, and nothing is missing.
    daemon.drop("one.json", embedding_models=["DummyVision"])
    assert daemon.tick() == (["one"], None)
    assert missing.definitions(LakeResource().lake)["one"].embedding_models == ("DummyText", "DummyVision")


def test_a_tick_that_died_half_way_is_made_good(daemon: Daemon) -> None:
    daemon.drop("one.json")
    stages.register(LakeResource().lake, definition("one", **FIELDS, image_size=None))  # And then it died.
    assert daemon.tick() == (["one"], None)
    daemon.cursor = None  # Or it died before the cursor was stored.
    assert daemon.tick() == (["one"], None)
    assert daemon.keys == ["one"]


# --- launchpad -----------------------------------------------------------------------------------------------


def launch(instance: dg.DagsterInstance, **fields: Any) -> dg.ExecuteInProcessResult:
    return jobs.register_experiment.execute_in_process(
        run_config={"ops": {"register": {"config": {"name": "typed", **FIELDS, **fields}}}},
        resources={"lake": LakeResource()},
        instance=instance,
        raise_on_error=False,
    )


def test_the_launchpad_registers_plans_and_records(daemon: Daemon) -> None:
    for _ in range(2):
        result = launch(daemon.instance)
        assert result.success
    assert daemon.keys == ["typed"]
    assert LakeResource().lake.sql("SELECT count(*) AS n FROM runs")["n"].to_pylist() == [1]
    assert daemon.instance.get_materialized_partitions(dg.AssetKey("experiments")) == {"typed"}
    for table in ("experiments", "runs"):
        check = dg.AssetCheckKey(dg.AssetKey("experiments"), f"{table}_valid")
        (stored,) = daemon.instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
        assert (stored.status.value, stored.partition) == ("SUCCEEDED", "typed")


def test_the_launchpad_refuses_in_a_sentence_and_registers_nothing(daemon: Daemon) -> None:
    result = launch(daemon.instance, embedding_models=["DummyTxt"])
    assert not result.success
    (event,) = [e for e in result.all_events if e.is_step_failure]
    assert event.step_failure_data.error is not None
    assert (
        "embedding_models names 'DummyTxt', which is not an embedding model in the registry"
        in event.step_failure_data.error.message
    )
    assert daemon.keys == []
    assert missing.definitions(LakeResource().lake) == {}


def test_stale_clusters_are_asked_for_at_night(daemon: Daemon) -> None:
    lake = LakeResource().lake

    def asked() -> list[str]:
        context = dg.build_schedule_context(
            instance=daemon.instance, scheduled_execution_time=datetime(2026, 1, 2, 3, tzinfo=UTC)
        )
        found: Any = jobs.nightly_clusters(context, lake=LakeResource())
        return [str(request.partition_key) for request in found]

    assert asked() == []
    perform(lake, definition(seeds=[1, 2], max_length=30))
    assert asked() == ["DummyText"]
    (never_made,) = missing.left(lake, "clusters")
    assert (never_made.stale, never_made.on_request) == (False, True), "nobody asked for them: nothing warns of them"
    stages.cluster(lake, Nobody(), "DummyText")
    assert asked() == []
    (made,) = missing.left(lake, "clusters")
    assert (made.stale, made.on_request) == (True, False)
