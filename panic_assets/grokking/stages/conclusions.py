"""How a run ended, which events its losses show, and which checkpoints to add."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from panic_assets.grokking import outcomes
from panic_assets.grokking.spectra import fourier
from panic_assets.grokking.stages.histories import prime_of
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done
from panic_assets.training import planner, runs
from panic_assets.training.stages import metric_series


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
    """Store how the run ended, how well its frequencies separate answers, events of its losses, checkpoints to add."""
    curves = loss_curves(lake, name)
    if curves is None:
        return Done(0, ["there are no losses, because the run's split into training and test pairs is not known"])
    epochs, train_loss, test_loss, accuracy = curves
    now = datetime.now(UTC)
    ending = outcomes.classify(epochs, test_loss.tolist())
    p = prime_of(lake, name)
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
    """Compare a run with its base run: the first of its sweep, or its parent. None while that has no losses."""
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
