"""Summarises a run's cells: averages per epoch and level, the best epoch, weak areas and issues, as rows.

A depth *level* is a number of prompts from the start of the suite. An epoch belongs to a level if it was tested with
all of them. Epochs are compared only within a level, so always on the same prompts.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from panic_assets.finetunes.drawing import depth as depths
from panic_assets.finetunes.drawing.depth import Depth
from panic_assets.finetunes.drawing.suites import Suite
from panic_assets.finetunes.pictures.colour import name_of
from panic_assets.finetunes.verdicts import averages, issues, weak
from panic_assets.finetunes.verdicts.averages import Choice, Inflection, Value
from panic_assets.finetunes.verdicts.weak import Trait

METRICS = (
    "colour",
    "background",
    "hair",
    "skin",
    "clothes",
    "grid",
    "sharpness",
    "accessories",
    "expression",
    "alignment",
)
"""Numbers of a cell that are averaged: columns of `prompt_test_results`, each 0..100, more is better."""
TARGET = "colour"
"""The metric an epoch is chosen by."""
ENOUGH_EPOCHS = 3
"""The deepest level with this many epochs decides; two epochs show a difference, but no trend."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """Rows for the tables of the same names, without the run's name and the time."""

    epoch_averages: list[Row]
    epoch_choices: list[Row]
    weak_areas: list[Row]
    epoch_issues: list[Row]


def summarise(
    suite: Suite, depth: Depth, results: Sequence[Row], regions: Sequence[Row], answers: Sequence[Row]
) -> Summary:
    """From rows of `prompt_test_results`, `image_metrics` and `attribute_answers`, all of one suite version."""
    averaged, choices = [], []
    for level, count in levels(suite, depth):
        prompts = {p.id for p in suite.prompts[:count]}
        tested: dict[int, set[str]] = defaultdict(set)
        for r in results:
            tested[r["epoch"]].add(r["prompt"])
        epochs = {epoch for epoch, seen in tested.items() if prompts <= seen}
        for metric in METRICS:
            held = _comparable(values(results, metric), prompts, epochs)
            averaged += [_average(level, metric, epoch, found) for epoch, found in held.items()]
            if metric == TARGET:
                shown = averages.table(held)
                choices.append(_choice(level, metric, averages.choose(shown), averages.inflection(shown), held))
    decide(choices)
    scores = traits(regions, answers)
    return Summary(averaged, [c for c in choices if c["epochs"]], _weak(scores), _issues(scores))


def levels(suite: Suite, depth: Depth) -> list[tuple[str, int]]:
    """Levels by depth with how many prompts of this suite each takes; levels with the same number are one."""
    by_count: dict[int, str] = {}
    for level, count in sorted(depth.levels.items(), key=lambda kv: kv[1]):
        by_count.setdefault(min(count, len(suite.prompts)), level)
    return [(level, count) for count, level in sorted(by_count.items())]


def values(results: Iterable[Row], metric: str) -> list[Value]:
    """The cells that have the metric."""
    return [
        Value(r["epoch"], r["prompt"], r["seed"], r[metric], r["suite_hash"]) for r in results if r[metric] is not None
    ]


def _comparable(cells: Sequence[Value], prompts: Collection[str], epochs: Collection[int]) -> dict[int, list[Value]]:
    """The epochs' cells on those of the prompts that have a value in each of these epochs.

    A value may be missing where it cannot be told (hair under a hat, no face found); such a prompt is then
    left out for all of them, so that the rest stays comparable.
    """
    inside = [v for v in cells if v.epoch in epochs and v.prompt in prompts]
    shared = depths.shared({e: {v.prompt for v in inside if v.epoch == e} for e in epochs})
    return averages.by_epoch(v for v in inside if v.prompt in shared)


