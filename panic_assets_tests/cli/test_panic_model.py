"""panic model: where weights come from, said where a user looks."""

from pathlib import Path

import pytest

from panic_assets.compute import gpus
from panic_assets.models import measured
from panic_assets.models.measured import Measurement
from panic_assets_tests.conftest import Panic


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("PANIC_MODEL_PATHS", raising=False)


def test_a_name_can_be_pointed_at_a_folder_and_help_says_how(
    panic: Panic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "PANIC_MODEL_PATHS" in panic("model", "--help")[1]
    assert "not on this machine; `panic model fetch DINOv2` downloads them" in panic("model", "show", "DINOv2")[1]
    code, _, err = panic("model", "check", "DINOv2")
    assert (code, "or point PANIC_MODEL_PATHS at a folder that holds them (`DINOv2=" in err) == (2, True)
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"DINOv2={tmp_path / 'own'}")
    for command in ("show", "fetch"):
        assert str(tmp_path / "own") in panic("model", command, "DINOv2")[1]
    code, out, _ = panic("model", "check", "DINOv2")
    assert (code, "0.0 GB to download" in out) == (0, True)
    code, out, _ = panic("model", "check", "DINOv2@bfloat16")
    assert (code, "DINOv2@bfloat16" in out) == (0, True)
    code, _, err = panic("model", "check", "DINOv2@nf4")
    assert (code, "model DINOv2 cannot be held in precision 'nf4'" in err) == (2, True)
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"SDXLTurbo={tmp_path / 'own'}")
    code, out, _ = panic("model", "check", "SDXLTurbo")
    assert (code, "SDXLTurbo: the licence sai-nc-community says: no commercial use" in out) == (0, True)
    monkeypatch.setenv("PANIC_MODEL_PATHS", "DINOv2=/no/such/folder")
    code, _, err = panic("model", "check", "DINOv2")
    assert (code, "DINOv2 is in '/no/such/folder', which is not a folder" in err) == (2, True)


def test_a_card_is_measured_by_nobody_else_at_work_on_it(panic: Panic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANIC_GPUS", "3,5")
    cards = gpus.visible_gpus()
    other = gpus.try_lease(0.5, 0, cards)
    assert other is not None
    assert other.gpus == ("3",)
    seen = []

    def measure(name: str, device: str) -> Measurement:
        seen.append((name, device, gpus.try_lease(1, 0, cards)))
        return Measurement(4, 0.1)

    monkeypatch.setattr("panic_assets.models.bench.measure", measure)
    assert panic("model", "bench", "DINOv2")[0] == 0
    assert seen == [("DINOv2", "cuda:1", None)]
    free = gpus.try_lease(1, 0, cards)
    assert free is not None
    for lease in (free, other):
        lease.release()
    monkeypatch.setenv("PANIC_GPUS", "0")
    panic("model", "bench", "DINOv2")
    assert seen[1][1] == "cpu"


def test_what_was_measured_is_shown(panic: Panic) -> None:
    assert "measured" not in panic("model", "show", "DINOv2")[1]
    measured.store("DINOv2", Measurement(64, 0.001, copies=2, vram_gb=1.5, card_gb=25, device="a card"))
    assert "'copies': 2" in panic("model", "show", "DINOv2")[1]
