"""The stages of the fine-tunes family: read from the lake, call the pure functions, write to the lake. No Dagster."""

import contextlib
import hashlib
import json
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from panic_assets.compute.protocol import Compute, Needs, Worker
from panic_assets.errors import UserError, suggest
from panic_assets.finetunes import (
    attributes,
    blind,
    caption_files,
    captions,
    generate,
    ingest,
    manual,
    measures,
    report,
    summary,
    work,
)
from panic_assets.finetunes.colour import decode
from panic_assets.finetunes.config import FAMILY, FineTune
from panic_assets.finetunes.depth import Cell
from panic_assets.finetunes.suites import Suite, from_json
from panic_assets.finetunes.work import Plan, Row
from panic_assets.lake.lake import Lake
from panic_assets.models import registry
from panic_assets.progress import Watcher
from panic_assets.training import runs
from panic_assets.training.series import Measurement
from panic_assets.training.stages import Done, store_metrics

SOURCE = "finetune_summary"
"""Asset that hands the family's metrics to the spine."""
BY_CHECKPOINT = ("test_images", "prompt_test_results", "image_metrics", "attribute_answers")
MEASURE_VERSION = f"{measures.VERSION}.{summary.VERSION}"
_CHUNK = 16
Refresh = Callable[[], None]


# --- registering -------------------------------------------------------------------------------


def register(lake: Lake, tune: FineTune) -> bool:
    """Register a fine-tune and its suite; True when it is new.

    A run that the checkpoint sensor met first, without a configuration, is given this one.
    """
    check_suite(lake, tune.suite)
    row = runs.find(lake, tune.name)
    if row is not None and row["family"] == FAMILY and set(json.loads(row["config"])) <= {"url", "pattern"}:
        text = json.dumps(tune.stored, sort_keys=True, ensure_ascii=False)
        runs.change(
            lake,
            tune.name,
            config=text,
            config_hash=hashlib.sha256(text.encode()).hexdigest(),
            folder=tune.folder,
            planned_epochs=tune.epochs,
            card=tune.card,
            budget=tune.budget,
        )
        new = True
    else:
        new = runs.register(
            lake,
            runs.NewRun(
                name=tune.name,
                family=FAMILY,
                config=tune.stored,
                folder=tune.folder,
                parent=tune.parent,
                status="watched",
                planned_epochs=tune.epochs,
                card=tune.card,
                budget=tune.budget,
            ),
        )
    store_suite(lake, tune.name, tune.suite)
    return new


def check_suite(lake: Lake, suite: Suite) -> None:
    """Refuses a suite whose content changed under a name and version that are known."""
    known = lake.sql(
        "SELECT DISTINCT suite_hash FROM prompt_suites WHERE suite = ? AND version = ?", [suite.name, suite.version]
    )["suite_hash"].to_pylist()
    if known and suite.hash not in known:
        raise UserError(
            f"suite {suite.name!r} version {suite.version} is known with other content; "
            f"a changed suite needs a new version, like {suite.version + 1}"
        )


def store_suite(lake: Lake, name: str, suite: Suite) -> bool:
    """Make a suite version the run's active one; True when the run did not have it. Older versions keep their rows."""
    check_suite(lake, suite)
    with lake.lease(f"suites of {name}", wait_seconds=30):
        old = lake.sql("SELECT * FROM prompt_suites", training_run=name).to_pylist()
        known = next((r for r in old if r["suite_hash"] == suite.hash), None)
        row = known or {
            "training_run": name,
            "suite": suite.name,
            "version": suite.version,
            "suite_hash": suite.hash,
            "prompts": len(suite.prompts),
            "cells": sum(len(p.seeds) for p in suite.prompts),
            "definition": suite.json,
            "registered_at": datetime.now(UTC),
        }
        others = [{**r, "active": False} for r in old if r["suite_hash"] != suite.hash]
        lake.replace("prompt_suites", [*others, {**row, "active": True}], training_run=name)
    return known is None


# --- pictures ----------------------------------------------------------------------------------


