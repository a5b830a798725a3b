"""Open problems: what is stored is the difference, and a run that fails stops no other."""

import json
from datetime import UTC, datetime

import dagster as dg
import pytest
from safetensors.torch import save_file

from panic_assets.errors import UserError
from panic_assets.finetunes import sensors as finetunes
from panic_assets.grokking import sensors as grokking
from panic_assets.instance.home import open_instance
from panic_assets.problems import Problem, isolated, merged, open_problems, report
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.training import runs
from panic_assets.training.stages import register_checkpoints
from panic_assets_tests.grokking.weights import weights


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    return open_lake(home().lake)


def test_a_problem_keeps_its_time_and_a_cured_one_is_gone():
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    first = merged([], "s", [Problem("b", "bad"), Problem("a", "bad", "run")], early)
    assert [(r["item"], r["since"]) for r in first] == [("a", early), ("b", early)]
    assert merged(first, "s", [Problem("a", "bad", "run"), Problem("b", "bad")], late) == first
    second = merged(first, "s", [Problem("b", "worse"), Problem("c", "new")], late)
    assert [(r["item"], r["problem"], r["since"]) for r in second] == [("b", "worse", late), ("c", "new", late)]


def test_a_report_about_one_run_leaves_the_others_and_says_what_is_new(lake):
    of = {name: (lambda row, name=name: row["subject"] == name) for name in ("x", "y")}
    assert report(lake, "s", [Problem("1", "bad", "x")], of["x"]) == [Problem("1", "bad", "x")]
    assert report(lake, "s", [Problem("2", "bad", "y")], of["y"]) == [Problem("2", "bad", "y")]
    written = lake.manifest("problems", source="s")
    assert report(lake, "s", [Problem("2", "bad", "y")], of["y"]) == []
    assert lake.manifest("problems", source="s") == written
    report(lake, "t", [Problem("\udcff.yaml", "a name on disk that is no Unicode")])
    assert [r["item"] for r in open_problems(lake, source="t")] == ["\\udcff.yaml"]
    report(lake, "s", [], of["x"])
    assert [r["item"] for r in open_problems(lake, subject="y")] == ["2"]
    assert [r["source"] for r in open_problems(lake)] == ["s", "t"]


def test_whatever_goes_wrong_with_an_item_is_a_sentence():
    met = []
    for error in (UserError("write it again"), KeyError("x"), RecursionError("a" * 10**6)):
        with isolated(met, "item", "run"):
            raise error
    assert [p.problem[:20] for p in met] == ["write it again", "KeyError: 'x'", "RecursionError: aaaa"]
    assert all(len(p.problem) < 300 for p in met)
    with pytest.raises(KeyboardInterrupt), isolated(met, "item"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("sensor", "family"), [(finetunes.finetune_work, "finetune"), (grokking.grokking_work, "grokking")]
)
def test_a_run_whose_rows_cannot_be_read_stops_no_other(lake, tmp_path, sensor, family):
    pattern = {"finetune": "{}-000001.safetensors", "grokking": "checkpoint_epoch_00001.safetensors"}[family]
    for name in ("bad", "good"):
        folder = tmp_path / name
        folder.mkdir()
        save_file(weights(), folder / pattern.format(name), {"of": name})
        config = {"url": str(folder)} | ({"base": "Synthetic"} if family == "finetune" else {})
        runs.register(lake, runs.NewRun(name, family, config, str(folder), status="watched"))
    for name in ("bad", "good"):
        register_checkpoints(lake, name, settle_seconds=0)
    for file in lake.files("checkpoints", training_run="bad"):
        file.write_bytes(b"not Parquet")
    with open_instance(home()) as instance:
        context = dg.build_sensor_context(instance=instance, cursor=json.dumps({}), resources={"lake": LakeResource()})
        found = sensor(context)
        assert [r.partition_key for r in found.run_requests] == ["good"]
        (problem,) = open_problems(lake)
        assert (problem["source"], problem["subject"]) == (f"{family}_work", "bad")
