"""What is missing of the grokking runs, asked of the lake."""

from collections.abc import Iterable, Mapping
from typing import Any

from panic_assets.grokking.config import FAMILY
from panic_assets.lake.lake import Lake
from panic_assets.problems import open_problems
from panic_assets.training import runs
from panic_assets.training.missing import current_runs
from panic_assets.workload import Missing, Query

MEASUREMENTS = "grokking_measurements"
TRAIN_VERSION = "2"
ANALYSIS_VERSION = "3"
"""Version of what is measured of a checkpoint: another one makes every checkpoint's measurements missing."""


def unanalysed(lake: Lake, name: str) -> list[dict[str, Any]]:
    """Current checkpoints that were not analysed yet: new, written again since, or by another version of the code."""
    return lake.sql(
        "SELECT c.* FROM checkpoints c ANTI JOIN grokking_analyses a ON a.epoch = c.epoch "
        "AND a.content_hash = c.content_hash AND a.code_version = ? WHERE c.current ORDER BY c.epoch",
        [ANALYSIS_VERSION],
        training_run=name,
    ).to_pylist()


def item(row: Mapping[str, Any]) -> str:
    """What a problem of a checkpoint is about: this content of this epoch."""
    return f"epoch {row['epoch']} of {row['training_run']} (content {row['content_hash'][:12]})"


def trained(lake: Lake, in_training: bool) -> list[str]:
    """Runs that may have checkpoints to analyse; unless asked for, without those that are being trained here."""
    left_out = {runs.TOMBSTONE} if in_training else {runs.TOMBSTONE, "registered", "training"}
    return [r["training_run"] for r in runs.every(lake, FAMILY.name) if r["status"] not in left_out]


def waiting(lake: Lake, in_training: bool) -> dict[str, list[dict[str, Any]]]:
    """Runs -> their checkpoints that were not analysed yet; without runs that have none."""
    found = {name: unanalysed(lake, name) for name in trained(lake, in_training)}
    return {name: left for name, left in found.items() if left}


def _training(lake: Lake, key: str | None) -> Iterable[Missing]:
    """Epochs that a run registered here has not been trained for."""
    for name in current_runs(lake, FAMILY.name, key):
        row = runs.get(lake, name)
        if row["status"] in ("registered", "training", "failed") and row["planned_epochs"]:
            done = lake.sql("SELECT coalesce(max(epoch), 0) AS n FROM grokking_losses", training_run=name)
            left = max(0, row["planned_epochs"] - done["n"][0].as_py())
            yield Missing("grokking_training", name, left, row["planned_epochs"], "epochs", on_request=True)


def _measurements(lake: Lake, key: str | None) -> Iterable[Missing]:
    """Checkpoints that nobody has analysed as they are; while a run is trained, more come in and none is missing."""
    for name in current_runs(lake, FAMILY.name, key):
        total = len(runs.checkpoints(lake, name))
        busy = runs.get(lake, name)["status"] in ("registered", "training")
        broken = {row["item"] for row in open_problems(lake, name, MEASUREMENTS)}
        left = 0 if busy else sum(item(row) not in broken for row in unanalysed(lake, name))
        yield Missing(MEASUREMENTS, name, left, total, "analyses of checkpoints", stale=True)


def _renders(lake: Lake, key: str | None) -> Iterable[Missing]:
    """Animations that were asked for and are not drawn."""
    for name in current_runs(lake, FAMILY.name, key):
        rows = lake.sql("SELECT status FROM renders", training_run=name)["status"].to_pylist()
        queued = sum(status in ("queued", "drawing") for status in rows)
        yield Missing("grokking_renders", name, queued, len(rows), "animations", on_request=True)


def _concluded(asset: str, table: str) -> Query:
    """What is concluded over the run must be newer than its newest measurement."""

    def ask(lake: Lake, key: str | None) -> Iterable[Missing]:
        for name in current_runs(lake, FAMILY.name, key):
            measured = lake.manifest("grokking_analyses", training_run=name)
            made = [m.written_at for _, m in lake.partitions(table, training_run=name)]
            if measured is not None:
                late = not made or max(made) < measured.written_at
                yield Missing(asset, name, int(late), 1, "conclusions", stale=bool(made), on_request=True)

    return ask


OF_RUN: dict[str, Query] = {
    "grokking_training": _training,
    MEASUREMENTS: _measurements,
    "grokking_frequencies": _concluded("grokking_frequencies", "grokking_adoptions"),
    "grokking_trajectories": _concluded("grokking_trajectories", "grokking_trajectory"),
    "grokking_outcomes": _concluded("grokking_outcomes", "grokking_outcomes"),
    "grokking_renders": _renders,
}
"""Asset -> what it still has to do for a run."""