def draw(
    lake: Lake,
    compute: Compute,
    watcher: Watcher,
    refresh: Refresh,
    name: str,
    levels: Mapping[int, str] | None = None,
) -> Done:
    """Draw (or read) every cell that is missing, checkpoint by checkpoint; a killed step goes on at the last flush."""
    found = work.plan(lake, name)
    for level in (levels or {}).values():
        work.check_level(found, level)
    for table, checkpoint in work.stale(lake, name, BY_CHECKPOINT):
        lake.remove(table, training_run=name, checkpoint=checkpoint)
    if found.config.get("images"):
        return read_images(lake, name, Path(found.config["images"]), str(found.config["image_pattern"]))
    base = found.config.get("base")
    if base is None:
        return Done(problems=["no pictures: the run names no base model; `panic finetune add` gives it one"])
    left = work.undrawn(lake, found, levels)
    checkpoints = work.current(lake, name)
    tasks = [_task(found, str(base), checkpoints[key], cells) for key, cells in left.items()]
    done = Done()
    keys = list(left)
    with (
        watcher.stage("drawing", sum(map(len, left.values())), "pictures") as advance,
        contextlib.ExitStack() as writers,
    ):
        out = {
            key: writers.enter_context(lake.writer("test_images", training_run=name, checkpoint=key)) for key in keys
        }
        for index, drawn in compute.stream(generate.draw, tasks, needs_of(str(base))):
            row = checkpoints[keys[index]]
            cell = _image_row(name, row, found.suite.hash, drawn.prompt, drawn.seed, drawn.png, "drawn", str(base))
            if out[keys[index]].add([cell]):
                refresh()
            done.rows += 1
            advance(1)
    return done


def needs_of(base: str) -> Needs:
    """What drawing with a base asks of a machine."""
    if base == generate.SYNTHETIC:
        return Needs()
    spec = registry.get(base)
    return Needs(device=spec.device, gpus=1.0 if spec.device == "gpu" else 0.0, vram_gb=spec.vram_gb, memory_gb=8.0)


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
        "checkpoint": work.checkpoint_key(checkpoint["epoch"], checkpoint["content_hash"]),
        "epoch": checkpoint["epoch"],
        "checkpoint_hash": checkpoint["content_hash"],
        "suite_hash": suite_hash,
        "prompt": prompt,
        "seed": seed,
        "image": data,
        "image_hash": measures.content_hash(data),
        "source": source,
        "origin": origin,
        "draw_version": generate.VERSION,
        "drawn_at": datetime.now(UTC),
    }


def read_images(lake: Lake, name: str, folder: Path, pattern: str) -> Done:
    """Take pictures drawn elsewhere as cells. A picture that differs from the one its cell has is not taken."""
    found = work.plan(lake, name)
    checkpoints = {r["epoch"]: r for r in work.current(lake, name).values()}
    told = ingest.find(folder, found.suite, pattern)
    done = Done(problems=[f"{path}: {why}" for path, why in told.strangers])
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
            done.problems.append(f"{one.path}: epoch {one.epoch} has no registered checkpoint")
            continue
        data = one.path.read_bytes()
        known = have.get((one.epoch, one.prompt, one.seed))
        if known is not None:
            if known != measures.content_hash(data):
                done.problems.append(f"{one.path}: this cell has another picture ({known[:12]}...), which stays")
            continue
        try:
            decode(data)
        except UserError as error:
            done.problems.append(f"{one.path}: {error}")
            continue
        row = _image_row(name, checkpoint, found.suite.hash, one.prompt, one.seed, data, "ingested", str(one.path))
        rows[row["checkpoint"]].append(row)
    for key, new in rows.items():
        with lake.writer("test_images", training_run=name, checkpoint=key) as out:
            out.add(new)
        done.rows += len(new)
    return done


# --- measures ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeasureTask:
    """Pictures to measure: (cell row, bytes, expected colours, expected accessories)."""

    items: tuple[tuple[Row, bytes, Mapping[str, str], tuple[str, ...]], ...]


