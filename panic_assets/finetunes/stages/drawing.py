"""The pictures that checkpoints draw of a suite's prompts, or that were drawn elsewhere."""

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from panic_assets import problems
from panic_assets.compute.protocol import Compute
from panic_assets.errors import UserError
from panic_assets.finetunes import missing
from panic_assets.finetunes.drawing import generate, ingest
from panic_assets.finetunes.drawing.depth import Cell
from panic_assets.finetunes.missing import Plan, Row
from panic_assets.finetunes.pictures import measures
from panic_assets.finetunes.pictures.colour import decode
from panic_assets.finetunes.versions import DRAW_VERSION
from panic_assets.lake.lake import Lake
from panic_assets.model_settings import Recorder, held_before
from panic_assets.models.needs import needs_of
from panic_assets.models.preflight import refuse
from panic_assets.problems import Problem
from panic_assets.progress import Done, Refresh, Watcher
from panic_assets.registry import registry

BY_CHECKPOINT = ("test_images", "prompt_test_results", "image_metrics", "attribute_answers")


def draw(
    lake: Lake,
    compute: Compute,
    watcher: Watcher,
    refresh: Refresh,
    name: str,
    levels: Mapping[int, str] | None = None,
    other_precision: bool = False,
) -> Done:
    """Draw (or read) every missing cell, checkpoint by checkpoint. After a kill, the next call draws the rest.

    A base model that would be held in another way than for the pictures that exist is refused, unless `other_precision`.
    """
    found = missing.plan(lake, name)
    for level in (levels or {}).values():
        missing.check_level(found, level)
    for table, checkpoint in missing.stale(lake, name, BY_CHECKPOINT):
        lake.remove(table, training_run=name, checkpoint=checkpoint)
    if found.config.get("images"):
        return read_images(lake, name, Path(found.config["images"]), str(found.config["image_pattern"]))
    base = found.config.get("base")
    if base is None:
        return Done(
            problems=["there are no pictures, because the run names no base model; `panic finetune add` sets one"]
        )
    left = missing.undrawn(lake, found, levels)
    checkpoints = missing.current(lake, name)
    pinned = found.config.get("precision")
    asked = registry.pinned(str(base), {str(base): pinned} if pinned else {})
    tasks = [_task(found, asked, checkpoints[key], cells) for key, cells in left.items()]
    models = [] if base == generate.SYNTHETIC else [asked]
    needs = needs_of(models)
    before = None if other_precision else held_before(lake, "test_images", training_run=name)
    refuse(compute, needs, models, found.suite.generation.size, len(tasks), before)
    recorder = Recorder(lake, before)
    done, met = Done(), list[Problem]()
    keys = list(left)
    with (
        watcher.stage("drawing", sum(map(len, left.values())), "pictures") as advance,
        contextlib.ExitStack() as writers,
    ):
        out = {
            key: writers.enter_context(lake.writer("test_images", training_run=name, checkpoint=key)) for key in keys
        }
        for index, drawn in compute.stream(generate.draw, tasks, needs):
            row = checkpoints[keys[index]]
            if isinstance(drawn, generate.Refused):
                met.append(Problem(missing.item(name, keys[index]), drawn.why, name))
                done.problems.append(drawn.why)
                continue
            cell = _image_row(name, row, found.suite.hash, drawn.prompt, drawn.seed, drawn.png, "drawn", str(base))
            if drawn.settings:
                recorder.note(drawn.settings)
                cell["settings_id"] = drawn.settings.id
            if out[keys[index]].add([cell]):
                refresh()
            done.rows += 1
            advance(1)
    problems.report(lake, missing.IMAGES, met, lambda row: row["subject"] == name)
    return done


def _task(found: Plan, base: str, checkpoint: Row, cells: Sequence[Cell]) -> generate.Task:
    return generate.Task(
        base=base,
        checkpoint=checkpoint["path"],
        checkpoint_hash=checkpoint["content_hash"],
        cells=tuple(cells),
        generation=found.suite.generation,
        scale=float(found.config.get("scale", 1.0)),
    )


def _image_row(
    name: str, checkpoint: Row, suite_hash: str, prompt: str, seed: int, data: bytes, source: str, origin: str
) -> Row:
    return {
        "training_run": name,
        "checkpoint": missing.checkpoint_key(checkpoint["epoch"], checkpoint["content_hash"]),
        "epoch": checkpoint["epoch"],
        "checkpoint_hash": checkpoint["content_hash"],
        "suite_hash": suite_hash,
        "prompt": prompt,
        "seed": seed,
        "image": data,
        "image_hash": measures.content_hash(data),
        "source": source,
        "origin": origin,
        "settings_id": None,
        "draw_version": DRAW_VERSION,
        "drawn_at": datetime.now(UTC),
    }


def read_images(lake: Lake, name: str, folder: Path, pattern: str) -> Done:
    """Take pictures drawn elsewhere as cells. A picture that differs from the one its cell has is not taken."""
    found = missing.plan(lake, name)
    checkpoints = {r["epoch"]: r for r in missing.current(lake, name).values()}
    told = ingest.find(folder, found.suite, pattern)
    done = Done(problems=[f"{path} was not read: {why}" for path, why in told.strangers])
    have = {
        (r["epoch"], r["prompt"], r["seed"]): r["image_hash"]
        for r in lake.sql(
            "SELECT epoch, prompt, seed, image_hash FROM test_images WHERE suite_hash = ?",
            [found.suite.hash],
            training_run=name,
        ).to_pylist()
    }
    rows: dict[str, list[Row]] = defaultdict(list)
    for one in told.found:
        checkpoint = checkpoints.get(one.epoch)
        if checkpoint is None:
            done.problems.append(f"{one.path} was not read: epoch {one.epoch} has no registered checkpoint")
            continue
        data = one.path.read_bytes()
        known = have.get((one.epoch, one.prompt, one.seed))
        if known is not None:
            if known != measures.content_hash(data):
                done.problems.append(f"{one.path} was not read: its cell already has another picture ({known[:12]}...)")
            continue
        try:
            decode(data)
        except UserError as error:
            done.problems.append(f"{one.path} was not read: {error}")
            continue
        row = _image_row(name, checkpoint, found.suite.hash, one.prompt, one.seed, data, "ingested", str(one.path))
        rows[row["checkpoint"]].append(row)
    for key, new in rows.items():
        with lake.writer("test_images", training_run=name, checkpoint=key) as out:
            out.add(new)
        done.rows += len(new)
    return done
