"""The stages of the grokking family: read from the lake, call the pure functions, write to the lake. No Dagster."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from panic_assets.compute.protocol import Compute, Needs, Worker
from panic_assets.errors import UserError
from panic_assets.grokking import circle, fourier, lissajous, neurons, outcomes, pca
from panic_assets.grokking.config import Intervention, RunConfig, child, recipe_of
from panic_assets.grokking.recipe import Recipe
from panic_assets.lake.lake import Lake
from panic_assets.progress import Watcher
from panic_assets.settings import home
from panic_assets.training import cost, planner, runs
from panic_assets.training.lineage import Parent
from panic_assets.training.series import Direction, Measurement
from panic_assets.training.settings import Settings
from panic_assets.training.stages import Done, metric_series, outlook_of, register_checkpoints, store_metrics

FAMILY = "grokking"
TRAIN_VERSION = "2"
ANALYSIS_VERSION = "2"
SOURCE = "grokking_measurements"
PER_CHECKPOINT = (
    "grokking_spectra",
    "grokking_dominant",
    "grokking_neurons",
    "grokking_rings",
    "grokking_class_pca",
    "grokking_centroids",
)
THRESHOLD, HYSTERESIS = 0.5, 0.1
"""Concentration from which a neuron has a frequency, and how far below it may fall, unless asked for others; stored with
every result."""
DRAWS = 200
"""Random walks that a path is compared with, of each kind."""
LOW_LOSS = 1e-6
COPY_SECONDS = 15.0
"""How often the losses of a run in training are copied into the lake."""
SHARED = "PANIC_HOME must be one folder, under one path, for every machine that trains"
Refresh = Callable[[], None]


def folder(name: str) -> Path:
    """Where a run trained here keeps its files."""
    return home().root / "training" / name


# --- registering -------------------------------------------------------------------------------


def register(lake: Lake, config: RunConfig, parent: Parent | None = None) -> bool:
    """Register a run to be trained here; True when it is new."""
    return runs.register(
        lake,
        runs.NewRun(
            config.name,
            FAMILY,
            config.stored,
            str(folder(config.name)),
            parent,
            config.recipe.data_seed,
            config.sweep,
            planned_epochs=config.recipe.epochs,
            card=config.card,
            budget=config.budget,
        ),
    )


def intervene(lake: Lake, parent: str, epoch: int, what: Intervention, epochs: int | None = None) -> list[str]:
    """Register a child of `parent` from its checkpoint at `epoch`, and the no-op control it is compared with."""
    row = runs.get(lake, parent)
    if row["family"] != FAMILY or "recipe" not in json.loads(row["config"]):
        raise UserError(f"run {parent!r} was not trained here, so no child can start from it exactly")
    if not what.changes:
        raise UserError("an intervention changes something: a gain, weight decay, train fraction or data seed")
    config = json.loads(row["config"])
    names = []
    for wanted in (what, Intervention()):
        made = child(parent, config, epoch, wanted, epochs)
        register(lake, made, Parent(parent, epoch))
        names.append(made.name)
    return names


# --- training ----------------------------------------------------------------------------------


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
    from panic_assets.grokking.trainer import Variant, load_state, train

    start = None if task.start is None else load_state(Path(task.start[0]), task.start[1])
    variants = [
        Variant(recipe, Path(where), frozenset(task.save_at), start, task.until)
        for recipe, where in zip(task.recipes, task.folders, strict=True)
    ]
    yield from train(variants, worker.device, task.lanes)


def train(
    lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, settings: Settings, names: Sequence[str]
) -> Done:
    """Train runs to their end, going on where they were stopped. Those that differ in seeds only share a batch on a
    GPU; on a CPU each is a task of its own, side by side where the compute has several workers."""
    done = Done()
    todo = []
    for name in names:
        row = runs.get(lake, name)
        if row["status"] in ("watched", runs.TOMBSTONE):
            raise UserError(f"run {name!r} is not trained here ({row['status']})")
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
                    raise UserError(f"{unseen[0]} was written on a machine whose disk is not this one's; {SHARED}")
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
    """Train a run to its end; nothing where somebody else trains it."""
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
    from panic_assets.grokking.trainer import read_losses

    start = row["parent_epoch"] or 0
    _, losses = read_losses(Path(row["folder"]), start)
    return start + max(len(losses) - 1, 0)


def _checkpoint_path(lake: Lake, name: str, epoch: int) -> str:
    for row in runs.checkpoints(lake, name):
        if row["epoch"] == epoch:
            return row["path"]
    raise UserError(f"run {name!r} has no checkpoint at epoch {epoch}")


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
    from panic_assets.grokking.trainer import LOSSES, read_losses

    row = runs.get(lake, name)
    epochs, losses = read_losses(Path(row["folder"]), row["parent_epoch"] or 0)
    columns = {"training_run": [name] * len(epochs), "epoch": epochs}
    columns |= {column: losses[:, i] for i, column in enumerate(LOSSES)}
    lake.replace("grokking_losses", pa.table(columns), training_run=name)


def _stop(lake: Lake, name: str, settings: Settings, saved: bool) -> cost.StopDecision:
    if settings.stop is None:
        return cost.StopDecision(False, False, "no rule")
    return cost.stop_decision(settings.stop, outlook_of(lake, name, settings), saved)


def add_checkpoints(lake: Lake, compute: Compute, watcher: Watcher, name: str, extra: Sequence[int]) -> Done:
    """Train a stretch of a finished run again, with the same seeds, to keep more epochs. The checkpoints that exist are
    reproduced and compared on the way; nothing old is written."""
    row = runs.get(lake, name)
    if row["status"] not in ("finished", "stopped"):
        raise UserError(f"run {name!r} is {row['status']}; checkpoints are added to a run that is finished")
    config = json.loads(row["config"])
    recipe = recipe_of(config)
    have = {r["epoch"]: r["path"] for r in runs.checkpoints(lake, name)}
    new = sorted(set(extra) - set(have))
    if not new:
        return Done()
    before = [e for e in have if e <= new[0]]
    after = [e for e in have if e >= new[-1]]
    if not before or not after:
        raise UserError(f"epochs {new[0]} to {new[-1]} are not all between the checkpoints of run {name!r}")
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


# --- each checkpoint ---------------------------------------------------------------------------


def unanalysed(lake: Lake, name: str) -> list[dict[str, Any]]:
    """Current checkpoints that were not analysed yet: new, written again since, or by another version of the code."""
    return lake.sql(
        "SELECT c.* FROM checkpoints c ANTI JOIN grokking_analyses a ON a.epoch = c.epoch "
        "AND a.content_hash = c.content_hash AND a.code_version = ? WHERE c.current ORDER BY c.epoch",
        [ANALYSIS_VERSION],
        training_run=name,
    ).to_pylist()


def waiting(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    """Runs that nobody trains here now -> their checkpoints that were not analysed yet; without those that have none."""
    idle = [r for r in runs.every(lake, FAMILY) if r["status"] not in ("training", "registered", runs.TOMBSTONE)]
    found = {row["training_run"]: unanalysed(lake, row["training_run"]) for row in idle}
    return {name: left for name, left in found.items() if left}


def measure(lake: Lake, watcher: Watcher, refresh: Refresh, name: str) -> Done:
    """Analyse every checkpoint that was not: spectra, neurons, rings, losses. Rows of one that was written again go."""
    todo = unanalysed(lake, name)
    done = Done()
    if not todo:
        return done
    from panic_assets.grokking.analysis import load
    from panic_assets.grokking.analysis import measure as measured_of
    from panic_assets.grokking.model import one_thread

    config = json.loads(runs.get(lake, name)["config"])
    recipe = recipe_of(config) if "recipe" in config else None
    _drop_epochs(lake, name, [row["epoch"] for row in todo])
    measured: list[Measurement] = []
    with (
        one_thread(),
        watcher.stage("checkpoints", len(todo), "checkpoints") as advance,
        lake.writer("grokking_spectra", training_run=name) as spectra,
        lake.writer("grokking_dominant", training_run=name) as dominant,
        lake.writer("grokking_neurons", training_run=name) as found_neurons,
        lake.writer("grokking_rings", training_run=name) as rings,
        lake.writer("grokking_class_pca", training_run=name) as class_pca,
        lake.writer("grokking_centroids", training_run=name) as found_centroids,
    ):
        analysed = []
        for row in todo:
            began = time.monotonic()
            try:
                found = measured_of(load(row["path"]), recipe)
            except (UserError, OSError) as why:
                done.problems.append(f"epoch {row['epoch']}: {why}")
                advance(1)
                continue
            place = {"training_run": name, "epoch": row["epoch"]}
            for out, rows in (
                (spectra, found.spectra),
                (dominant, found.dominant),
                (found_neurons, found.neurons),
                (rings, found.rings),
                (class_pca, found.class_pca),
                (found_centroids, found.centroids),
            ):
                out.add([{**place, **r} for r in rows])
            measured += _measurements(row, found.metrics)
            analysed.append(
                {
                    **place,
                    "content_hash": row["content_hash"],
                    "code_version": ANALYSIS_VERSION,
                    "seconds": time.monotonic() - began,
                    "computed_at": datetime.now(UTC),
                }
            )
            done.rows += 1
            advance(1)
    kept = lake.sql("SELECT * FROM metrics", training_run=name, source=SOURCE).to_pylist()
    again = {(m.epoch, m.metric) for m in measured}
    old = [
        Measurement(r["training_run"], r["epoch"], r["metric"], r["value"], r["direction"], r["method"], r["measured"])
        for r in kept
        if (r["epoch"], r["metric"]) not in again and r["method"] == ANALYSIS_VERSION
    ]
    store_metrics(lake, name, SOURCE, [*old, *measured])
    # Last: says that everything else of these epochs is there.
    before = lake.sql("SELECT * FROM grokking_analyses", training_run=name).to_pylist()
    lake.replace("grokking_analyses", [*before, *analysed], training_run=name)
    refresh()
    return done


def _measurements(row: Mapping[str, Any], metrics: Mapping[str, tuple[float, str]]) -> list[Measurement]:
    out = []
    for metric, (value, direction) in metrics.items():
        towards: Direction = "up" if direction == "up" else "down"
        measured = row["content_hash"]
        out.append(Measurement(row["training_run"], row["epoch"], metric, value, towards, ANALYSIS_VERSION, measured))
    return out


def _drop_epochs(lake: Lake, name: str, epochs: Sequence[int]) -> None:
    """Remove what a checkpoint's earlier version, or an interrupted analysis, left."""
    listed = ", ".join(map(str, epochs))
    for table in ("grokking_analyses", *PER_CHECKPOINT):
        if lake.manifest(table, training_run=name) is None:
            continue
        where = f"epoch IN ({listed})"
        if lake.sql(f"SELECT count(*) AS n FROM {table} WHERE {where}", training_run=name)["n"][0].as_py():
            rest = lake.sql(f"SELECT * FROM {table} WHERE NOT ({where}) ORDER BY epoch", training_run=name)
            lake.replace(table, rest, training_run=name)


