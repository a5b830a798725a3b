"""Batches walking in lockstep: types alternate, exact repeats stop seeded runs, batching changes nothing."""

import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panic_assets.compute.warm import WarmWorker
from panic_assets.graphics.images import encode
from panic_assets.ids import uuid7, uuid7_time
from panic_assets.registry import registry
from panic_assets.trajectories.runs.content import decode, text_hash
from panic_assets.trajectories.runs.walk import Batch, Progress, Step, advance, batches_of

WORKER = WarmWorker("cpu")
PAIR = ("DummyT2I", "DummyI2T")
TWICE = ("DummyT2I", "DummyI2T", "DummyT2I2", "DummyI2T")
"""The same captioner at two positions of the cycle."""
FOUR = ("DummyT2I", "DummyI2T", "DummyT2I2", "DummyI2T2")

RESULT = (
    "sequence_number", "model", "model_revision", "type", "seed", "input_hash", "content_hash", "output_text",
    "output_image", "blank",
)  # fmt: skip


def run(number: int, seed: int, length: int, prompt: str = "a red cat") -> Progress:
    return Progress(f"run-{number}", prompt, seed, length)


def walk(models: Sequence[str], runs: Iterable[Progress], form: str = "png", worker: WarmWorker = WORKER) -> list[Step]:
    return list(advance(Batch("e", tuple(models), 16, form, tuple(runs)), worker))


def rows_of(steps: Iterable[Step]) -> dict[str, list[dict[str, Any]]]:
    """Rows by run, in the order they came."""
    found: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        for row in step.rows:
            found.setdefault(row["run_id"], []).append(row)
    return found


def results(steps: Iterable[Step]) -> dict[str, list[tuple[Any, ...]]]:
    return {run: [tuple(row[c] for c in RESULT) for row in rows] for run, rows in rows_of(steps).items()}


def chain(models: Sequence[str], prompt: str, seed: int, length: int) -> list[Any]:
    """The same walk by hand, one item at a time, without stopping."""
    content: Any = prompt
    outputs = []
    for step in range(length):
        (content,) = WORKER.model(models[step % len(models)]).generate([content], [seed], 16)
        outputs.append(content)
    return outputs


def exact(content: Any) -> Any:
    return content if isinstance(content, str) else (content.mode, content.size, content.tobytes())


def first_repeat(outputs: Sequence[Any], cycle: int) -> tuple[int, int] | None:
    """(index, distance) of the first output equal to an earlier one a whole number of cycles before."""
    for index, output in enumerate(outputs):
        for earlier in range(index % cycle, index, cycle):
            if exact(outputs[earlier]) == exact(output):
                return index, index - earlier
    return None


@pytest.mark.parametrize("models", [PAIR, FOUR, TWICE])
def test_models_cycle_and_each_input_is_the_output_before(models: tuple[str, ...]) -> None:
    runs = [run(n, seed, 9) for n, seed in enumerate((-1, 3, 2**63 - 1))]
    steps = walk(models, runs)
    assert [len(step.rows) for step in steps] == [3] * 9
    for one, rows in zip(runs, rows_of(steps).values(), strict=True):
        assert [row["sequence_number"] for row in rows] == list(range(9))
        assert [row["model"] for row in rows] == [models[n % len(models)] for n in range(9)]
        assert [row["type"] for row in rows] == ["image", "text"] * 4 + ["image"]
        assert rows[0]["input_invocation_id"] is None
        assert rows[0]["input_hash"] == text_hash("a red cat")
        for before, row in pairwise(rows):
            assert row["input_invocation_id"] == before["invocation_id"]
            assert row["input_hash"] == before["content_hash"]
        assert all((row["output_text"] is None) == (row["type"] == "image") for row in rows)
        assert all((row["output_image"] is None) == (row["type"] == "text") for row in rows)
        assert (one.stop_reason, one.length, one.loop_length) == ("length", 9, None)


@pytest.mark.parametrize("models", [PAIR, FOUR, TWICE])
def test_a_seeded_run_stops_after_storing_the_first_exact_repeat(models: tuple[str, ...]) -> None:
    runs = [run(seed, seed, 600) for seed in range(6)]
    found = rows_of(walk(models, runs))
    loops = 0
    for one in runs:
        outputs = chain(models, one.prompt, one.seed, 600)
        repeat = first_repeat(outputs, len(models))
        stored = [row["output_text"] or exact(decode(row["output_image"])) for row in found[one.run_id]]
        assert stored == [exact(o) for o in outputs[: one.length]]
        if repeat is None:
            assert (one.stop_reason, one.length, one.loop_length) == ("length", 600, None)
        else:
            assert (one.stop_reason, one.length - 1, one.loop_length) == ("loop", *repeat)
            loops += 1
    assert loops >= 3


