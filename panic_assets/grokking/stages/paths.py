"""The path of the weights through training, compared with random walks, and the circle test."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from panic_assets.grokking.paths import lissajous
from panic_assets.grokking.spectra import circle, pca
from panic_assets.grokking.stages import products
from panic_assets.grokking.stages.measuring import scores_table, unanalysed
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Watcher
from panic_assets.training import runs
from panic_assets.training.stages import metric_series

DRAWS = 200
"""Random walks that a path is compared with, of each kind."""
LOW_LOSS = 1e-6


def trajectories(lake: Lake, watcher: Watcher, name: str) -> Done:
    """The path through parameter space with its nulls, the rows' components, the ring's tones and the circle test."""
    from panic_assets.grokking.learning.model import one_thread

    with one_thread():
        return _trajectories(lake, watcher, name)


def _trajectories(lake: Lake, watcher: Watcher, name: str) -> Done:
    from panic_assets.grokking.analysis import activations, arrays, centroids, load

    # Without those that cannot be read, or came in when the others had been analysed.
    left_out = {r["epoch"] for r in unanalysed(lake, name)}
    rows = [r for r in runs.checkpoints(lake, name) if r["epoch"] not in left_out]
    epochs = [r["epoch"] for r in rows]
    if len(epochs) < 4:
        return Done(0, [f"there are {len(epochs)} analysed checkpoints; a path needs four or more"])
    now = datetime.now(UTC)
    stamp = {"training_run": name, "computed_at": now}
    grams = products.grams(lake, watcher, name, rows)
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
    _final_basis(lake, watcher, name, rows)
    last = load(rows[-1]["path"])
    sizes = {n: m.size for n, m in arrays(last).items()}
    standing = []
    with watcher.stage("nulls", len(pca.GROUPS), "groups") as advance:
        for group in pca.GROUPS:
            dimension = sum(sizes[n] for n in pca.GROUPS[group])
            for s in lissajous.against_nulls(pca.group_gram(grams, group), dimension, DRAWS):
                standing.append({**stamp, "matrices": group, **_fields(s)})
            advance(1)
    lake.replace("grokking_lissajous", standing, training_run=name)
    p = len(arrays(last)["W_E"]) - 1
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
        "points": standing.points,
    }


def _final_basis(lake: Lake, watcher: Watcher, name: str, checkpoints: Sequence[Mapping[str, Any]]) -> None:
    """Every checkpoint's rows on the components that its matrices have at the last one."""
    from panic_assets.grokking.analysis import arrays, load, row_pca, row_scores

    basis = {
        matrix: pca.of_rows(rows) for matrix, rows in pca.token_rows(arrays(load(checkpoints[-1]["path"]))).items()
    }
    partition = {"training_run": name, "basis": "final"}
    with (
        watcher.stage("final basis", len(checkpoints), "checkpoints") as advance,
        lake.replacing("grokking_row_pca", **partition) as shares,
        lake.replacing("grokking_row_scores", **partition) as scores,
    ):
        for checkpoint in checkpoints:
            place = {**partition, "epoch": checkpoint["epoch"]}
            found = {
                # Without directions of its own at the end, a matrix has no final basis.
                matrix: pca.project(rows, basis[matrix])
                if basis[matrix].axes is not None
                else (np.zeros((len(rows), 3)), None)
                for matrix, rows in pca.token_rows(arrays(load(checkpoint["path"]))).items()
            }
            shares.add([{**place, **row} for row in row_pca({matrix: share for matrix, (_, share) in found.items()})])
            scores.add(scores_table(place, row_scores({matrix: at for matrix, (at, _) in found.items()})))
            advance(1)


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
