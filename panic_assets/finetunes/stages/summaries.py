"""Averages, weak areas and reviewers' marks, stored also as metrics per epoch."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np

from panic_assets.errors import UserError
from panic_assets.finetunes import missing
from panic_assets.finetunes.missing import Plan, Row
from panic_assets.finetunes.verdicts import manual, summary
from panic_assets.finetunes.versions import MEASURE_VERSION
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done
from panic_assets.training import runs
from panic_assets.training.series import Measurement
from panic_assets.training.stages import store_metrics

SOURCE = "finetune_summary"
"""Stage under which the family's metrics are stored in table metrics."""


def summarise(lake: Lake, name: str) -> Done:
    """Averages, best epoch, weak areas and issues over the active suite version; and the spine's metrics."""
    found = missing.plan(lake, name)
    where = f"WHERE suite_hash = '{found.suite.hash}' ORDER BY epoch, prompt, seed"
    results = lake.sql(f"SELECT * FROM prompt_test_results {where}", training_run=name).to_pylist()
    regions = lake.sql(f"SELECT * FROM image_metrics {where}, region", training_run=name).to_pylist()
    answers = lake.sql(f"SELECT * FROM attribute_answers {where}, kind, name", training_run=name).to_pylist()
    made = summary.summarise(found.suite, found.depth, results, regions, answers)
    now = datetime.now(UTC)
    for table, rows in asdict(made).items():
        lake.replace(table, [{"training_run": name, "computed_at": now, **r} for r in rows], training_run=name)
    measured = [*_averages_as_metrics(found, made.epoch_averages, results), *_marks_as_metrics(lake, name)]
    store_metrics(lake, name, SOURCE, measured)
    return Done(len(made.epoch_averages))


def _averages_as_metrics(found: Plan, rows: Sequence[Row], results: Sequence[Row]) -> list[Measurement]:
    """The shallowest level under the metric's own name, deeper ones as `metric.level`: each on prompts of its own."""
    levels = [level for level, _ in summary.levels(found.suite, found.depth)]
    images: dict[int, list[str]] = defaultdict(list)
    for r in results:
        images[r["epoch"]].append(r["image_hash"])
    method = f"finetunes/{MEASURE_VERSION}/{found.suite.hash[:12]}"
    return [
        Measurement(
            training_run=found.name,
            epoch=r["epoch"],
            metric=r["metric"] if r["level"] == levels[0] else f"{r['metric']}.{r['level']}",
            value=r["mean"],
            direction="up",
            method=method,
            measured=hashlib.sha256("".join(sorted(images[r["epoch"]])).encode()).hexdigest(),
        )
        for r in rows
    ]


def _marks_as_metrics(lake: Lake, name: str) -> list[Measurement]:
    hashes = {r["epoch"]: r["content_hash"] for r in runs.checkpoints(lake, name)}
    spread = manual.spread(marks(lake, name))
    metrics = [(s.epoch, f"manual.{s.criterion}", s.mean) for s in spread]
    for epoch in sorted({s.epoch for s in spread}):
        metrics.append((epoch, "manual", float(np.mean([s.mean for s in spread if s.epoch == epoch]))))
    return [
        Measurement(name, epoch, metric, value, "up", "manual/1", hashes[epoch])
        for epoch, metric, value in metrics
        if epoch in hashes
    ]


def marks(lake: Lake, name: str) -> list[manual.Mark]:
    """Marks of the run's current checkpoints; those given to a checkpoint that was written again no longer count."""
    hashes = {r["epoch"]: r["content_hash"] for r in runs.checkpoints(lake, name)}
    rows = lake.sql("SELECT * FROM manual_scores ORDER BY given_at", training_run=name).to_pylist()
    return [
        manual.Mark(
            r["epoch"], r["subject"], r["reviewer"], r["visual"], r["style"], r["prompt"], r["note"], r["given_at"]
        )
        for r in rows
        if hashes.get(r["epoch"]) == r["checkpoint_hash"]
    ]


def store_mark(lake: Lake, name: str, mark: manual.Mark) -> None:
    """Add a reviewer's marks of a checkpoint that is there (and of a prompt that it drew, when one is named)."""
    checkpoint = next((r for r in runs.checkpoints(lake, name) if r["epoch"] == mark.epoch), None)
    if checkpoint is None:
        epochs = ", ".join(str(r["epoch"]) for r in runs.checkpoints(lake, name)) or "none"
        raise UserError(f"run {name!r} has no checkpoint of epoch {mark.epoch} (it has epochs {epochs})")
    if mark.subject:
        missing.plan(lake, name).suite.prompt(mark.subject)
    with lake.lease(f"marks of {name}", wait_seconds=30), lake.writer("manual_scores", training_run=name) as out:
        row = asdict(mark)
        row["given_at"] = row.pop("at")
        out.add([{**row, "training_run": name, "checkpoint_hash": checkpoint["content_hash"]}])
