"""A *batch* is a group of runs of one network that advances in lockstep: each step is one model call for all of them.

Pure: takes where each run stands, and yields the rows of each step until every run has stopped. A run's rows depend on
its prompt, seed and network only, not on which other runs are in its batch.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from panic_assets.compute import machine
from panic_assets.compute.failures import Failure
from panic_assets.compute.protocol import Worker
from panic_assets.graphics.images import LOSSY, encode
from panic_assets.ids import uuid7
from panic_assets.models import weights
from panic_assets.models.protocol import NEUTRAL_PROMPT, UNSEEDED, Content, accounts_of
from panic_assets.models.settings import ModelSettings, settings_of
from panic_assets.registry import registry
from panic_assets.trajectories.runs.content import decode, image_hash, stored, text_hash
from panic_assets.trajectories.versions import WALK_VERSION

ENCODERS = min(4, machine.cores())
"""Threads that encode pictures while the model works on the next step."""


@dataclass
class Progress:
    """Where a run stands: everything that its next step and the stopping rule need."""

    run_id: str
    prompt: str
    seed: int
    max_length: int
    length: int = 0
    last: str | bytes | None = None
    """The last output: text, or an encoded image; None before the first step."""
    last_id: str | None = None
    last_hash: str | None = None
    seen: dict[tuple[int, str], int] = field(default_factory=dict)
    """(position in the cycle, content hash) -> sequence number where it first occurred; seeded runs only."""
    stop_reason: str | None = None
    loop_length: int | None = None
    failure: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None

    def record(self, cycle: int, content_hash: str, invocation_id: str, started: datetime, ended: datetime) -> None:
        """Count one stored output and decide whether the run stops. `cycle` is the network's length."""
        place = (self.length % cycle, content_hash)
        if self.seed != UNSEEDED:
            first = self.seen.setdefault(place, self.length)
            if first < self.length:
                self.stop_reason, self.loop_length = "loop", self.length - first
        self.length += 1
        self.last_id, self.last_hash = invocation_id, content_hash
        self.started_at = self.started_at or started
        self.completed_at = ended
        if self.stop_reason is None and self.length >= self.max_length:
            self.stop_reason = "length"

    def outcome(self) -> dict[str, Any]:
        """The columns of the runs table that change as the run goes on."""
        names = ("run_id", "length", "stop_reason", "loop_length", "failure", "started_at", "completed_at")
        return {name: getattr(self, name) for name in names}

    def fail(self, why: str) -> None:
        """Stop the run and say why. Its stored outputs stay."""
        self.stop_reason, self.failure = "failed", why


@dataclass(frozen=True)
class Batch:
    """A batch of runs of one network, and how their outputs are made and stored."""

    experiment: str
    models: tuple[str, ...]
    image_size: int | None
    image_format: str
    runs: tuple[Progress, ...]
    precision: Mapping[str, str] = field(default_factory=dict)
    """Model and precision, for models that are pinned to one."""

    def __str__(self) -> str:
        return f"{len(self.runs)} runs of {'-'.join(self.models)} in experiment {self.experiment}"


@dataclass(frozen=True)
class Step:
    """One call of a model for a batch: its rows of the invocations table, the changed columns of its rows of runs, and
    how the model ran.

    `busy`: seconds that the call took. `wall`: seconds since the previous call ended; for the first call, since the
    batch's models were loaded. The GPU is idle for the difference.
    """

    rows: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    settings: ModelSettings
    busy: float
    wall: float


def advance(batch: Batch, worker: Worker) -> Iterator[Step]:
    """Walk until every run has stopped; runs that are behind catch up first.

    A step is yielded after the next call, so that its pictures are encoded while the model works. If that call fails,
    the step is yielded before the error is raised.
    """
    asked = [_asked(batch, name) for name in batch.models]
    worker.keep(asked)
    for name in reversed(dict.fromkeys(asked)):
        worker.model(name)  # All of them before the first call; the one that is called first was loaded last.
    with ThreadPoolExecutor(ENCODERS) as encoders:
        calls = _calls(batch, worker, encoders)
        made = next(calls, None)
        while made is not None:
            following: Step | None = None
            error: Exception | None = None
            try:
                following = next(calls, None)
            except Exception as raised:
                error = raised
            for row in made.rows:
                if isinstance(row["output_image"], Future):
                    row["output_image"] = row["output_image"].result()
            yield made
            if error:
                raise error
            made = following


def _calls(batch: Batch, worker: Worker, encoders: ThreadPoolExecutor) -> Iterator[Step]:
    """The steps as they are made, with pictures that are still being encoded."""
    contents: dict[str, Content] = {}
    active = [run for run in batch.runs if run.stop_reason is None]
    last = time.perf_counter()
    while active:
        at = min(run.length for run in active)
        group = [run for run in active if run.length == at]
        rows, settings, busy, ended = _call(batch, group, contents, worker, encoders)
        yield Step(rows, [run.outcome() for run in group], settings, busy, ended - last)
        last = ended
        for run in group:
            if run.stop_reason is not None:
                contents.pop(run.run_id, None)
        active = [run for run in active if run.stop_reason is None]


