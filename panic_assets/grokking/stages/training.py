"""Trains runs, and trains a stretch of a run again to keep more checkpoints."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from panic_assets.compute.protocol import Compute, Needs, Worker
from panic_assets.errors import UserError
from panic_assets.grokking.config import recipe_of
from panic_assets.grokking.learning.recipe import Recipe
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Refresh, Watcher
from panic_assets.training import cost, runs
from panic_assets.training.settings import Settings
from panic_assets.training.stages import outlook_of, register_checkpoints

COPY_SECONDS = 15.0
"""How often the losses of a run in training are copied into the lake."""
SHARED = "PANIC_HOME must be one folder, under one path, for every machine that trains"


@dataclass(frozen=True)
class Task:
    """What a worker trains as one batch: recipes, folders, epochs to keep, and a start or a shorter end, if any."""

    recipes: tuple[Recipe, ...]
    folders: tuple[str, ...]
    save_at: tuple[int, ...]
    start: tuple[str, int] | None = None
    until: int | None = None
    lanes: int | None = None


def train_task(task: Task, worker: Worker) -> Iterator[Any]:
    """Runs beside the device: yields trainer.Progress."""
    from panic_assets.grokking.learning.trainer import Variant, load_state, train

    start = None if task.start is None else load_state(Path(task.start[0]), task.start[1])
    variants = [
        Variant(recipe, Path(where), frozenset(task.save_at), start, task.until)
        for recipe, where in zip(task.recipes, task.folders, strict=True)
    ]
    yield from train(variants, worker.device, task.lanes)


def train(
    lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, settings: Settings, names: Sequence[str]
) -> Done:
    """Train runs to their end, going on where they stopped. On a GPU, runs that differ only in seeds share a batch; on
    a CPU each run is a task of its own, and tasks run side by side if there are several workers."""
    done = Done()
    todo = []
    for name in names:
        row = runs.get(lake, name)
        if row["status"] in ("watched", runs.TOMBSTONE):
            raise UserError(
                f"run {name!r} is not trained here, because it is {row['status']}; name a run that was registered here"
            )
        if row["status"] != "finished":
            todo.append(row)
    tasks, members = _tasks(lake, todo)
    if not tasks:
        return done
    began = {row["training_run"]: datetime.now(UTC) for row in todo}
    copied = time.monotonic()
    at = {row["training_run"]: _first_epoch(row) for row in todo}
    for row in todo:
        started = row["started_at"] or began[row["training_run"]]
        runs.change(lake, row["training_run"], status="training", failure=None, started_at=started)
    refresh()
    total = sum(row["planned_epochs"] - at[row["training_run"]] for row in todo)
    needs = Needs(device="gpu", vram_gb=2.0, memory_gb=2.0)
    stopped: set[str] = set()
    with watcher.stage("training", total, "steps") as advance:
        stream = compute.stream(train_task, tasks, needs, resume=lambda task: task)
        try:
            for index, progress in stream:
                copy = progress.done or time.monotonic() - copied > COPY_SECONDS
                copied = time.monotonic() if copy else copied
                unseen = [path for path in progress.saved if not path.exists()]
                if unseen:
                    raise UserError(f"{unseen[0]} was written on a machine that does not share this disk; {SHARED}")
                for name in members[index]:
                    now = datetime.now(UTC)
                    steps = progress.epoch - at[name]
                    if steps > 0:
                        _store_time(lake, name, progress, began[name], now, steps)
                        advance(steps)
                    began[name], at[name] = now, max(at[name], progress.epoch)
                    if copy:
                        store_losses(lake, name)
                    if progress.saved:
                        register_checkpoints(lake, name, settle_seconds=0)
                    decision = _stop(lake, name, settings, bool(progress.saved))
                    if decision.fired:
                        done.problems.append(f"{name}: {decision.reason}")
                    if decision.stop and not progress.done:
                        stopped |= set(members[index])
                    if progress.done:
                        runs.change(lake, name, status="finished", finished_at=now)
                        done.rows += 1
                refresh()
                if stopped:
                    break
        except Exception as why:
            for row in todo:
                if runs.get(lake, row["training_run"])["status"] == "training":
                    runs.change(lake, row["training_run"], status="failed", failure=str(why))
            raise
        finally:
            stream.close()  # type: ignore[attr-defined]
    for name in stopped:
        runs.change(lake, name, status="stopped", failure=done.problems[-1], finished_at=datetime.now(UTC))
    return done


def train_unless_watched(
    lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, settings: Settings, name: str
) -> Done:
    """Train a run to its end; does nothing if another program trains it."""
    if runs.get(lake, name)["status"] == "watched":
        return Done()
    return train(lake, compute, watcher, refresh, settings, [name])


def _tasks(lake: Lake, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Task], list[list[str]]]:
    from panic_assets.compute import gpus

    batches: dict[Any, list[Mapping[str, Any]]] = {}
    share = bool(gpus.visible_gpus())
    for row in rows:
        config = json.loads(row["config"])
        recipe = recipe_of(config)
        alike = (recipe.p, json.dumps({**config["recipe"], "seed": 0, "data_seed": 0}), tuple(config["save_at"]))
        alone = row["training_run"] if row["parent_run"] or recipe.gains or not share else None
        batches.setdefault((alike, alone, _first_epoch(row)), []).append(row)
    tasks, members = [], []
    for batch in batches.values():
        recipes = tuple(recipe_of(json.loads(r["config"])) for r in batch)
        start = None
        if batch[0]["parent_run"]:
            start = (_checkpoint_path(lake, batch[0]["parent_run"], batch[0]["parent_epoch"]), batch[0]["parent_epoch"])
        save_at = tuple(json.loads(batch[0]["config"])["save_at"])
        lanes = _lanes(lake, batch[0]["training_run"])
        tasks.append(Task(recipes, tuple(r["folder"] for r in batch), save_at, start, lanes=lanes))
        members.append([r["training_run"] for r in batch])
    return tasks, members


def _lanes(lake: Lake, name: str) -> int | None:
    """How many variants shared the batch when the run was first trained; None before."""
    return lake.sql("SELECT max(lanes) AS n FROM training_times", training_run=name)["n"][0].as_py()


def _first_epoch(row: Mapping[str, Any]) -> int:
    """The epoch a run's training goes on from: after its losses so far, else where it starts."""
    from panic_assets.grokking.learning.trainer import read_losses

    start = row["parent_epoch"] or 0
    _, losses = read_losses(Path(row["folder"]), start)
    return start + max(len(losses) - 1, 0)