# --- the whole run -----------------------------------------------------------------------------


def _prime(lake: Lake, name: str) -> int:
    found = lake.sql("SELECT max(k) AS k FROM grokking_spectra", training_run=name)["k"][0].as_py()
    if found is None:
        raise UserError(f"run {name!r} has no analysed checkpoint yet")
    return 2 * int(found) + 1


def frequencies(lake: Lake, name: str, threshold: float | None = None, hysteresis: float | None = None) -> Done:
    """When each weight space adopted each frequency, every neuron's path, and how that hangs on the threshold.

    A threshold or hysteresis that is not given is the one of the last time, at first 0.5 and 0.1.
    """
    p = _prime(lake, name)
    last = lake.sql("SELECT threshold, hysteresis FROM grokking_neuron_paths LIMIT 1", training_run=name).to_pylist()
    before = last[0] if last else {"threshold": THRESHOLD, "hysteresis": HYSTERESIS}
    threshold = before["threshold"] if threshold is None else threshold
    hysteresis = before["hysteresis"] if hysteresis is None else hysteresis
    now = datetime.now(UTC)
    level = fourier.adoption_threshold(p)
    table = lake.sql(
        "SELECT space, epoch, k, fraction FROM grokking_spectra WHERE k IS NOT NULL ORDER BY space, epoch, k",
        training_run=name,
    )
    space, epoch, fraction = (np.array(table[c]) for c in ("space", "epoch", "fraction"))
    adoption_rows = []
    for each in dict.fromkeys(space.tolist()):
        mine = space == each
        epochs = np.unique(epoch[mine])
        adopted, gone = fourier.adoptions(fraction[mine].reshape(len(epochs), -1), epochs.tolist(), level)
        for k in sorted({*adopted, *gone}):
            adoption_rows.append(
                {
                    "training_run": name,
                    "space": each,
                    "k": k,
                    "adopted_at": adopted.get(k),
                    "abandoned_at": gone.get(k),
                    "threshold": level,
                    "computed_at": now,
                }
            )
    lake.replace("grokking_adoptions", adoption_rows, training_run=name)
    checkpoints, ks, values = neuron_history(lake, name)
    paths = neurons.paths(ks, values, checkpoints, threshold, hysteresis)
    stamp = {"training_run": name, "computed_at": now}
    lake.replace(
        "grokking_neuron_paths",
        [
            {
                **stamp,
                "neuron": i,
                "stops": [str(s) for s in path.stops],
                "switches": path.switches,
                "commitment": path.commitment,
                "homeless": path.homeless,
                "threshold": threshold,
                "hysteresis": hysteresis,
            }
            for i, path in enumerate(paths)
        ],
        training_run=name,
    )
    lake.replace(
        "grokking_abandoned",
        [
            {**stamp, "k": k, "first_epoch": a, "last_epoch": b, "most_neurons": n, "threshold": threshold}
            for k, a, b, n in neurons.abandoned(ks, values, checkpoints, threshold)
        ],
        training_run=name,
    )
    lake.replace(
        "grokking_sensitivity",
        [
            {**stamp, "threshold": t, "switched": switched, "homed": homed, "neurons": ks.shape[1]}
            for t, switched, homed in neurons.sensitivity(ks, values)
        ],
        training_run=name,
    )
    return Done(len(adoption_rows) + len(paths))


