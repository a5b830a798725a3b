"""What is missing of a fine-tune: one query per stage, used by the stages, the sensor, the checks and status."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panic_assets.asleep import asleep
from panic_assets.errors import UserError, suggest
from panic_assets.finetunes import versions
from panic_assets.finetunes.config import FAMILY
from panic_assets.finetunes.drawing import depth, ingest, suites
from panic_assets.finetunes.drawing.depth import Cell, Depth
from panic_assets.finetunes.drawing.suites import Suite
from panic_assets.lake.lake import Lake
from panic_assets.problems import open_problems
from panic_assets.training import runs
from panic_assets.training.missing import current_runs
from panic_assets.workload import Missing, Query

if TYPE_CHECKING:
    from panic_assets.finetunes.pictures import attributes
else:
    attributes = asleep("panic_assets.finetunes.pictures.attributes")

IMAGES = "test_images"
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How a run is tested: its row, its configuration, the active suite, its depth."""

    row: Row
    config: Mapping[str, Any]
    suite: Suite
    depth: Depth

    @property
    def name(self) -> str:
        """The run."""
        return str(self.row["training_run"])


def plan(lake: Lake, name: str) -> Plan:
    """The plan of a registered run; the suite that ships where none is stored."""
    row = runs.get(lake, name)
    if row["family"] != FAMILY.name:
        raise UserError(
            f"run {name!r} belongs to family {row['family']}; a fine-tune is needed (`panic training list` shows them)"
        )
    config = json.loads(row["config"])
    stored = lake.sql("SELECT definition FROM prompt_suites WHERE active", training_run=name)["definition"].to_pylist()
    suite = suites.from_json(stored[0]) if stored else suites.default()
    return Plan(row, config, suite, depth.parse(config.get("depth")))


def checkpoint_key(epoch: int, content_hash: str) -> str:
    """The name of one version of one epoch: a checkpoint that is written again has another one."""
    return f"{epoch:06d}-{content_hash[:12]}"


def current(lake: Lake, name: str) -> dict[str, Row]:
    """The run's current checkpoints by key, epochs ascending."""
    return {checkpoint_key(r["epoch"], r["content_hash"]): r for r in runs.checkpoints(lake, name)}


def check_level(found: Plan, level: str) -> None:
    """Refuses a level that the run's depth does not have."""
    levels = found.depth.levels
    if level not in levels:
        raise UserError(f"level is {level!r}{suggest(level, levels)} (accepted: {', '.join(levels)})")


def undrawn(lake: Lake, found: Plan, levels: Mapping[int, str] | None = None) -> dict[str, list[Cell]]:
    """Cells still to draw, by checkpoint. `levels` deepens epochs beyond their configured level."""
    have: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for r in lake.sql(
        "SELECT checkpoint, prompt, seed FROM test_images WHERE suite_hash = ?",
        [found.suite.hash],
        training_run=found.name,
    ).to_pylist():
        have[r["checkpoint"]].add((r["prompt"], r["seed"]))
    left = {}
    for key, row in current(lake, found.name).items():
        count = found.depth.count(row["epoch"])
        if levels and row["epoch"] in levels:
            count = max(count, found.depth.levels[levels[row["epoch"]]])
        cells = depth.missing(found.suite, count, have[key])
        if cells:
            left[key] = cells
    return left


def refused(lake: Lake, name: str) -> set[str]:
    """Keys of checkpoints that cannot draw: their cells wait for a person, and not for a stage. A file that is gone may
    come back."""
    told = {row["item"] for row in open_problems(lake, name, IMAGES)}
    found = current(lake, name).items()
    return {key for key, row in found if item(name, key) in told or not Path(row["path"]).is_file()}


def item(name: str, key: str) -> str:
    """What a problem of a checkpoint is about: this version of this epoch."""
    return f"checkpoint {key} of {name}"


def stale(lake: Lake, name: str, tables: Collection[str]) -> list[tuple[str, str]]:
    """(table, checkpoint) partitions of checkpoints that were written again or are gone."""
    keep = set(current(lake, name))
    return [
        (table, partition["checkpoint"])
        for table in tables
        for partition, _ in lake.partitions(table, training_run=name)
        if partition["checkpoint"] not in keep
    ]


def unmeasured(lake: Lake, name: str) -> list[Row]:
    """Cells without a result by this version of the measures: their keys, without the pictures."""
    return lake.sql(
        """SELECT checkpoint, epoch, checkpoint_hash, suite_hash, prompt, seed, image_hash FROM test_images t
           WHERE NOT EXISTS (SELECT 1 FROM prompt_test_results r WHERE r.checkpoint = t.checkpoint
                             AND r.suite_hash = t.suite_hash AND r.prompt = t.prompt AND r.seed = t.seed
                             AND r.image_hash = t.image_hash AND r.metric_version = ?)
           ORDER BY ALL""",
        [versions.METRIC_VERSION],
        training_run=name,
    ).to_pylist()


