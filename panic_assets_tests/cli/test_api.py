"""What a notebook reads and a training loop writes, on experiments that were really performed."""

import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import panic_assets
from panic_assets.errors import UserError
from panic_assets.settings import home
from panic_assets.tables import open_lake

pytestmark = pytest.mark.slow


@pytest.fixture
def performed(template, monkeypatch):
    """A home with two experiments, `a` and `b`, which is only read."""
    monkeypatch.setenv("PANIC_HOME", str(template))


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    return tmp_path


def saved(folder, epoch):
    path = folder / f"mine-{epoch:06d}.safetensors"
    save_file({"weight": np.full(3, epoch, dtype=np.float32)}, path)
    return path


def test_importing_the_package_wakes_nothing_heavy():
    code = "import sys, panic_assets; print(sorted({'pandas', 'duckdb', 'dagster', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert all(callable(getattr(panic_assets, name)) for name in panic_assets.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = panic_assets.nothing


@pytest.mark.usefixtures("performed")
def test_frames_of_an_experiment_and_of_chosen_runs():
    runs = panic_assets.runs("a")
    assert set(runs["prompt"]) == {"x", "only in a"}
    assert str(runs["started_at"].dtype).startswith("datetime64")
    calls = panic_assets.invocations("a")
    assert len(calls) == runs["length"].sum()
    assert "output_image" not in calls
    one = panic_assets.invocations([runs["run_id"][1]], images=True)
    assert list(one["sequence_number"]) == list(range(runs["length"][1]))
    assert sum(image is not None for image in one["output_image"]) == (one["type"] == "image").sum() > 0
    vectors = panic_assets.embeddings("a", "DummyText")
    assert len(vectors) == (calls["type"] == "text").sum()
    assert np.stack(vectors["vector"]).shape == (len(vectors), len(vectors["vector"][0]))
    both = panic_assets.runs()
    assert set(both["experiment"]) == {"a", "b"}
    assert len(panic_assets.runs(list(both["run_id"]))) == len(both)
    assert panic_assets.runs([]).empty


@pytest.mark.usefixtures("performed")
def test_what_is_not_there_is_said_in_a_sentence():
    with pytest.raises(UserError, match="there is no experiment 'A'; did you mean 'a'"):
        panic_assets.runs("A")
    with pytest.raises(UserError, match="there is no run 'r1'"):
        panic_assets.invocations(["r1"])
    with pytest.raises(UserError, match=r"nothing is embedded by 'MiniLM'.*stored: DummyText, RandomWalk"):
        panic_assets.embeddings("a", "MiniLM")
    with pytest.raises(UserError, match="there is no training run 'r'"):
        panic_assets.metrics("r")


@pytest.mark.usefixtures("performed")
def test_the_connection_is_read_only():
    with panic_assets.connect() as db:
        assert db.sql("SELECT DISTINCT experiment FROM runs ORDER BY ALL").fetchall() == [("a",), ("b",)]
        with pytest.raises(duckdb.Error, match="read-only"):
            db.execute("CREATE TABLE t (a INT)")


def test_a_fresh_home_has_an_empty_catalogue(fresh):
    with panic_assets.connect() as db:
        assert db.sql("SELECT count(*) FROM runs").fetchall() == [(0,)]
    assert home().catalogue.exists()
    assert panic_assets.runs().empty


def test_a_loop_logs_metrics_and_checkpoints(fresh, panic):
    for epoch in (1, 2):
        panic_assets.log(
            "mine", epoch, {"accuracy": epoch / 2, "test_loss": 1 / epoch}, saved(fresh, epoch), family="finetune"
        )
    panic_assets.log("mine", 2, {"accuracy": 0.75})
    frame = panic_assets.metrics("mine")
    assert list(zip(frame["metric"], frame["epoch"], frame["value"], frame["direction"], strict=True)) == [
        ("accuracy", 1, 0.5, "up"),
        ("accuracy", 2, 0.75, "up"),
        ("test_loss", 1, 1.0, "down"),
        ("test_loss", 2, 0.5, "down"),
    ]
    with panic_assets.connect() as db:
        files = db.sql("SELECT c.epoch, c.content_hash, m.measured FROM checkpoints c JOIN metrics m "
                       "USING (training_run, epoch) WHERE metric = 'test_loss' ORDER BY ALL").df()  # fmt: skip
    assert list(files["epoch"]) == [1, 2]
    assert (files["content_hash"] == files["measured"]).all()
    code, out, err = panic("training", "list")
    assert (code, "mine" in out) == (0, True), err
    code, out, err = panic("doctor")
    assert code == 0, out + err