def measure_task(task: MeasureTask, worker: Worker) -> Iterator[tuple[Row, measures.Measures]]:
    """Runs beside nothing but a core: yields the cell and what its picture scores."""
    for cell, data, colours, accessories in task.items:
        yield cell, measures.measure_image(data, cell["image_hash"], colours, accessories)


def measure(lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, name: str) -> Done:
    """Measure every picture that has no result by this version; ask the detector, where one is configured."""
    found = work.plan(lake, name)
    done = Done()
    _ask(lake, compute, watcher, refresh, found)
    left = work.unmeasured(lake, name)
    if not left:
        return done
    seen, suites = _answers(lake, name), _suites(lake, name)
    before = {table: _by_checkpoint(_all(lake, name, table)) for table in ("image_metrics", "prompt_test_results")}
    with watcher.stage("measuring", len(left), "pictures") as advance:
        for checkpoint, cells in _by_checkpoint(left).items():
            images = _images(lake, name, checkpoint)
            items = []
            for cell in cells:
                prompt = suites[cell["suite_hash"]].prompt(cell["prompt"])
                items.append((cell, images[_cell(cell)], prompt.colours, prompt.accessories))
            tasks = [MeasureTask(tuple(items[i : i + _CHUNK])) for i in range(0, len(items), _CHUNK)]
            scored = [pair for _, pair in compute.stream(measure_task, tasks, Needs())]
            now = datetime.now(UTC)
            results, regions = [], []
            for cell, told in scored:
                prompt = suites[cell["suite_hash"]].prompt(cell["prompt"])
                results.append(
                    _result_row(name, cell, prompt.category, told, seen.get((checkpoint, *_cell(cell))), now)
                )
                regions += _region_rows(name, cell, told, now)
                advance(1)
            keys = {_cell(c) for c in cells}
            where = {"training_run": name, "checkpoint": checkpoint}
            for table, rows in (("image_metrics", regions), ("prompt_test_results", results)):
                old = [r for r in before[table].get(checkpoint, []) if _cell(r) not in keys]
                lake.replace(table, [*old, *rows], **where)
            done.rows += len(results)
            refresh()
    return done


def _cell(row: Mapping[str, Any]) -> tuple[str, str, int]:
    return row["suite_hash"], row["prompt"], row["seed"]


