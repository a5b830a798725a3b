"""An item that fails spoils its own run or content, is reported, and stops nobody else."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panic_assets.compute.failures import Failure
from panic_assets.compute.in_process import InProcessCompute
from panic_assets.graphics.images import encode
from panic_assets.models.load import load
from panic_assets.registry.registry import get
from panic_assets.tables import open_lake
from panic_assets.trajectories import stages
from panic_assets.trajectories.runs.content import decode
from panic_assets.trajectories.runs.embed import ToEmbed, embed
from panic_assets.trajectories.runs.walk import Batch, Progress, advance
from panic_assets_tests.trajectories.world import LOOP, Nobody, definition, nothing, perform


class Painter:
    """DummyT2I, but one caption cannot be painted."""

    def generate(self, inputs: list[Any], seeds: list[int], image_size: int | None = None) -> list[Any]:
        made = load(get("DummyT2I")).generate(inputs, seeds, image_size)
        return [Failure("too long") if i == "bad" else m for i, m in zip(inputs, made, strict=True)]


class Measurer:
    """DummyText, but one text gives a vector with NaN, as a real embedder says it."""

    failures: list[Failure | None]

    def embed(self, contents: list[Any]) -> np.ndarray:
        vectors = load(get("DummyText")).embed(contents)
        self.failures = [Failure("not finite") if c == "bad" else None for c in contents]
        vectors[[c == "bad" for c in contents]] = np.nan
        return vectors


class Worker:
    device = "cpu"

    def model(self, name: str) -> Any:
        return {"DummyT2I": Painter, "DummyText": Measurer}.get(name, lambda: load(get(name)))()

    def keep(self, names: Any) -> None:
        """It has nothing to free."""


def test_a_run_whose_output_fails_ends_there_and_its_batch_goes_on() -> None:
    runs = tuple(Progress(f"run {p}", p, -1, 6) for p in ("good", "bad", "fine"))
    steps = list(advance(Batch("e", tuple(LOOP), 16, "png", runs), Worker()))
    assert [len(s.rows) for s in steps] == [2] * 6
    assert {r["run_id"] for s in steps for r in s.rows} == {"run good", "run fine"}
    first = {r["run_id"]: r for r in steps[0].runs}
    assert first["run bad"]["stop_reason"] == "failed"
    assert first["run bad"]["failure"] == "DummyT2I failed at step 0: too long"


def test_a_content_that_fails_is_reported_and_the_others_have_vectors() -> None:
    (result,) = embed(ToEmbed("DummyText", ("good", "bad", "fine")), Worker())
    assert np.isfinite(result.values[[0, 2]]).all()
    assert result.problems == {1: "DummyText: not finite"}


def test_a_stored_image_that_cannot_be_decoded_fails_its_run_only(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "lake")
    wanted = definition(prompts=["x", "y"], seeds=[-1], max_length=1)
    perform(lake, wanted)
    longer = [{**r, "max_length": 4, "stop_reason": None} for r in lake.sql("SELECT * FROM runs").to_pylist()]
    rows = lake.sql("SELECT * FROM invocations").to_pylist()
    broken = rows[0]["run_id"]
    rows[0]["output_image"] = rows[0]["output_image"][:40]
    lake.replace("invocations", rows, experiment="a")
    lake.replace("runs", longer, experiment="a")
    done = stages.walk(lake, InProcessCompute(), Nobody(), nothing, "a")
    assert len(done.problems) == 1
    assert "cannot be decoded" in done.problems[0]
    assert broken in done.problems[0]
    ends = dict(zip(*(lake.sql("SELECT run_id, stop_reason FROM runs")[c].to_pylist() for c in (0, 1)), strict=True))
    assert ends.pop(broken) == "failed"
    assert set(ends.values()) == {"length"}


class Ahead:
    """Its first call waits until a picture of the second is being decoded."""

    device = "cpu"

    def __init__(self) -> None:
        self.decoding, self.decoded = threading.Event(), 0
        self.calls: list[int] = []

    def model(self, name: str) -> Any:
        return self

    def keep(self, names: Any) -> None:
        """It has nothing to free."""

    def embed(self, contents: list[Any]) -> np.ndarray:
        assert self.decoding.wait(60), "nothing is decoded while the model works"
        self.calls.append(len(contents))
        return load(get("DummyVision")).embed(contents)

    def decode(self, file: bytes) -> Any:
        self.decoded += 1
        if self.decoded > 2:
            self.decoding.set()
        return decode(file)


def test_pictures_are_decoded_while_the_model_works_on_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """In calls of the model's batch limit; one that cannot be decoded spoils itself only, wherever it stands."""
    pictures = load(get("DummyT2I")).generate(list("abcd"), [1] * 4, 16)
    files = [encode(picture, "png") for picture in pictures]
    files.insert(3, b"no picture")
    worker = Ahead()
    monkeypatch.setattr("panic_assets.trajectories.runs.embed.batch_limit", lambda spec: 2)
    monkeypatch.setattr("panic_assets.trajectories.runs.embed.decode", worker.decode)
    (result,) = embed(ToEmbed("DummyVision", tuple(files)), worker)  # type: ignore[arg-type]
    assert worker.calls == [2, 1, 1]
    assert {index: "cannot be decoded" in why for index, why in result.problems.items()} == {3: True}
    assert np.isnan(result.values[3]).all()
    np.testing.assert_array_equal(np.delete(result.values, 3, axis=0), load(get("DummyVision")).embed(pictures))