def test_a_loop_of_one_s_own_needs_no_family_and_leaves_nothing_when_deleted(fresh, panic):
    panic_assets.log("mine", 1, {"accuracy": 0.5}, saved(fresh, 1))
    with panic_assets.connect() as db:
        assert db.sql("SELECT family FROM training_runs").fetchall() == [("training",)]
    assert panic("doctor")[0] == 0
    code, out, err = panic("training", "delete", "mine", "--yes")
    assert code == 0, err
    lake = open_lake(home().lake)
    assert [name for name in lake.tables for _ in lake.partitions(name)] == []
    code, out, err = panic("training", "restore", "mine")
    assert code == 0, err
    assert list(panic_assets.metrics("mine")["value"]) == [0.5]
    code, out, err = panic("doctor")
    assert code == 0, out + err


def test_directions_and_several_runs(fresh):
    panic_assets.log("a", 1, {"distance": 3}, family="grokking", directions={"distance": "down"})
    panic_assets.log("b", 1, {"distance": np.float32(2)}, family="grokking")
    frame = panic_assets.metrics(["a", "b"])
    assert list(frame["direction"]) == ["down", "up"]
    pd.testing.assert_frame_equal(panic_assets.metrics(), frame)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (
            ("r", 1, {"a": 1}),
            {"family": "groking"},
            r"its family is 'groking'; did you mean 'grokking'\? \(accepted: training, grokking, finetune\)",
        ),
        (("r", -1, {"a": 1}), {"family": "grokking"}, "epoch is -1; it must be a whole number"),
        (("r", 1.5, {"a": 1}), {"family": "grokking"}, "epoch is 1.5; it must be a whole number"),
        (
            ("r", 1, {"a": "high"}),
            {"family": "grokking"},
            "metric a of run r at epoch 1 is 'high'; it must be a number",
        ),
        (
            ("r", 1, {"a": float("nan")}),
            {"family": "grokking"},
            "metric a of run r at epoch 1 is nan; it must be a finite number",
        ),
        (("r", 1, {"a": 1}), {"family": "grokking", "directions": {"a": "left"}}, "accepted: up, down"),
        (("r", 1, {}, "no.safetensors"), {"family": "grokking"}, "checkpoint .* cannot be read: No such file"),
        (("r", 1, {}, __file__), {"family": "grokking"}, "checkpoint .* is not stored: it is not a safetensors file"),
        (("a...b", 1, {}), {"family": "grokking"}, r"run name 'a\.\.\.b'"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_stored(fresh, arguments, options, sentence):
    with pytest.raises(UserError, match=sentence):
        panic_assets.log(*arguments, **options)
    assert panic_assets.metrics().empty
    with panic_assets.connect() as db:
        assert db.sql("SELECT * FROM training_runs").fetchall() == []


def test_a_run_keeps_its_family(fresh):
    panic_assets.log("r", 1, {"a": 1}, family="grokking")
    with pytest.raises(UserError, match="is of family 'grokking', not 'finetune'"):
        panic_assets.log("r", 2, {"a": 1}, family="finetune")


def test_what_a_finished_loop_logged_is_in_the_catalogue(fresh):
    """Of another process, which is gone: it built the catalogue as it ended."""
    code = "import panic_assets\nfor epoch in range(3): panic_assets.log('r', epoch, {'a': epoch}, family='grokking')"
    subprocess.run([sys.executable, "-c", code], check=True)
    with duckdb.connect(str(home().catalogue), read_only=True) as db:
        assert db.sql("SELECT epoch FROM metrics ORDER BY ALL").fetchall() == [(0,), (1,), (2,)]