def _by_checkpoint(rows: Sequence[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["checkpoint"]].append(row)
    return dict(grouped)


def _suites(lake: Lake, name: str) -> dict[str, Suite]:
    """Every suite version of a run, by hash."""
    return {r["suite_hash"]: from_json(r["definition"]) for r in _all(lake, name, "prompt_suites")}


def _all(lake: Lake, name: str, table: str) -> list[Row]:
    return lake.sql(f"SELECT * FROM {table}", training_run=name).to_pylist()


def _images(lake: Lake, name: str, checkpoint: str) -> dict[tuple[str, str, int], bytes]:
    rows = lake.sql(
        "SELECT suite_hash, prompt, seed, image FROM test_images", training_run=name, checkpoint=checkpoint
    ).to_pylist()
    return {_cell(r): r["image"] for r in rows}


def _result_row(
    name: str, cell: Row, category: str, told: measures.Measures, seen: Mapping[str, float] | None, now: datetime
) -> Row:
    scores = {r.region: r.score for r in told.regions}
    return {
        **cell,
        "training_run": name,
        "category": category,
        "colour": told.colour,
        "mark": None if told.colour is None else measures.score_map(told.colour),
        **scores,
        "grid": told.pixel_art.grid,
        "palette_size": told.pixel_art.palette,
        "sharpness": told.pixel_art.sharpness,
        "palette": [f"{d.hex} {d.area:.4f}" for d in told.palette],
        "accessories": (seen or {}).get("accessories"),
        "expression": (seen or {}).get("expression"),
        "alignment": (seen or {}).get("alignment"),
        "metric_version": measures.VERSION,
        "computed_at": now,
    }


def _region_rows(name: str, cell: Row, told: measures.Measures, now: datetime) -> list[Row]:
    return [
        {
            **cell,
            "training_run": name,
            "region": r.region,
            "status": r.status,
            "expected": r.expected,
            "score": r.score,
            "curve": list(r.curve),
            "drawn": r.drawn,
            "area": r.area,
            "two_toned": r.tones.two_toned if r.tones else None,
            "tone_larger": r.tones.larger if r.tones else None,
            "tone_smaller": r.tones.smaller if r.tones else None,
            "tone_apart": r.tones.apart if r.tones else None,
            "spread": r.spread,
            "purity": r.purity,
            "colours": r.colours,
            "metric_version": measures.VERSION,
            "computed_at": now,
        }
        for r in told.regions
    ]


def _ask(lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, found: Plan) -> None:
    """Ask the configured models about every cell they have not seen; results of these cells are then made again."""
    left = work.unasked(lake, found)
    if not left:
        return
    viewers = attributes.Viewers.of(found.config)
    with watcher.stage("looking", len(left), "pictures") as advance:
        for checkpoint, cells in _by_checkpoint(left).items():
            images = _images(lake, found.name, checkpoint)
            prompts = [found.suite.prompt(c["prompt"]) for c in cells]
            questions = [
                attributes.Question((c["prompt"], c["seed"]), images[_cell(c)], p.text, p.accessories, p.expression)
                for c, p in zip(cells, prompts, strict=True)
            ]
            by_key = {(c["prompt"], c["seed"]): c for c in cells}
            rows = []
            for _, seen in compute.stream(attributes.look, [attributes.Task(viewers, tuple(questions))], viewers.needs):
                common = {**by_key[seen.key], "training_run": found.name, "detector": viewers.label}
                whole = {"kind": "prompt", "name": "", "verdict": "cannot tell", "confidence": seen.alignment}
                for answer in [*map(asdict, seen.answers), whole]:
                    rows.append({**common, **answer, "computed_at": datetime.now(UTC)})
                advance(1)
            where = {"training_run": found.name, "checkpoint": checkpoint}
            asked = {_cell(c) for c in cells}
            for table, new in (("attribute_answers", rows), ("prompt_test_results", [])):
                old = [r for r in lake.sql(f"SELECT * FROM {table}", **where).to_pylist() if _cell(r) not in asked]
                lake.replace(table, [*old, *new], **where)
            refresh()


def _answers(lake: Lake, name: str) -> dict[tuple[str, str, str, int], dict[str, Any]]:
    """(checkpoint, suite, prompt, seed) -> accessories, expression and alignment of a cell that was looked at."""
    rows = lake.sql("SELECT * FROM attribute_answers", training_run=name).to_pylist()
    grouped: dict[tuple[str, str, str, int], list[Row]] = defaultdict(list)
    for r in rows:
        grouped[r["checkpoint"], *_cell(r)].append(r)
    told = {}
    for key, held in grouped.items():
        answers = [
            attributes.Answer(r["kind"], r["name"], r["verdict"], r["confidence"])
            for r in held
            if r["kind"] != "prompt"
        ]
        told[key] = {
            "accessories": attributes.share(answers, "accessory"),
            "expression": attributes.share(answers, "expression"),
            "alignment": next((r["confidence"] for r in held if r["kind"] == "prompt"), None),
        }
    return told


# --- summaries ---------------------------------------------------------------------------------


def summarise(lake: Lake, name: str) -> Done:
    """Averages, best epoch, weak areas and issues over the active suite version; and the spine's metrics."""
    found = work.plan(lake, name)
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
        raise UserError(f"run {name!r} has no checkpoint of epoch {mark.epoch} (there are: {epochs})")
    if mark.subject:
        work.plan(lake, name).suite.prompt(mark.subject)
    with lake.lease(f"marks of {name}", wait_seconds=30), lake.writer("manual_scores", training_run=name) as out:
        row = asdict(mark)
        row["given_at"] = row.pop("at")
        out.add([{**row, "training_run": name, "checkpoint_hash": checkpoint["content_hash"]}])


# --- reports -----------------------------------------------------------------------------------


def material(lake: Lake, name: str) -> report.Material:
    """Everything the report of a run shows."""
    found = work.plan(lake, name)
    suite_row = {"suite": found.suite.name, "version": found.suite.version, "suite_hash": found.suite.hash}

    def rows(query: str) -> list[Row]:
        return lake.sql(query, training_run=name).to_pylist()

    finder = _finder(lake, name, found.suite.hash)
    results = rows(
        f"SELECT * FROM prompt_test_results WHERE suite_hash = '{found.suite.hash}' ORDER BY epoch, prompt, seed"
    )
    spread = [asdict(s) for s in manual.spread(marks(lake, name))]
    advice = rows("SELECT * FROM advice")
    return report.Material(
        run=found.row,
        epoch=None,
        suite=suite_row,
        prompts=[(p.id, p.seeds, p.text) for p in found.suite.prompts],
        prompt_test_results=results,
        epoch_averages=rows("SELECT * FROM epoch_averages ORDER BY prompts, metric, epoch"),
        epoch_choices=rows("SELECT * FROM epoch_choices ORDER BY prompts, level"),
        weak_areas=rows("SELECT * FROM weak_areas ORDER BY epoch NULLS FIRST, difference"),
        epoch_issues=rows("SELECT * FROM epoch_issues ORDER BY issue, epoch"),
        manual_spread=spread,
        advice=advice[0] if advice else None,
        costs=rows("SELECT * FROM costs ORDER BY epoch, kind, started_at"),
        lineage=runs.lineage(lake).ancestors(name),
        find=finder,
        baseline=_baseline(lake, found, results),
    )


def of_epoch(whole: report.Material, epoch: int | None) -> report.Material:
    """What the report of one epoch shows; of the run for None."""
    if epoch is None:
        return whole
    return replace(whole, epoch=epoch, manual_spread=[s for s in whole.manual_spread if s["epoch"] == epoch])


def _finder(lake: Lake, name: str, suite_hash: str) -> report.Find:
    """Pictures of a run by epoch, prompt and seed; one epoch at a time is held in memory."""
    checkpoints = {r["epoch"]: key for key, r in work.current(lake, name).items()}
    held: dict[int, dict[tuple[str, str, int], bytes]] = {}

    def find(epoch: int, prompt: str, seed: int) -> bytes | None:
        if epoch not in checkpoints:
            return None
        if epoch not in held:
            held.clear()
            held[epoch] = _images(lake, name, checkpoints[epoch])
        return held[epoch].get((suite_hash, prompt, seed))

    return find


def _baseline(lake: Lake, found: Plan, results: Sequence[Row]) -> report.Baseline:
    """The configured checkpoint; else, cell by cell, the run's own earliest epoch that drew the cell.

    Epochs are tested more deeply the later they are: the run's first would leave most prompts without a comparison.
    """
    wanted = found.config.get("baseline")
    if wanted:
        other, epoch = str(wanted["run"]), int(wanted["epoch"])
        finder = _finder(lake, other, found.suite.hash)
        title = f"{other} epoch {epoch}"

        def chosen(_: int, prompt: str, seed: int) -> tuple[str, bytes] | None:
            image = finder(epoch, prompt, seed)
            return None if image is None else (title, image)

        return report.Baseline(title, chosen)
    earliest: dict[tuple[str, int], int] = {}
    for r in results:
        cell = r["prompt"], r["seed"]
        earliest[cell] = min(r["epoch"], earliest.get(cell, r["epoch"]))
    apart = _finder(lake, found.name, found.suite.hash)

    def first(shown: int, prompt: str, seed: int) -> tuple[str, bytes] | None:
        before = earliest.get((prompt, seed), shown)
        image = apart(before, prompt, seed) if before < shown else None
        return None if image is None else (f"epoch {before}", image)

    return report.Baseline("the earliest epoch that drew the same", first)


def write_reports(lake: Lake, watcher: Watcher, name: str) -> Done:
    """The report of the run and of every tested epoch; one whose content is as before keeps its row."""
    whole = material(lake, name)
    epochs = sorted({r["epoch"] for r in whole.prompt_test_results})
    old = {r["report"]: r for r in lake.sql("SELECT * FROM finetune_reports", training_run=name).to_pylist()}
    rows, done = [], Done()
    with watcher.stage("reports", 1 + len(epochs), "pages") as advance:
        for epoch in [None, *epochs]:
            title = "run" if epoch is None else f"epoch {epoch}"
            page = report.html(of_epoch(whole, epoch), "")
            digest = hashlib.sha256(page.encode()).hexdigest()
            before = old.get(title)
            if before is None or before["content_hash"] != digest:
                now = datetime.now(UTC)
                before = {
                    "training_run": name,
                    "report": title,
                    "epoch": epoch,
                    "html": page.replace("<time></time>", f"<time>{now:%Y-%m-%d %H:%M:%S} UTC</time>", 1),
                    "content_hash": digest,
                    "made_at": now,
                }
                done.rows += 1
            rows.append(before)
            advance(1)
    lake.replace("finetune_reports", rows, training_run=name)
    return done


def findings(lake: Lake, name: str) -> dict[str, Any]:
    """The recommendation, its confidence and the weak areas of a run, for whoever shows it."""
    chosen = lake.sql("SELECT * FROM epoch_choices WHERE deciding", training_run=name).to_pylist()
    weak = lake.sql(
        "SELECT sentence FROM weak_areas WHERE weak AND epoch IS NULL ORDER BY difference", training_run=name
    )["sentence"].to_pylist()
    told: dict[str, Any] = {"weak areas": "; ".join(weak) or "none beyond noise"}
    if chosen:
        told |= {k: chosen[0][k] for k in ("recommendation", "best_epoch", "confidence", "p")}
    return told


def in_markdown(lake: Lake, name: str) -> str:
    """The report in short: recommendation, statements, averages by epoch."""
    whole = material(lake, name)
    deciding = next((c for c in whole.epoch_choices if c["deciding"]), None)
    lines = [f"**{deciding['recommendation']}** (confidence {deciding['confidence']:.0%})"] if deciding else []
    lines += ["", *(f"- {said.text}" for said in report.learnings(whole)), ""]
    lines += ["| epoch | level | colour | 95% | prompts |", "|---|---|---|---|---|"]
    for a in whole.epoch_averages:
        if a["metric"] == summary.TARGET:
            interval = "" if a["low"] is None else f"{a['low']:.1f} to {a['high']:.1f}"
            lines.append(f"| {a['epoch']} | {a['level']} | {a['mean']:.1f} | {interval} | {a['prompts']} |")
    return "\n".join([*lines, "", f"The whole page: `panic finetune report {name} --open`"])


# --- captions ----------------------------------------------------------------------------------


def check_captions(
    lake: Lake, caption_set: str, folder: Path, rules: captions.Rules, run: str | None = None, batch: str | None = None
) -> list[caption_files.Report]:
    """Check a folder and record what was found; captions that changed since are a new version of the set."""
    files = caption_files.load(folder)
    reports = caption_files.check(files, rules)
    digest = caption_files.set_hash(files)
    now = datetime.now(UTC)
    with lake.lease(f"captions {caption_set}", wait_seconds=30):
        old = lake.sql("SELECT * FROM captions", caption_set=caption_set).to_pylist()
        found = lake.sql("SELECT * FROM caption_findings", caption_set=caption_set).to_pylist()
        latest = max((r["version"] for r in old), default=0)
        known = {r["set_hash"] for r in old if r["version"] == latest}
        version = latest if digest in known else latest + 1
        common = {"caption_set": caption_set, "training_run": run, "version": version}
        if version != latest:
            new = [
                {
                    **common,
                    "set_hash": digest,
                    "file": f.path.name,
                    "content_hash": f.hash,
                    "text": f.text,
                    "batch": batch,
                    "recorded_at": now,
                }
                for f in files
            ]
            lake.replace("captions", [*old, *new], caption_set=caption_set)
        findings = [
            {
                **common,
                "file": told.file.path.name,
                "number": number,
                "line": f.line,
                "rule": f.rule,
                "message": f.message,
                "suggestion": f.suggestion,
                "repairable": f.repair is not None,
                "computed_at": now,
            }
            for told in reports
            for number, f in enumerate(told.findings, 1)
        ]
        kept = [r for r in found if r["version"] != version]
        lake.replace("caption_findings", [*kept, *findings], caption_set=caption_set)
    return reports


def check_run_captions(lake: Lake, name: str) -> Done:
    """Check the captions a run names; nothing where it names none."""
    found = work.plan(lake, name)
    if not found.config.get("captions"):
        return Done()
    rules = captions.parse_rules(found.config.get("caption_rules"))
    reports = check_captions(lake, name, Path(found.config["captions"]), rules, run=name)
    return Done(sum(len(r.findings) for r in reports))


# --- A/B tests ---------------------------------------------------------------------------------

TEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def start_test(
    lake: Lake,
    test: str,
    a: tuple[str, int],
    b: tuple[str, int],
    votes_per_trial: int = 1,
    fixed_votes: int | None = None,
) -> int:
    """Create a blind test of two checkpoints on the cells both have; returns how many trials it has.

    The design is fixed from here on. The rows lie with A's run.
    """
    if not TEST_NAME.fullmatch(test):
        raise UserError(
            f"test name {test!r} must be 1 to 100 letters, digits, '_' or '-', beginning with one of the first two"
        )
    if any(p["ab_test"] == test for p, _ in lake.partitions("ab_trials")):
        raise UserError(f"there is an A/B test {test!r}; its design cannot change, so give the new one its own name")
    if votes_per_trial < 1:
        raise UserError(f"votes per trial is {votes_per_trial}; it must be a whole number from 1")
    suite = work.plan(lake, a[0]).suite
    texts = {p.id: p.text for p in suite.prompts}
    first, second = (_hashes(lake, run, epoch, suite.hash) for run, epoch in (a, b))
    cells = sorted(set(first) & set(second))
    if not cells:
        raise UserError(f"{a[0]} epoch {a[1]} and {b[0]} epoch {b[1]} share no drawn prompt and seed of {suite.name}")
    if fixed_votes is not None and not 1 <= fixed_votes <= votes_per_trial * len(cells):
        raise UserError(
            f"a fixed test of {fixed_votes} votes does not fit {len(cells)} trials of {votes_per_trial}; "
            f"1 to {votes_per_trial * len(cells)} are possible"
        )
    ids = [secrets.token_hex(8) for _ in cells]
    trials = blind.draw_trials(cells, ids, np.random.default_rng(secrets.randbits(64)))
    now = datetime.now(UTC)
    rows = [
        {
            "training_run": a[0],
            "ab_test": test,
            "trial": t.id,
            "number": number,
            "suite_hash": suite.hash,
            "prompt": t.prompt,
            "prompt_text": texts[t.prompt],
            "seed": t.seed,
            "a_run": a[0],
            "a_epoch": a[1],
            "a_image_hash": first[t.prompt, t.seed],
            "b_run": b[0],
            "b_epoch": b[1],
            "b_image_hash": second[t.prompt, t.seed],
            "a_left": t.left == "A",
            "votes_per_trial": votes_per_trial,
            "fixed_votes": fixed_votes,
            "created_at": now,
        }
        for number, t in enumerate(trials, 1)
    ]
    lake.replace("ab_trials", rows, training_run=a[0], ab_test=test)
    count_votes(lake, test)
    return len(rows)


def _hashes(lake: Lake, run: str, epoch: int, suite_hash: str) -> dict[tuple[str, int], str]:
    rows = lake.sql(
        "SELECT prompt, seed, image_hash FROM test_images WHERE epoch = ? AND suite_hash = ?",
        [epoch, suite_hash],
        training_run=run,
    ).to_pylist()
    return {(r["prompt"], r["seed"]): r["image_hash"] for r in rows}


def trial_rows(lake: Lake, test: str) -> list[Row]:
    """The trials of a test in the order of showing."""
    known = {p["ab_test"]: p["training_run"] for p, _ in lake.partitions("ab_trials")}
    if test not in known:
        raise UserError(f"there is no A/B test {test!r}{suggest(test, known)} (`panic finetune ab list` shows them)")
    return lake.sql("SELECT * FROM ab_trials ORDER BY number", training_run=known[test], ab_test=test).to_pylist()


def trial_image(lake: Lake, row: Row, which: str) -> bytes:
    """The picture of A or B in a trial."""
    run, epoch, digest = row[f"{which}_run"], row[f"{which}_epoch"], row[f"{which}_image_hash"]
    found = lake.sql(
        "SELECT image FROM test_images WHERE epoch = ? AND image_hash = ? LIMIT 1", [epoch, digest], training_run=run
    )["image"].to_pylist()
    if not found:
        raise UserError(
            f"the picture of {row['prompt']}, seed {row['seed']} is gone: its checkpoint was deleted or rewritten"
        )
    return bytes(found[0])


def vote(lake: Lake, test: str, trial: str, rater: str, side: str) -> blind.Vote:
    """Store a vote for a side (left, right, tie) and count again."""
    rows = trial_rows(lake, test)
    row = next((r for r in rows if r["trial"] == trial), None)
    if row is None:
        raise UserError(f"A/B test {test!r} has no trial {trial!r}")
    if not rater.strip():
        raise UserError("rater is blank; a name is needed, to count each rater once a trial")
    cast = blind.Vote(trial, rater.strip(), blind.choice_of(_trial(row), side), datetime.now(UTC))
    where = {"training_run": row["training_run"], "ab_test": test}
    with lake.lease(f"votes of {test}", wait_seconds=30):
        with lake.writer("ab_votes", **where) as out:
            out.add(
                [
                    {
                        **where,
                        "trial": trial,
                        "rater": cast.rater,
                        "choice": cast.choice,
                        "side": side,
                        "given_at": cast.at,
                    }
                ]
            )
        count_votes(lake, test)
    return cast


def _trial(row: Row) -> blind.Trial:
    return blind.Trial(row["trial"], row["prompt"], row["seed"], "A" if row["a_left"] else "B")


def votes(lake: Lake, rows: Sequence[Row]) -> list[blind.Vote]:
    """Every vote of a test (its trials' rows), by time."""
    where = {"training_run": rows[0]["training_run"], "ab_test": rows[0]["ab_test"]}
    stored = lake.sql("SELECT * FROM ab_votes ORDER BY given_at", **where)
    return [blind.Vote(r["trial"], r["rater"], r["choice"], r["given_at"]) for r in stored.to_pylist()]


def count_votes(lake: Lake, test: str) -> blind.Result:
    """Count a test's votes and store how it stands."""
    return _count(lake, trial_rows(lake, test))


def _count(lake: Lake, rows: Sequence[Row]) -> blind.Result:
    trials = [_trial(r) for r in rows]
    told = blind.result(trials, votes(lake, rows), rows[0]["votes_per_trial"], rows[0]["fixed_votes"])
    where = {"training_run": rows[0]["training_run"], "ab_test": rows[0]["ab_test"]}
    row = asdict(told)
    row["left_votes"] = row.pop("left")
    lake.replace("ab_results", [{**where, **row, "trials": len(rows), "computed_at": datetime.now(UTC)}], **where)
    return told


def count_run_votes(lake: Lake, name: str) -> Done:
    """Count every test of a run again."""
    tests = [p["ab_test"] for p, _ in lake.partitions("ab_trials", training_run=name)]
    for test in tests:
        count_votes(lake, test)
    return Done(len(tests))


def open_trials(lake: Lake, test: str, rater: str) -> list[Row]:
    """Trials this rater can still vote on, in the order of showing: not voted on by them, and not yet full."""
    rows = trial_rows(lake, test)
    cast: dict[str, set[str]] = defaultdict(set)
    for v in votes(lake, rows):
        cast[v.trial].add(v.rater)
    return [r for r in rows if rater not in cast[r["trial"]] and len(cast[r["trial"]]) < r["votes_per_trial"]]
