"""Runs walk to their end."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

from panic_assets.compute.protocol import Compute
from panic_assets.lake.lake import Lake
from panic_assets.model_settings import Recorder, held_before
from panic_assets.models.needs import needs_of
from panic_assets.models.preflight import refuse
from panic_assets.progress import Done, Pace, Refresh, Watcher
from panic_assets.registry import registry
from panic_assets.trajectories import missing
from panic_assets.trajectories.runs.walk import Batch, Step, advance, batches_of
from panic_assets.trajectories.stages.registering import registered


def walk(
    lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, name: str, other_precision: bool = False
) -> Done:
    """Advance every unfinished run to its end. Rows are stored as they come, a step of a batch at a time.

    Models that would be held in another way than for the rows that exist are refused, unless `other_precision`.
    """
    found = registered(lake, name)
    runs = {r["run_id"]: r for r in lake.sql("SELECT * FROM runs ORDER BY run_id", experiment=name).to_pylist()}
    standing = missing.unfinished(lake, name)
    left = sum(p.max_length - p.length for _, p in standing if p.stop_reason is None)
    done = Done()

    def store_runs() -> None:
        lake.replace("runs", list(runs.values()), experiment=name)
        refresh()

    def note(outcomes: Sequence[dict[str, Any]]) -> None:
        for outcome in outcomes:
            runs[outcome["run_id"]].update(outcome)
            if outcome["stop_reason"] == "failed":
                done.problems.append(f"run {outcome['run_id']}: {outcome['failure']}")

    note([p.outcome() for _, p in standing])
    walking = [registry.pinned(model, found.precision) for model in itertools.chain(*found.networks)]
    needs = needs_of(walking)
    make = partial(batches_of, name, found.image_size, found.image_format, precision=found.precision)
    batches = make(standing, compute.width(needs))
    # All models are looked for before the first run starts: that an embedder is missing is no news for tomorrow.
    # Where the networks need no card, an embedder may: it is looked for by a worker that has one.
    named = [*walking, *(registry.pinned(model, found.precision) for model in found.embedding_models)]
    before = None if other_precision else held_before(lake, "invocations", experiment=name)
    workers = needs if needs.device == "gpu" else needs_of(named)
    refuse(compute, workers, named, found.image_size, len(batches), before)
    recorder = Recorder(lake, before)
    with (
        lake.writer("invocations", experiment=name) as out,
        watcher.stage("invocations", left, "invocations") as tell,
    ):

        def remaining(batch: Batch) -> Batch | None:
            out.flush()
            store_runs()
            mine = {run.run_id for run in batch.runs}
            again = [(m, p) for m, p in missing.unfinished(lake, name) if p.run_id in mine]
            return next(iter(make(again)), None)

        done.paces = [Pace(str(batch)) for batch in batches]
        step: Step
        for index, step in compute.stream(advance, batches, needs, remaining):
            done.paces[index].busy += step.busy
            done.paces[index].wall += step.wall
            note(step.runs)
            recorder.note(step.settings)
            done.rows += len(step.rows)
            if step.rows and out.add(step.rows):
                store_runs()
            stopped = [runs[o["run_id"]] for o in step.runs if o["stop_reason"] in ("loop", "failed")]
            tell(len(step.rows) + sum(r["max_length"] - r["length"] for r in stopped))
    store_runs()
    return done