def _call(
    batch: Batch,
    group: Sequence[Progress],
    contents: dict[str, Content],
    worker: Worker,
    encoders: ThreadPoolExecutor,
) -> tuple[list[dict[str, Any]], ModelSettings, float, float]:
    """One model call for the whole group: its rows, how the model ran, its seconds, and when it ended (by
    `perf_counter`)."""
    inputs: list[Content] = []
    going: list[Progress] = []
    for run in group:
        try:
            inputs.append(_input(run, contents))
            going.append(run)
        except ValueError as error:
            run.fail(f"the input of step {run.length} cannot be used: {error}")
    name = batch.models[group[0].length % len(batch.models)]
    spec = registry.get(_asked(batch, name))
    revision = weights.revision(spec)
    model = worker.model(spec.asked)  # Loaded before the clock starts.
    started = datetime.now(UTC)
    began = time.perf_counter()
    outputs = model.generate(inputs, [run.seed for run in going], batch.image_size) if going else []
    seconds = time.perf_counter() - began
    ended = started + timedelta(seconds=seconds)
    settings = settings_of(spec, model, worker.device)
    settings_id = settings.id
    accounts = accounts_of(model, len(going))
    for run, output in zip(going, outputs, strict=True):
        if isinstance(output, Failure):
            run.fail(f"{name} failed at step {run.length}: {output.reason}")
    told = zip(going, outputs, accounts, strict=True)
    made = [(run, output, account) for run, output, account in told if not isinstance(output, Failure)]
    kept = encoders.map(lambda one: _seen(one[1], batch.image_format), made)
    rows = []
    for (run, _, account), (content, data, content_hash) in zip(made, kept, strict=True):
        picture = None if isinstance(content, str) else data or encoders.submit(encode, content, batch.image_format)
        row: dict[str, Any] = {
            "invocation_id": uuid7(started),
            "run_id": run.run_id,
            "experiment": batch.experiment,
            "sequence_number": run.length,
            "model": name,
            "model_revision": revision,
            "settings_id": settings_id,
            "type": spec.output,
            "seed": run.seed,
            "input_invocation_id": run.last_id,
            "input_hash": run.last_hash or text_hash(run.prompt),
            "content_hash": content_hash,
            "output_text": content if isinstance(content, str) else None,
            "output_image": picture,
            "blank": isinstance(content, str) and not content.strip(),
            "tokens_given": account.tokens_given,
            "tokens_read": account.tokens_read,
            "finished": account.finished,
            "started_at": started,
            "completed_at": ended,
            "batch_size": len(going),
            "duration_share": seconds / len(going),
            "code_version": WALK_VERSION,
        }
        contents[run.run_id] = content
        run.record(len(batch.models), content_hash, row["invocation_id"], started, ended)
        rows.append(row)
    return rows, settings, seconds, began + seconds


def _asked(batch: Batch, model: str) -> str:
    """What the worker knows a model of the batch by."""
    return registry.pinned(model, batch.precision)


def _seen(output: Content, image_format: str) -> tuple[Content, bytes | None, str]:
    """(what the next model sees, the encoded image or None, the content hash).

    A lossless file holds exactly what was encoded, so it can be made later: then it is None here.
    """
    if isinstance(output, str) or image_format in LOSSY:
        return stored(output, image_format)
    image = output if output.mode == "RGB" else output.convert("RGB")
    return image, None, image_hash(image)


def _input(run: Progress, contents: dict[str, Content]) -> Content:
    """What the next model is given: the prompt, or the last stored output; for a blank caption a neutral prompt."""
    content = contents.get(run.run_id)
    if content is None:
        if run.last is None:
            return run.prompt
        content = decode(run.last) if isinstance(run.last, bytes) else run.last
    if isinstance(content, str) and not content.strip():
        return NEUTRAL_PROMPT
    return content


def batches_of(
    experiment: str,
    image_size: int | None,
    image_format: str,
    runs: Iterable[tuple[tuple[str, ...], Progress]],
    parts: int = 1,
    precision: Mapping[str, str] = MappingProxyType({}),
) -> list[Batch]:
    """Unfinished runs in batches: grouped by network, and each group split into up to `parts` batches of equal size."""
    by_network: dict[tuple[str, ...], list[Progress]] = {}
    for models, progress in runs:
        if progress.stop_reason is None:
            by_network.setdefault(models, []).append(progress)
    return [
        Batch(experiment, models, image_size, image_format, tuple(group[part::parts]), dict(precision))
        for models, group in by_network.items()
        for part in range(min(parts, len(group)))
    ]