def _checkpoint_path(lake: Lake, name: str, epoch: int) -> str:
    for row in runs.checkpoints(lake, name):
        if row["epoch"] == epoch:
            return row["path"]
    raise UserError(f"run {name!r} has no checkpoint at epoch {epoch}; `panic training show {name}` lists them")


def _store_time(lake: Lake, name: str, progress: Any, began: datetime, ended: datetime, steps: int) -> None:
    """Add to the stretch of training that is going on, which ends where a checkpoint was written."""
    rows = lake.sql("SELECT * FROM training_times ORDER BY started_at", training_run=name).to_pylist()
    row = {
        "training_run": name,
        "epoch": progress.epoch,
        "started_at": began,
        "ended_at": ended,
        "steps": steps,
        "device": progress.device,
        "lanes": progress.lanes,
        "ends_in_checkpoint": bool(progress.saved),
    }
    if rows and rows[-1]["ended_at"] == began and not rows[-1]["ends_in_checkpoint"]:
        row |= {"started_at": rows[-1]["started_at"], "steps": rows[-1]["steps"] + steps}
        rows.pop()
    lake.replace("training_times", [*rows, row], training_run=name)


def store_losses(lake: Lake, name: str) -> None:
    """Copy a run's losses so far from its safe point into the lake."""
    from panic_assets.grokking.learning.trainer import LOSSES, read_losses

    row = runs.get(lake, name)
    epochs, losses = read_losses(Path(row["folder"]), row["parent_epoch"] or 0)
    columns = {"training_run": [name] * len(epochs), "epoch": epochs}
    columns |= {column: losses[:, i] for i, column in enumerate(LOSSES)}
    lake.replace("grokking_losses", pa.table(columns), training_run=name)


def _stop(lake: Lake, name: str, settings: Settings, saved: bool) -> cost.StopDecision:
    if settings.stop is None:
        return cost.StopDecision(False, False, "there is no cost rule")
    return cost.stop_decision(settings.stop, outlook_of(lake, name, settings), saved)


def add_checkpoints(lake: Lake, compute: Compute, watcher: Watcher, name: str, extra: Sequence[int]) -> Done:
    """Train a stretch of a finished run again, with the same seeds, to keep more epochs. The checkpoints that exist are
    reproduced and compared on the way; nothing old is written."""
    row = runs.get(lake, name)
    if row["status"] not in ("finished", "stopped"):
        raise UserError(f"run {name!r} is {row['status']}; checkpoints are added only to a finished or stopped run")
    config = json.loads(row["config"])
    recipe = recipe_of(config)
    have = {r["epoch"]: r["path"] for r in runs.checkpoints(lake, name)}
    new = sorted(set(extra) - set(have))
    if not new:
        return Done()
    before = [e for e in have if e <= new[0]]
    after = [e for e in have if e >= new[-1]]
    if not before or not after:
        raise UserError(
            f"epochs {new[0]} to {new[-1]} are not all between checkpoints of run {name!r}; "
            "give epochs between two of them"
        )
    first, last = max(before), min(after)
    save_at = tuple(sorted({*new, *(e for e in have if first <= e <= last)}))
    task = Task((recipe,), (row["folder"],), save_at, (have[first], first), last, _lanes(lake, name))
    at = first
    with watcher.stage("adding checkpoints", last - first, "steps") as advance:
        needs = Needs(device="gpu", vram_gb=2.0, memory_gb=2.0)
        for _, progress in compute.stream(train_task, [task], needs, resume=lambda task: task):
            advance(progress.epoch - at)
            at = progress.epoch
    return register_checkpoints(lake, name, settle_seconds=0)