def test_the_same_output_at_another_position_of_the_cycle_is_no_loop() -> None:
    """The captioner that is in the cycle twice repeats itself across positions long before the walk does."""
    across = 0
    for seed in range(12):
        one = run(0, seed, 600)
        hashes = [row["content_hash"] for row in rows_of(walk(TWICE, [one]))["run-0"]]
        across += len(set(hashes[:-1])) < len(hashes) - 1
        for position in range(4):
            mine = hashes[position::4]
            assert len(set(mine)) == len(mine) - (one.stop_reason == "loop" and (one.length - 1) % 4 == position)
    assert across >= 3


def test_a_lossy_hash_would_have_stopped_earlier() -> None:
    def lossy(data: bytes) -> bytes:
        return decode(data).convert("L").resize((2, 2)).point(lambda v: 255 * (v > 127)).tobytes()

    one = run(0, 5, 600)
    rows = rows_of(walk(PAIR, [one]))["run-0"]
    images = [lossy(row["output_image"]) for row in rows if row["type"] == "image"]
    first = next(n for n, seen in enumerate(images) if seen in images[:n])
    assert 2 * first + 1 < one.length - 10


def test_unseeded_runs_never_loop_and_differ() -> None:
    runs = [run(n, -1, 300) for n in range(3)]
    found = results(walk(PAIR, runs))
    assert [(r.stop_reason, r.length) for r in runs] == [("length", 300)] * 3
    assert len({str(rows) for rows in found.values()}) == 3
    repeating = Progress("r", "p", -1, 10)
    for n in range(10):
        repeating.record(2, "same", str(n), datetime.now(UTC), datetime.now(UTC))
    assert (repeating.stop_reason, repeating.length) == ("length", 10)


def test_a_loop_found_at_the_last_step_is_a_loop() -> None:
    one = Progress("r", "p", 7, 3)
    for n, content in enumerate(["a", "b", "a"]):
        one.record(2, content, str(n), datetime.now(UTC), datetime.now(UTC))
    assert (one.stop_reason, one.loop_length, one.length) == ("loop", 2, 3)