def neuron_history(lake: Lake, name: str) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Epochs (T,), frequencies (T, neurons; DEAD for none) and concentrations (T, neurons) of a run."""
    table = lake.sql(
        "SELECT epoch, coalesce(k, 0) AS k, concentration FROM grokking_neurons ORDER BY epoch, neuron",
        training_run=name,
    )
    epoch, k, value = (np.array(table[c]) for c in ("epoch", "k", "concentration"))
    epochs = np.unique(epoch)
    return epochs.tolist(), k.reshape(len(epochs), -1), value.reshape(len(epochs), -1)


def trajectories(lake: Lake, watcher: Watcher, name: str) -> Done:
    """The path through parameter space with its nulls, the rows' components, the ring's tones and the circle test."""
    from panic_assets.grokking.model import one_thread

    with one_thread():
        return _trajectories(lake, watcher, name)


def _trajectories(lake: Lake, watcher: Watcher, name: str) -> Done:
    from panic_assets.grokking.analysis import activations, arrays, centroids, load

    rows = runs.checkpoints(lake, name)
    epochs = [r["epoch"] for r in rows]
    if len(epochs) < 4:
        return Done(0, [f"{len(epochs)} checkpoints make no path; four or more are needed"])
    now = datetime.now(UTC)
    stamp = {"training_run": name, "computed_at": now}
    loaded = [load(r["path"]) for r in rows]
    matrices = [arrays(w) for w in loaded]
    grams = pca.grams(matrices)
    sizes = {n: m.size for n, m in matrices[0].items()}
    path_rows, ratios = [], []
    for group in (*pca.GROUPS, *pca.GROUPS["all"]):
        gram = pca.group_gram(grams, group)
        scores, speed = pca.of_gram(gram).scores, [None, *pca.velocities(gram, epochs).tolist()]
        for epoch, score, v in zip(epochs, scores.tolist(), speed, strict=True):
            pcs = dict(zip(("pc1", "pc2", "pc3"), score, strict=True))
            path_rows.append({"training_run": name, "matrices": group, "epoch": epoch, **pcs, "velocity": v})
        if group in pca.GROUPS:
            ratios += [{**stamp, "matrices": group, **row} for row in _ratios(scores, epochs)]
    lake.replace("grokking_trajectory", path_rows, training_run=name)
    lake.replace("grokking_ratios", ratios, training_run=name)
    shares, scores_of_rows = _row_pca(name, epochs, matrices)
    lake.replace("grokking_row_pca", shares, training_run=name)
    lake.replace("grokking_row_scores", scores_of_rows, training_run=name)
    standing = []
    with watcher.stage("nulls", len(pca.GROUPS), "groups") as advance:
        for group in pca.GROUPS:
            dimension = sum(sizes[n] for n in pca.GROUPS[group])
            for s in lissajous.against_nulls(pca.group_gram(grams, group), dimension, DRAWS):
                standing.append({**stamp, "matrices": group, **_fields(s)})
            advance(1)
    lake.replace("grokking_lissajous", standing, training_run=name)
    last = loaded[-1]
    p = len(matrices[-1]["W_E"]) - 1
    rings = centroids(activations(last), p)
    lake.replace("grokking_tones", list(_tones(stamp, epochs[-1], rings)), training_run=name)
    lake.replace("grokking_circle", [_circle(lake, name, now, epochs, grams, sizes)], training_run=name)
    return Done(len(path_rows) + len(standing))


def _ratios(scores: np.ndarray, epochs: Sequence[int]) -> Iterator[dict[str, Any]]:
    found = lissajous.cycles(scores, epochs)
    for a, b in lissajous.PAIRS:
        one, two = found[a - 1], found[b - 1]
        if one is None or two is None:
            continue
        ratio = lissajous.ratio(one, two)
        yield {
            "first": a,
            "second": b,
            "cycles_first": one,
            "cycles_second": two,
            "ratio": ratio.value,
            "rational": str(ratio),
            "chance": ratio.chance,
            "of_a_walk": a / b,
        }


def _fields(standing: lissajous.Standing) -> dict[str, Any]:
    return {
        "statistic": standing.statistic,
        "value": standing.value,
        "null_model": standing.null,
        "median": standing.median,
        "percentile": standing.percentile,
        "draws": standing.draws,
    }


def _row_pca(
    name: str, epochs: Sequence[int], matrices: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], pa.Table]:
    """Rows of grokking_row_pca (shares) and of grokking_row_scores (coordinates)."""
    rows = [pca.token_rows(weights) for weights in matrices]
    shares, scores = [], []
    for matrix in rows[-1]:
        own = [pca.of_rows(r[matrix]) for r in rows]
        turned = pca.aligned([found.scores for found in own])
        for epoch, r, found, mine in zip(epochs, rows, own, turned, strict=True):
            # Without directions of its own at the end, a matrix has no final basis.
            fixed = pca.project(r[matrix], own[-1]) if own[-1].axes is not None else (np.zeros_like(mine), None)
            for basis, at, share in (("own", mine, found.shares), ("final", *fixed)):
                place = {"training_run": name, "epoch": epoch, "matrix": matrix, "basis": basis}
                part = [None if share is None or i >= len(share) else float(share[i]) for i in range(3)]
                shares.append(place | dict(zip(("pc1", "pc2", "pc3"), part, strict=True)))
                width = 3 - at.shape[1]
                scores.append((place, np.pad(at, ((0, 0), (0, width)))))
    lengths = [len(at) for _, at in scores]
    columns = {c: np.repeat([place[c] for place, _ in scores], lengths) for c in scores[0][0]}
    columns["item"] = np.concatenate([np.arange(n) for n in lengths])
    together = np.concatenate([at for _, at in scores])
    return shares, pa.table({**columns, **{f"pc{i + 1}": together[:, i] for i in range(3)}})


def _tones(stamp: Mapping[str, Any], epoch: int, rings: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    for site, points in rings.items():
        found = pca.of_rows(points)
        if found.shares is None:
            continue
        tones = lissajous.ring_tones(found.scores)
        for tone, following in zip(tones, [*tones[1:], None], strict=True):
            if tone is not None:
                yield {
                    **stamp,
                    "epoch": epoch,
                    "site": site,
                    "component": tone.component,
                    "k": tone.k,
                    "ratio_to_next": None if following is None else lissajous.reduced(tone.k, following.k),
                    "amplitude": tone.amplitude,
                    "phase": tone.phase,
                    "r2": tone.r2,
                }


def _circle(
    lake: Lake,
    name: str,
    now: datetime,
    epochs: Sequence[int],
    grams: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
) -> dict[str, Any]:
    losses = lake.sql("SELECT epoch, train_loss FROM grokking_losses ORDER BY epoch", training_run=name)
    if losses.num_rows:
        low = circle.first_below(losses["epoch"].to_pylist(), losses["train_loss"].to_pylist(), LOW_LOSS)
    else:
        series = metric_series(lake, name, ["train_loss"]).get("train_loss")
        low = None if series is None else circle.first_below(series.epochs, series.values, LOW_LOSS)
    circularity: dict[int, dict[str, float | None]] = {}
    for site in circle.SITES:
        found = metric_series(lake, name, [f"circularity_{site}"]).get(f"circularity_{site}")
        for epoch, value in zip(found.epochs, found.values, strict=True) if found else ():
            circularity.setdefault(epoch, {})[site] = value
    test = circle.circle_hypothesis(low, epochs, pca.group_gram(grams, "all"), sum(sizes.values()), circularity, DRAWS)
    return {
        "training_run": name,
        "verdict": test.verdict,
        "reason": test.reason,
        "epoch": test.epoch,
        "checkpoint": test.checkpoint,
        "circularity": json.dumps(test.circularity, sort_keys=True),
        **{f"distance_pc{i + 1}": d for i, d in enumerate(test.distances)},
        "percentile": test.percentile,
        "computed_at": now,
    }


def loss_curves(lake: Lake, name: str) -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray] | None:
    """Epochs, train loss, test loss and test accuracy: at every epoch where trained here, else at the checkpoints."""
    table = lake.sql("SELECT * FROM grokking_losses ORDER BY epoch", training_run=name)
    if table.num_rows:
        return (
            table["epoch"].to_pylist(),
            np.array(table["train_loss"]),
            np.array(table["test_loss"]),
            np.array(table["test_accuracy"]),
        )
    found = metric_series(lake, name, ["train_loss", "test_loss", "test_accuracy"])
    if len(found) < 3:
        return None
    one = found["test_loss"]
    return list(one.epochs), *(np.array(found[m].values) for m in ("train_loss", "test_loss", "test_accuracy"))  # type: ignore[return-value]


def conclude(lake: Lake, name: str, thresholds: Sequence[float] = (1e-2, 1e-4, 1e-6)) -> Done:
    """How the run ended, how well its frequencies keep answers apart, its losses' events, and checkpoints to add."""
    curves = loss_curves(lake, name)
    if curves is None:
        return Done(0, ["no losses: the run's data split is not known"])
    epochs, train_loss, test_loss, accuracy = curves
    now = datetime.now(UTC)
    ending = outcomes.classify(epochs, test_loss.tolist())
    p = _prime(lake, name)
    ks = lake.sql(
        "SELECT k FROM grokking_adoptions WHERE space = 'W_E' AND adopted_at IS NOT NULL ORDER BY k", training_run=name
    )["k"].to_pylist()
    apart, closest = fourier.separation(p, ks) if ks else (None, None)
    base = json.loads(runs.get(lake, name)["config"]).get("base")
    paired = _paired(lake, name, base, ending)
    lake.replace(
        "grokking_outcomes",
        [
            {
                "training_run": name,
                "outcome": ending.outcome,
                "onset": ending.onset,
                "final_loss": ending.final_loss,
                "lowest_loss": ending.lowest_loss,
                "rebound": ending.rebound,
                "final_accuracy": float(accuracy[-1]),
                "frequencies": [str(k) for k in ks],
                "separation": apart,
                "closest": closest,
                "aliasing_risk": fourier.aliasing_risk(p, ks) if ks else None,
                "base_run": base if paired else None,
                "onset_shift": paired.onset_shift if paired else None,
                "loss_ratio": paired.loss_ratio if paired else None,
                "computed_at": now,
            }
        ],
        training_run=name,
    )
    schedule = [r["epoch"] for r in runs.checkpoints(lake, name)]
    event_rows = []
    for split, loss in (("train", train_loss), ("test", test_loss)):
        found = planner.events(epochs, loss.tolist(), split, thresholds)
        flagged = {c.event: c for c in planner.coarse(found, schedule)}
        for event in found:
            coarse = flagged.get(event)
            event_rows.append(
                {
                    "training_run": name,
                    "split": split,
                    "event": event.kind,
                    "epoch": event.epoch,
                    "value": event.value,
                    "start": event.start,
                    "end": event.end,
                    "ratio": event.ratio,
                    "too_coarse": coarse is not None,
                    "widest_gap": coarse.gap if coarse else None,
                    "proposed": [str(e) for e in coarse.extra] if coarse else [],
                    "computed_at": now,
                }
            )
    unique = {(r["split"], r["event"], r["epoch"], r["value"]): r for r in event_rows}
    lake.replace("loss_events", list(unique.values()), training_run=name)
    return Done(1 + len(unique))


def _paired(lake: Lake, name: str, base: str | None, ending: outcomes.Ending) -> outcomes.Paired | None:
    """Against the base run of the sweep; a child against its control, as soon as either is known."""
    if base is None or base == name or runs.find(lake, base) is None:
        return None
    curves = loss_curves(lake, base)
    return None if curves is None else outcomes.against_base(ending, outcomes.classify(curves[0], curves[2].tolist()))


def proposal(lake: Lake, name: str) -> list[int]:
    """Extra epochs that the planner proposes for a run."""
    rows = lake.sql("SELECT proposed FROM loss_events", training_run=name)["proposed"].to_pylist()
    return sorted({int(e) for proposed in rows for e in proposed})


def control_differs(lake: Lake, name: str) -> list[int] | None:
    """For a no-op control: epochs at which its checkpoint differs from its parent's. None for any other run."""
    row = runs.get(lake, name)
    if not row["parent_run"] or not name.endswith("-control"):
        return None
    parent = {r["epoch"]: r["content_hash"] for r in runs.checkpoints(lake, row["parent_run"])}
    mine = {r["epoch"]: r["content_hash"] for r in runs.checkpoints(lake, name)}
    return sorted(e for e in mine if e in parent and mine[e] != parent[e])
