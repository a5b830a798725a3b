"""Flat maps of outputs and of runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Watcher
from panic_assets.statistics.finite import number
from panic_assets.statistics.layouts import layout, layout_of_distances
from panic_assets.trajectories.stages.analysing import models_of, walked
from panic_assets.trajectories.versions import SEED

LAYOUT_POINTS = 20_000


def layouts(lake: Lake, watcher: Watcher, experiment: str) -> Done:
    """Flat maps of all outputs by embedding, and of runs by the distance of their diagrams."""
    done, models = Done(), models_of(lake, experiment)
    with watcher.stage("layouts", len(models), "models") as tell:
        for model in models:
            place = {"experiment": experiment, "embedding_model": model}
            ids: list[tuple[str, str]] = []
            blocks = []
            for one in walked(lake, experiment, model):
                ids += [(i, one.run["run_id"]) for i in one.invocations]
                blocks.append(one.vectors)
            chosen = np.sort(np.random.default_rng(SEED).permutation(len(ids))[:LAYOUT_POINTS])
            rows = _placed("outputs", [ids[i] for i in chosen], layout(np.vstack(blocks)[chosen], SEED)) if ids else []
            pairs = lake.sql("SELECT * FROM diagram_distances WHERE other_experiment = experiment", **place).to_pylist()
            runs = sorted({r[k] for r in pairs for k in ("run_id", "other_run_id")})
            position = {run: i for i, run in enumerate(runs)}
            for dimension in (0, 1):
                distances = np.zeros((len(runs), len(runs)))
                for r in (r for r in pairs if r["dimension"] == dimension):
                    i, j = position[r["run_id"]], position[r["other_run_id"]]
                    distances[i, j] = distances[j, i] = r["wasserstein"]
                rows += _placed(f"runs H{dimension}", [(r, r) for r in runs], layout_of_distances(distances, SEED))
            lake.replace("layout_points", [{**place, **row} for row in rows], **place)
            done.rows += len(rows)
            tell(1)
    return done


def _placed(kind: str, items: Sequence[tuple[str, str]], found: Any) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "item_id": item,
            "run_id": run,
            "x": float(x),
            "y": float(y),
            "trustworthiness": number(found.trustworthiness),
        }
        for (item, run), (x, y) in zip(items, found.positions, strict=True)
    ]