def _average(level: str, metric: str, epoch: int, held: Sequence[Value]) -> Row:
    told = averages.average(held)
    return {
        "suite_hash": held[0].suite,
        "level": level,
        "metric": metric,
        "epoch": epoch,
        "mean": told.mean,
        "low": told.low,
        "high": told.high,
        "prompts": told.prompts,
        "cells": told.cells,
    }


def _choice(
    level: str, metric: str, chosen: Choice | None, turn: Inflection | None, held: Mapping[int, Sequence[Value]]
) -> Row:
    below = chosen.last_below if chosen else None
    return {
        "level": level,
        "metric": metric,
        "epochs": len(held),
        "suite_hash": next((v.suite for cells in held.values() for v in cells), ""),
        "best_epoch": chosen.epoch if chosen else None,
        "confidence": chosen.confidence if chosen else None,
        "shares": json.dumps(chosen.shares) if chosen else None,
        "p": chosen.p if chosen else None,
        "marked": bool(chosen and chosen.above_noise),
        "last_epoch": max(held, default=None),
        "last_below": below[0] if below else None,
        "last_below_low": below[1] if below else None,
        "last_below_high": below[2] if below else None,
        "inflection_epoch": turn.epoch if turn else None,
        "inflection_p": turn.p if turn else None,
        "inflection_marked": bool(turn and turn.above_noise),
        "prompts": chosen.prompts if chosen else 0,
        "cells": chosen.cells if chosen else 0,
        "deciding": False,
        "recommendation": None,
    }


def decide(choices: Sequence[Row]) -> None:
    """Marks the row that decides and writes its recommendation: `continue`, or `stop, epoch X is best`.

    Stop when the best epoch is not the last, and the last lies below it by more than noise (95% interval).
    """
    usable = [c for c in choices if c["best_epoch"] is not None]
    deep = [c for c in usable if c["epochs"] >= ENOUGH_EPOCHS]
    if not usable:
        return
    deciding = deep[-1] if deep else usable[-1]
    deciding["deciding"] = True
    fell = deciding["last_below_low"] is not None and deciding["last_below_low"] > 0
    deciding["recommendation"] = f"stop, epoch {deciding['best_epoch']} is best" if fell else "continue"


def traits(regions: Iterable[Row], answers: Iterable[Row]) -> list[tuple[int, Trait]]:
    """Every attribute that was asked for and could be judged, with its epoch."""
    found = [
        (
            r["epoch"],
            Trait(r["checkpoint_hash"], r["prompt"], r["seed"], r["region"], name_of(r["expected"]), r["score"]),
        )
        for r in regions
        if r["score"] is not None
    ]
    found += [
        (
            a["epoch"],
            Trait(a["checkpoint_hash"], a["prompt"], a["seed"], a["kind"], a["name"], 100.0 * (a["verdict"] == "yes")),
        )
        for a in answers
        if a["verdict"] != "cannot tell" and a["kind"] != "prompt"
    ]
    return found


def _weak(scores: Sequence[tuple[int, Trait]]) -> list[Row]:
    rows = []
    for epoch in [None, *sorted({e for e, _ in scores})]:
        scope = "all epochs" if epoch is None else f"epoch {epoch}"
        for area in weak.weak_areas([t for e, t in scores if epoch in (None, e)]):
            rows.append({"scope": scope, "epoch": epoch, **area.__dict__, "sentence": area.sentence})
    return rows


def _issues(scores: Sequence[tuple[int, Trait]]) -> list[Row]:
    by_name: dict[str, dict[int, list[Value]]] = defaultdict(lambda: defaultdict(list))
    for epoch, t in scores:
        by_name[f"{t.value} {t.measure}"][epoch].append(Value(epoch, t.prompt, t.seed, t.score, ""))
    means = {
        name: {epoch: averages.average(held).mean for epoch, held in by_epoch.items()}
        for name, by_epoch in by_name.items()
    }
    return [{"issue": i.name, "epoch": i.epoch, "score": i.score, "state": i.state} for i in issues.track(means)]
