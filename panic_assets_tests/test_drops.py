"""Files dropped into the watched folder: each is taken up by its own kind, and what cannot be read stops no other."""

import json
import os
import shutil
from pathlib import Path

import dagster as dg
import pytest

from panic_assets.definitions import JOBS
from panic_assets.drops import kind_of, sensor
from panic_assets.instance.home import open_instance
from panic_assets.problems import open_problems
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.training import runs
from panic_assets.workloads import WORKLOADS

DROPS = [drop for workload in WORKLOADS for drop in workload.drops]
dropped_files = sensor(DROPS, JOBS)

GROKKING = "primes: 7\nseeds: 3\ndata_seeds: 4\nepochs: 10\n"
FINETUNE = "base: Synthetic\nfolder: ckpt\nepochs: 5\n"
EXPERIMENT = """
networks: [[DummyT2I, DummyI2T]]
prompts: [a, b]
seeds: [1]
max_length: 4
embedding_models: [DummyText]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The watched folder of a fresh home, with one good file of every kind."""
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    watched = tmp_path / "experiments"
    watched.mkdir()
    monkeypatch.setenv("PANIC_EXPERIMENTS", str(watched))
    (watched / "small.grokking").write_text(GROKKING)
    (watched / "faces.finetune.yaml").write_text(FINETUNE)
    (watched / "walks.yaml").write_text(EXPERIMENT)
    return watched


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[tuple[str, str]], dict, str]:
    """What one look asks for, what it refuses, and what it remembers."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": LakeResource()})
    found = dropped_files(context)
    after = context.cursor if isinstance(found, dg.SkipReason) else found.cursor
    asked = [] if isinstance(found, dg.SkipReason) else found.run_requests
    return [(r.job_name, r.partition_key) for r in asked], json.loads(after)["refused"], after


def keys(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    return {name: instance.get_dynamic_partitions(name) for name in ("experiment", "grokking_run", "finetune_run")}


TAKEN = {"experiment": ["walks"], "grokking_run": ["small-p7-s3-d4"], "finetune_run": ["faces"]}


def test_each_file_is_taken_up_by_its_own_kind_only(folder: Path) -> None:
    with open_instance(home()) as instance:
        asked, refused, cursor = tick(instance)
        assert refused == {}
        assert sorted(asked) == [("plan_experiment", "walks"), ("train_grokking", "small-p7-s3-d4")]
        assert keys(instance) == TAKEN
        assert tick(instance, cursor)[:2] == ([], {})
    lake = open_lake(home().lake)
    assert [p["experiment"] for p, _ in lake.partitions("experiments")] == ["walks"]
    assert {row["training_run"]: row["family"] for row in runs.every(lake)} == {
        "small-p7-s3-d4": "grokking",
        "faces": "finetune",
    }


def test_what_cannot_be_read_is_named_and_stops_no_other(folder: Path) -> None:
    for name in ("a.grokking", "a.finetune.yaml", "a.yaml"):
        (folder / name).mkdir()
    (folder / "b.finetune.yaml").symlink_to("b.finetune.yaml")  # Nobody can read it, not even root.
    (folder / "c.grokking").symlink_to("nowhere")
    (folder / "d.finetune.yaml").write_bytes(b"\xff\xfe\x00base")
    (folder / "e.grokking").write_text("primes: [")
    (folder / "notes.txt").write_text("not for us")
    with open_instance(home()) as instance:
        asked, refused, cursor = tick(instance)
        assert sorted(asked) == [("plan_experiment", "walks"), ("train_grokking", "small-p7-s3-d4")]
        assert keys(instance) == TAKEN
        for name in ("a.grokking", "a.finetune.yaml", "a.yaml"):
            assert refused.pop(name) == "it is a folder; only a file of this name can be registered"
        assert refused.pop("b.finetune.yaml").startswith("it cannot be read: ")
        assert refused.pop("c.grokking") == "it is a link to a file that is not there"
        assert set(refused) == {"d.finetune.yaml", "e.grokking"}

        # What was refused is said until it is gone, and a new file is taken up beside it.
        (folder / "more.grokking").write_text(GROKKING)
        asked, still, cursor = tick(instance, cursor)
        assert (asked, set(still) > set(refused)) == ([("train_grokking", "more-p7-s3-d4")], True)
        shutil.rmtree(folder / "a.grokking")
        (folder / "a.grokking").write_text(GROKKING)
        asked, still, _ = tick(instance, cursor)
        assert (asked, "a.grokking" in still) == ([("train_grokking", "a-p7-s3-d4")], False)


def test_what_is_refused_is_an_open_problem_until_it_is_gone(folder: Path) -> None:
    """Each of these raised something else than a UserError, or never came to an end."""
    spoilt = {
        "date.yaml": "seeds: [2026-13-45]",
        "digits.grokking": f"primes: {'9' * 5000}",
        "tag.finetune.yaml": 'epochs: !!int "abc"',
        "deep.yaml": "prompts: " + "[" * 100_000,
        "aliases.grokking": "primes: [&a [x, x, x, x], &b [*a, *a, *a, *a], &c [*b, *b, *b, *b], *c]",
    }
    for name, text in spoilt.items():
        (folder / name).write_text(text)
    os.mkfifo(folder / "pipe.yaml")
    with open_instance(home()) as instance:
        asked, refused, cursor = tick(instance)
        assert sorted(asked) == [("plan_experiment", "walks"), ("train_grokking", "small-p7-s3-d4")]
        assert set(refused) == {*spoilt, "pipe.yaml"}
        lake = open_lake(home().lake)
        rows = {Path(row["item"]).name: row for row in open_problems(lake, source="dropped_files")}
        assert set(rows) == set(refused)
        assert all(len(row["problem"]) < 600 for row in rows.values())
        written = lake.manifest("problems", source="dropped_files")
        for again in (cursor, None):  # Nothing changed: nothing is written, and the time stays.
            assert tick(instance, again)[1] == refused
        assert lake.manifest("problems", source="dropped_files") == written

        (folder / "date.yaml").unlink()
        (folder / "tag.finetune.yaml").write_text("epochs: many")
        tick(instance, cursor)
        after = {Path(row["item"]).name: row for row in open_problems(lake, source="dropped_files")}
        assert set(after) == set(rows) - {"date.yaml"}
        assert after["deep.yaml"] == rows["deep.yaml"]
        assert after["tag.finetune.yaml"]["since"] > rows["tag.finetune.yaml"]["since"]


def test_the_longest_ending_says_the_kind() -> None:
    def noun(name: str) -> str | None:
        found = kind_of(Path(name), DROPS)
        return found.noun if found else None

    assert noun("x.yaml") == noun("x.json") == noun("X.YML") == "experiment"
    assert noun("x.finetune.yaml") == noun("X.Finetune.YAML") == "fine-tune"
    assert noun("x.grokking") == "training runs"
    assert noun("x.grokking.txt") is None