def unasked(lake: Lake, found: Plan) -> list[Row]:
    """Cells that the configured models have not judged yet; empty if no model is configured."""
    detector = attributes.Viewers.of(found.config).label
    if detector is None:
        return []
    return lake.sql(
        """SELECT checkpoint, epoch, checkpoint_hash, suite_hash, prompt, seed, image_hash FROM test_images t
           WHERE suite_hash = ? AND NOT EXISTS (
               SELECT 1 FROM attribute_answers a WHERE a.checkpoint = t.checkpoint AND a.suite_hash = t.suite_hash
               AND a.prompt = t.prompt AND a.seed = t.seed AND a.image_hash = t.image_hash AND a.detector = ?)
           ORDER BY ALL""",
        [found.suite.hash, detector],
        training_run=found.name,
    ).to_pylist()


def unread(lake: Lake, found: Plan) -> list[ingest.Found]:
    """Pictures in the run's image folder whose cell has none yet, of epochs with a checkpoint. Empty if the folder does
    not exist or two files claim the same cell; reading them says so."""
    epochs = {r["epoch"] for r in current(lake, found.name).values()}
    try:
        told = ingest.find(Path(found.config["images"]), found.suite, str(found.config["image_pattern"]), epochs)
    except UserError:
        return []
    have = {
        (r["epoch"], r["prompt"], r["seed"])
        for r in lake.sql(
            "SELECT epoch, prompt, seed FROM test_images WHERE suite_hash = ?",
            [found.suite.hash],
            training_run=found.name,
        ).to_pylist()
    }
    return [f for f in told.found if (f.epoch, f.prompt, f.seed) not in have]


def missing(lake: Lake, name: str) -> dict[str, int]:
    """How many cells each stage still has to do."""
    found = plan(lake, name)
    if found.config.get("images"):
        images = len(unread(lake, found))
    elif found.config.get("base") is not None:
        cannot = refused(lake, name)
        images = sum(len(cells) for key, cells in undrawn(lake, found).items() if key not in cannot)
    else:
        images = 0
    return {
        "test_images": images,
        "prompt_test_results": len(unmeasured(lake, name)),
        "attribute_answers": len(unasked(lake, found)),
    }


def _suites(lake: Lake, key: str | None) -> Iterable[Missing]:
    """A run without an active prompt suite. One that says neither how to draw nor where pictures are is not tested."""
    for name in current_runs(lake, FAMILY.name, key):
        config = plan(lake, name).config
        if config.get("base") is None and not config.get("images"):
            continue
        stored = lake.sql("SELECT count(*) AS n FROM prompt_suites WHERE active", training_run=name)["n"][0].as_py()
        yield Missing("prompt_suites", name, int(not stored), 1, "active suites")


def _captions(lake: Lake, key: str | None) -> Iterable[Missing]:
    """A run that names captions which were never checked."""
    for name in current_runs(lake, FAMILY.name, key):
        if plan(lake, name).config.get("captions"):
            never = lake.manifest("captions", caption_set=name) is None
            yield Missing("captions", name, int(never), 1, "checks of captions", on_request=True)


def _cells(asset: str, stages: tuple[str, ...], unit: str) -> Query:
    """Cells that an asset has not drawn or measured yet."""

    def ask(lake: Lake, key: str | None) -> Iterable[Missing]:
        for name in current_runs(lake, FAMILY.name, key):
            left = missing(lake, name)
            drawn = lake.sql("SELECT count(*) AS n FROM test_images", training_run=name)["n"][0].as_py()
            count = sum(left[stage] for stage in stages)
            yield Missing(asset, name, count, drawn + left["test_images"], unit)

    return ask


def _follows(asset: str, table: str, upstream: str, unit: str) -> Query:
    """What is made of another table's rows must be newer than they are."""

    def ask(lake: Lake, key: str | None) -> Iterable[Missing]:
        for name in current_runs(lake, FAMILY.name, key):
            changed = [m.written_at for _, m in lake.partitions(upstream, training_run=name)]
            made = [m.written_at for _, m in lake.partitions(table, training_run=name)]
            if changed:
                late = not made or max(made) < max(changed)
                yield Missing(asset, name, int(late), 1, unit, stale=bool(made), on_request=True)

    return ask


OF_RUN: dict[str, Query] = {
    "prompt_suites": _suites,
    "captions": _captions,
    "test_images": _cells("test_images", ("test_images",), "pictures"),
    "image_metrics": _cells("image_metrics", ("prompt_test_results", "attribute_answers"), "measurements"),
    "finetune_summary": _follows("finetune_summary", "epoch_averages", "prompt_test_results", "summaries"),
    "finetune_reports": _follows("finetune_reports", "finetune_reports", "epoch_averages", "reports"),
    "ab_results": _follows("ab_results", "ab_results", "ab_votes", "counts of votes"),
}
"""Asset -> what it still has to do for a run."""


def cell_of(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """What a picture shows: suite, prompt, seed."""
    return row["suite_hash"], row["prompt"], row["seed"]


def images(lake: Lake, name: str, checkpoint: str) -> dict[tuple[str, str, int], bytes]:
    """The pictures of a checkpoint, by what they show."""
    rows = lake.sql(
        "SELECT suite_hash, prompt, seed, image FROM test_images", training_run=name, checkpoint=checkpoint
    ).to_pylist()
    return {cell_of(r): r["image"] for r in rows}
