"""Analyses every checkpoint once."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from panic_assets import problems
from panic_assets.errors import UserError
from panic_assets.grokking.config import recipe_of
from panic_assets.grokking.missing import ANALYSIS_VERSION, MEASUREMENTS, item, unanalysed
from panic_assets.grokking.tables import PER_CHECKPOINT
from panic_assets.lake.lake import Lake
from panic_assets.problems import Problem, sentence
from panic_assets.progress import Done, Refresh, Watcher
from panic_assets.training import runs
from panic_assets.training.series import Direction, Measurement
from panic_assets.training.stages import store_metrics

SOURCE = MEASUREMENTS


def measure(lake: Lake, watcher: Watcher, refresh: Refresh, name: str) -> Done:
    """Analyse every checkpoint that was not analysed yet; rows of one that was written again are replaced."""
    todo = unanalysed(lake, name)
    done, met = Done(), list[Problem]()
    if not todo:
        _report(lake, name, met)
        return done
    from panic_assets.grokking.analysis import measure as measured_of
    from panic_assets.grokking.learning.model import one_thread

    shape = _shape(lake, name)
    config = json.loads(runs.get(lake, name)["config"])
    recipe = recipe_of(config) if "recipe" in config else None
    _drop_epochs(lake, name, [row["epoch"] for row in todo])
    measured: list[Measurement] = []
    with (
        one_thread(),
        watcher.stage("checkpoints", len(todo), "checkpoints") as advance,
        ExitStack() as stack,
    ):
        out = {
            table: stack.enter_context(lake.writer(table, training_run=name, **part))
            for table, part in PER_CHECKPOINT.items()
        }
        analysed = []
        for row in todo:
            began = time.monotonic()
            try:
                found = measured_of(_read(row["path"], shape), recipe)
            except Exception as why:  # A file can lie in ways that nobody has thought of; the others are analysed.
                told = sentence(why)
                met.append(Problem(item(row), told if row["path"] in told else f"{row['path']}: {told}", name))
                done.problems.append(f"epoch {row['epoch']}: {told}")
                advance(1)
                continue
            place = {"training_run": name, "epoch": row["epoch"]}
            for table, rows in (
                ("grokking_spectra", found.spectra),
                ("grokking_dominant", found.dominant),
                ("grokking_neurons", found.neurons),
                ("grokking_rings", found.rings),
                ("grokking_class_pca", found.class_pca),
                ("grokking_centroids", found.centroids),
                ("grokking_row_pca", found.row_pca),
            ):
                out[table].add([{**place, **PER_CHECKPOINT[table], **r} for r in rows])
            out["grokking_row_scores"].add(scores_table({**place, "basis": "own"}, found.row_scores))
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
    _report(lake, name, met)
    refresh()
    return done


def _report(lake: Lake, name: str, met: Sequence[Problem]) -> None:
    problems.report(lake, MEASUREMENTS, met, lambda row: row["subject"] == name)


def _shape(lake: Lake, name: str) -> Any:
    """The sizes of the run's model: those of its first checkpoint that can be read; None without one."""
    from panic_assets.grokking.analysis import load
    from panic_assets.grokking.learning.model import shape_of

    for row in runs.checkpoints(lake, name):
        with suppress(Exception):  # `measure` says what is wrong with each.
            return shape_of(load(row["path"]))
    return None


def _read(path: str, shape: Any) -> dict[str, Any]:
    """The weights of a checkpoint; refused where they are of another model than the run's."""
    from panic_assets.grokking.analysis import load
    from panic_assets.grokking.learning.model import shape_of

    weights = load(path)
    found = shape_of(weights)
    if found != shape:
        raise UserError(f"{path} belongs to another model, with {found}; the run has {shape}")
    return weights


def legible(lake: Lake, name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows and weights of a run's checkpoints, without those that cannot be measured; `measure` says why."""
    shape = _shape(lake, name)
    for row in runs.checkpoints(lake, name):
        try:
            weights = _read(row["path"], shape)
        except Exception:
            continue
        yield row, weights


def scores_table(place: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> pa.Table:
    """Rows of grokking_row_scores at one place, from `analysis.row_scores`."""
    count = len(columns["item"])
    return pa.table({**{name: [value] * count for name, value in place.items()}, **columns})


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
    where = f"epoch IN ({listed})"
    for table, part in {"grokking_analyses": {}, **PER_CHECKPOINT}.items():
        partition = {"training_run": name, **part}
        if lake.manifest(table, **partition) is None:
            continue
        if lake.sql(f"SELECT count(*) AS n FROM {table} WHERE {where}", **partition)["n"][0].as_py():
            rest = lake.sql(f"SELECT * FROM {table} WHERE NOT ({where}) ORDER BY epoch", **partition)
            lake.replace(table, rest, **partition)
