"""One bad checkpoint: it becomes an open problem, and all others are analysed."""

import pytest
from safetensors.torch import save_file

from panic_assets.grokking import missing, stages
from panic_assets.grokking.config import FAMILY
from panic_assets.grokking.learning.model import NAMES, W_E, W_IN
from panic_assets.grokking.stages.measuring import legible
from panic_assets.lake import invariants
from panic_assets.problems import open_problems
from panic_assets.tables import open_lake
from panic_assets.training import runs
from panic_assets.training.stages import register_checkpoints
from panic_assets_tests.grokking.conftest import Silent
from panic_assets_tests.grokking.weights import weights
from panic_assets_tests.training.lies import LIES, tensor

BAD = {
    "four dimensions": weights(**{W_IN: weights()[W_IN][None, None]}),
    "no dimension": weights(**{W_E: weights()[W_E][0, 0].clone()}),
    "empty": weights(**{W_E: weights()[W_E][:0].clone()}),
    "another model": weights(**{NAMES[3]: None}),
}


@pytest.fixture
def run(tmp_path):
    """A lake with a run of three good checkpoints, and its folder."""
    lake, folder = open_lake(tmp_path / "lake"), tmp_path / "out"
    folder.mkdir()
    for epoch in (1, 3, 5):
        save_file(weights(), folder / f"checkpoint_epoch_{epoch:05d}.safetensors", {"ss_epoch": str(epoch)})
    runs.register(lake, runs.NewRun("r", FAMILY.name, {"url": str(folder)}, str(folder), status="watched"))
    return lake, folder


def analysed(lake):
    register_checkpoints(lake, "r", settle_seconds=0)
    stages.measure(lake, Silent(), lambda: None, "r")
    return lake.sql("SELECT epoch FROM grokking_analyses ORDER BY epoch", training_run="r")["epoch"].to_pylist()


@pytest.mark.parametrize("kind", BAD)
def test_a_sound_file_of_something_else_stops_no_other(run, kind):
    lake, folder = run
    for epoch in (0, 4):  # The first one is also the one that tells the run's sizes.
        save_file(BAD[kind], folder / f"checkpoint_epoch_{epoch:05d}.safetensors", {"made": str(epoch)})
    assert analysed(lake) == [1, 3, 5]
    told = open_problems(lake, subject="r")
    assert [p["source"] for p in told] == ["grokking_measurements"] * 2
    assert "checkpoint_epoch_00000.safetensors" in told[0]["problem"]
    assert [row["epoch"] for row, _ in legible(lake, "r")] == [1, 3, 5]
    left = [m.count for m in missing.OF_RUN["grokking_measurements"](lake, "r")]
    assert left == [0]
    assert analysed(lake) == [1, 3, 5]
    assert open_problems(lake, subject="r") == told
    assert invariants.findings(lake, "problems") == []


@pytest.mark.parametrize("kind", LIES)
def test_a_header_that_lies_stops_no_other(run, kind):
    lake, folder = run
    (folder / "checkpoint_epoch_00000.safetensors").write_bytes(LIES[kind][0])
    assert analysed(lake) == [1, 3, 5]
    (told,) = open_problems(lake, subject="r")
    assert told["source"] == "grokking_checkpoints"


def test_a_file_that_was_removed_or_spoilt_later_stops_no_other(run):
    lake, folder = run
    register_checkpoints(lake, "r", settle_seconds=0)
    (folder / "checkpoint_epoch_00001.safetensors").unlink()
    (folder / "checkpoint_epoch_00003.safetensors").write_bytes(tensor(dtype="F99"))
    stages.measure(lake, Silent(), lambda: None, "r")
    assert lake.sql("SELECT epoch FROM grokking_analyses", training_run="r")["epoch"].to_pylist() == [5]
    assert len(open_problems(lake, subject="r", source="grokking_measurements")) == 2
    save_file(weights(), folder / "checkpoint_epoch_00001.safetensors", {"ss_epoch": "1"})
    save_file(weights(), folder / "checkpoint_epoch_00003.safetensors", {"ss_epoch": "3"})
    assert analysed(lake) == [1, 3, 5]
    assert open_problems(lake) == []