RUNS = [(n, seed, 25, prompt) for n, (seed, prompt) in enumerate([(s, p) for s in (0, 1, 2, 3) for p in ("a", "b c")])]
ALONE = {k: v for n in RUNS for k, v in results(walk(FOUR, [run(*n)])).items()}


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(RUNS), parts=st.integers(1, 9), extra=st.integers(0, 3))
def test_batching_changes_no_bit(order: list[tuple[int, int, int, str]], parts: int, extra: int) -> None:
    together = [(FOUR, run(*n)) for n in order] + [(FOUR, run(100 + n, -1, 25)) for n in range(extra)]
    found: dict[str, Any] = {}
    batches = batches_of("e", 16, "png", together, parts)
    assert len(batches) == min(parts, len(together))
    sizes = [len(batch.runs) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    for batch in batches:
        found |= results(advance(batch, WORKER))
    assert {k: found[k] for k in ALONE} == ALONE


@settings(max_examples=15, deadline=None)
@given(done=st.lists(st.integers(0, 25), min_size=len(RUNS), max_size=len(RUNS)))
def test_runs_that_are_behind_catch_up_first(done: list[int]) -> None:
    """Any unequal progress ends as if there had been no interruption; each step's runs stand at the same place."""
    runs = []
    for one, length in zip(RUNS, done, strict=True):
        progress = run(*one)
        for row in ALONE[progress.run_id][:length]:
            named = dict(zip(RESULT, row, strict=True))
            progress.record(4, named["content_hash"], "id", datetime.now(UTC), datetime.now(UTC))
            progress.last = named["output_text"] or named["output_image"]
        runs.append(progress)
    steps = walk(FOUR, runs)
    for step in steps:
        assert len({row["sequence_number"] for row in step.rows}) == 1
        assert [row["batch_size"] for row in step.rows] == [len(step.rows)] * len(step.rows)
    starts = [step.rows[0]["sequence_number"] for step in steps]
    assert starts == sorted(starts)
    found = results(steps)
    for one, length in zip(RUNS, done, strict=True):
        key = run(*one).run_id
        assert found.get(key, []) == ALONE[key][length:]


def test_networks_are_separate_batches_and_complete_runs_in_none() -> None:
    complete = run(9, 1, 5)
    complete.stop_reason = "length"
    batches = batches_of("e", None, "png", [(PAIR, run(0, 1, 5)), (FOUR, run(1, 1, 5)), (PAIR, complete)], 8)
    assert [(c.models, [r.run_id for r in c.runs]) for c in batches] == [(PAIR, ["run-0"]), (FOUR, ["run-1"])]


def test_an_unusable_input_fails_its_run_only() -> None:
    broken, well = run(0, 1, 6), run(1, 1, 6)
    for one in (broken, well):
        first = walk(PAIR, [Progress(one.run_id, one.prompt, one.seed, 1)])[0].rows[0]
        one.record(2, first["content_hash"], "id", datetime.now(UTC), datetime.now(UTC))
        one.last = b"no image" if one is broken else first["output_image"]
    steps = walk(PAIR, [broken, well])
    assert broken.stop_reason == "failed"
    assert "the input of step 1 cannot be used: the stored image of 8 bytes cannot be decoded" in str(broken.failure)
    assert (well.stop_reason, well.length) == ("length", 6)
    assert results(steps)["run-1"] == results(walk(PAIR, [run(1, 1, 6)]))["run-1"][1:]
    assert {r["run_id"]: r["stop_reason"] for r in steps[0].runs} == {"run-0": "failed", "run-1": None}
    alone = run(2, 1, 6)
    alone.length, alone.last = 1, b""
    assert [step.rows for step in walk(PAIR, [alone])] == [[]]


def test_a_blank_caption_is_stored_as_it_is_and_replaced_as_input() -> None:
    blank, neutral = run(0, 1, 2), run(1, 1, 2)
    blank.length = neutral.length = 2
    blank.max_length = neutral.max_length = 3
    blank.last, neutral.last = " \n", "an image"
    (rows,) = [step.rows for step in walk(PAIR, [blank, neutral])]
    assert rows[0]["content_hash"] == rows[1]["content_hash"]


def test_from_a_lossy_format_the_next_model_sees_what_is_stored() -> None:
    rows = rows_of(walk(PAIR, [run(0, 4, 8)], "jpeg"))["run-0"]
    originals = 0
    content: Any = "a red cat"
    for image, text in zip(rows[::2], rows[1::2], strict=True):
        (original,) = WORKER.model("DummyT2I").generate([content], [4], 16)
        seen = decode(image["output_image"])
        assert WORKER.model("DummyI2T").generate([seen], [4]) == [text["output_text"]]
        originals += WORKER.model("DummyI2T").generate([original], [4]) == [text["output_text"]]
        content = text["output_text"]
    assert originals == 0
    assert results(walk(PAIR, [run(0, 4, 8)], "png")) == results(walk(PAIR, [run(0, 4, 8)], "png"))
    hashes = {
        form: [r["content_hash"] for r in rows_of(walk(PAIR, [run(0, 4, 8)], form))["run-0"]]
        for form in ("png", "webp")
    }
    assert hashes["png"] == hashes["webp"]


class SlowToLoad(WarmWorker):
    def __init__(self) -> None:
        super().__init__("cpu")
        self.loading: list[tuple[datetime, datetime]] = []

    def model(self, name: str) -> Any:
        began = datetime.now(UTC)
        time.sleep(0.15)
        self.loading.append((began, datetime.now(UTC)))
        return super().model(name)


def test_time_is_the_calls_own_and_shared_fairly() -> None:
    before = datetime.now(UTC)
    worker = SlowToLoad()
    steps = walk(PAIR, [run(n, n, 4) for n in range(5)], worker=worker)
    after = datetime.now(UTC)
    for step in steps:
        assert len({(row["started_at"], row["completed_at"]) for row in step.rows}) == 1
        for row in step.rows:
            assert row["batch_size"] == 5
            assert row["started_at"].tzinfo is UTC
            assert before <= row["started_at"] < row["completed_at"] <= after
            seconds = (row["completed_at"] - row["started_at"]).total_seconds()
            assert row["duration_share"] > 0
            assert all(row["completed_at"] <= a or b <= row["started_at"] for a, b in worker.loading)
            assert abs(row["duration_share"] * 5 - seconds) < 2e-6
            assert timedelta(0) <= row["started_at"] - uuid7_time(row["invocation_id"]) < timedelta(milliseconds=1)
    outcome = steps[-1].runs[0]
    assert outcome["started_at"] == steps[0].rows[0]["started_at"]
    assert outcome["completed_at"] == steps[-1].rows[0]["completed_at"]


def test_what_is_not_a_call_is_idle_time_of_the_card_and_loading_beforehand_is_neither() -> None:
    began = time.perf_counter()
    steps = walk(PAIR, [run(n, n, 4) for n in range(5)], worker=SlowToLoad())
    elapsed = time.perf_counter() - began
    for step in steps:
        assert step.busy == pytest.approx(sum(row["duration_share"] for row in step.rows))
        assert step.wall - step.busy >= 0.15  # This worker loads at every step; a real one does so once.
    assert elapsed - sum(step.wall for step in steps) >= 2 * 0.15


class Waiting(WarmWorker):
    """Its second painting waits until the first is being encoded, and that for the second to begin."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.painting, self.encoding = threading.Event(), threading.Event()
        self.calls = 0

    def model(self, name: str) -> Any:
        self.loaded = super().model(name)
        return self

    def generate(self, inputs: Sequence[Any], seeds: Sequence[int], size: int | None) -> list[Any]:
        self.calls += 1
        if self.calls == 2:
            self.painting.set()
            assert self.encoding.wait(60), "nothing is encoded while a model works"
        return self.loaded.generate(inputs, seeds, size)

    def encode(self, image: Any, form: str) -> bytes:
        self.encoding.set()
        assert self.painting.wait(60), "the next call waits for the encoder"
        return encode(image, form)


@pytest.mark.parametrize("form", ["png", "webp"])
def test_pictures_are_encoded_while_the_next_model_works(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    worker = Waiting()
    monkeypatch.setattr("panic_assets.trajectories.runs.walk.encode", worker.encode)
    assert results(walk(PAIR, [run(0, 4, 6)], form, worker)) == results(walk(PAIR, [run(0, 4, 6)], form))


class Breaking(WarmWorker):
    """Loses its card in the third call."""

    calls = 0

    def model(self, name: str) -> Any:
        self.loaded = super().model(name)
        return self

    def generate(self, *given: Any) -> list[Any]:
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return self.loaded.generate(*given)


def test_a_batch_begins_with_its_own_models_only_all_loaded_before_the_first_call() -> None:
    worker = WarmWorker("cpu")
    walk(PAIR, [run(0, 1, 2)], worker=worker)
    other = ("DummyT2I", "DummyI2T2")
    steps = advance(Batch("e", other, 16, "png", (run(1, 1, 4),)), worker)
    kept = worker.model("DummyT2I")
    next(steps)
    assert worker._residency is not None
    assert set(worker._residency.held) == set(other)
    assert worker.model("DummyT2I") is kept


def test_what_was_made_before_an_error_is_handed_on_before_it() -> None:
    steps = advance(Batch("e", PAIR, 16, "png", (run(0, 4, 6),)), Breaking("cpu"))
    assert [row["sequence_number"] for row in next(steps).rows + next(steps).rows] == [0, 1]
    with pytest.raises(RuntimeError, match="CUDA error"):
        next(steps)


def test_the_revision_is_stored() -> None:
    rows = rows_of(walk(PAIR, [run(0, 1, 2)]))["run-0"]
    assert [row["model_revision"] for row in rows] == ["built-in"] * 2
    assert registry.get("DummyT2I").revision == ""


# --- ids ---------------------------------------------------------------------------------------------


@given(at=st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_ids_are_uuid7_as_rfc_9562_has_it(at: datetime) -> None:
    text = uuid7(at)
    found = uuid.UUID(text)
    assert str(found) == text
    assert found.version == 7
    assert found.variant == uuid.RFC_4122
    assert found.int >> 80 == (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    )  # 48 bits of Unix milliseconds, first.
    assert (found.int >> 76) & 0xF == 0b0111
    assert (found.int >> 62) & 0b11 == 0b10
    assert timedelta(0) <= at - uuid7_time(text) < timedelta(milliseconds=1)


def test_ids_are_random_where_they_may_be_and_sort_by_time() -> None:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    tails = {uuid.UUID(uuid7(at)).int & ((1 << 80) - 1) for _ in range(2000)}
    assert len(tails) == 2000
    free = [bit for bit in range(80) if bit not in (*range(76, 80), 62, 63)]
    for bit in free:
        ones = sum(tail >> bit & 1 for tail in tails)
        assert 800 < ones < 1200, bit
    assert uuid7(at) < uuid7(at + timedelta(milliseconds=1))
    before = datetime.now(UTC)
    assert abs(uuid7_time(uuid7()) - before) < timedelta(seconds=5)
