"""What is measured of every picture, and what models answer about it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from panic_assets.compute.protocol import Compute, Needs, Worker
from panic_assets.finetunes import missing, versions
from panic_assets.finetunes.drawing.suites import Suite, from_json
from panic_assets.finetunes.missing import Plan, Row
from panic_assets.finetunes.pictures import attributes, measures
from panic_assets.lake.lake import Lake
from panic_assets.model_settings import Recorder
from panic_assets.models.needs import needs_of
from panic_assets.models.preflight import refuse
from panic_assets.progress import Done, Refresh, Watcher

_CHUNK = 16


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
    found = missing.plan(lake, name)
    done = Done()
    _ask(lake, compute, watcher, refresh, found)
    left = missing.unmeasured(lake, name)
    if not left:
        return done
    seen, suites = _answers(lake, name), _suites(lake, name)
    before = {table: _by_checkpoint(_all(lake, name, table)) for table in ("image_metrics", "prompt_test_results")}
    with watcher.stage("measuring", len(left), "pictures") as advance:
        for checkpoint, cells in _by_checkpoint(left).items():
            images = missing.images(lake, name, checkpoint)
            items = []
            for cell in cells:
                prompt = suites[cell["suite_hash"]].prompt(cell["prompt"])
                items.append((cell, images[missing.cell_of(cell)], prompt.colours, prompt.accessories))
            tasks = [MeasureTask(tuple(items[i : i + _CHUNK])) for i in range(0, len(items), _CHUNK)]
            scored = [pair for _, pair in compute.stream(measure_task, tasks, Needs())]
            now = datetime.now(UTC)
            results, regions = [], []
            for cell, told in scored:
                prompt = suites[cell["suite_hash"]].prompt(cell["prompt"])
                results.append(
                    _result_row(name, cell, prompt.category, told, seen.get((checkpoint, *missing.cell_of(cell))), now)
                )
                regions += _region_rows(name, cell, told, now)
                advance(1)
            keys = {missing.cell_of(c) for c in cells}
            where = {"training_run": name, "checkpoint": checkpoint}
            for table, rows in (("image_metrics", regions), ("prompt_test_results", results)):
                old = [r for r in before[table].get(checkpoint, []) if missing.cell_of(r) not in keys]
                lake.replace(table, [*old, *rows], **where)
            done.rows += len(results)
            refresh()
    return done


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
        "metric_version": versions.METRIC_VERSION,
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
            "metric_version": versions.METRIC_VERSION,
            "computed_at": now,
        }
        for r in told.regions
    ]


def _ask(lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, found: Plan) -> None:
    """Ask the configured models about every cell they have not seen; results of these cells are then made again."""
    left = missing.unasked(lake, found)
    if not left:
        return
    viewers = attributes.Viewers.of(found.config)
    needs = needs_of(viewers.models)
    refuse(compute, needs, viewers.models, tasks=1)
    recorder = Recorder(lake)
    with watcher.stage("looking", len(left), "pictures") as advance:
        for checkpoint, cells in _by_checkpoint(left).items():
            images = missing.images(lake, found.name, checkpoint)
            prompts = [found.suite.prompt(c["prompt"]) for c in cells]
            questions = [
                attributes.Question(
                    (c["prompt"], c["seed"]), images[missing.cell_of(c)], p.text, p.accessories, p.expression
                )
                for c, p in zip(cells, prompts, strict=True)
            ]
            by_key = {(c["prompt"], c["seed"]): c for c in cells}
            rows = []
            for _, seen in compute.stream(attributes.look, [attributes.Task(viewers, tuple(questions))], needs):
                for settings in seen.settings:
                    recorder.note(settings)
                common = {**by_key[seen.key], "training_run": found.name, "detector": viewers.label}
                common["settings_ids"] = [settings.id for settings in seen.settings]
                whole = {"kind": "prompt", "name": "", "verdict": "cannot tell", "confidence": seen.alignment}
                for answer in [*map(asdict, seen.answers), whole]:
                    rows.append({**common, **answer, "computed_at": datetime.now(UTC)})
                advance(1)
            where = {"training_run": found.name, "checkpoint": checkpoint}
            asked = {missing.cell_of(c) for c in cells}
            for table, new in (("attribute_answers", rows), ("prompt_test_results", [])):
                old = [
                    r
                    for r in lake.sql(f"SELECT * FROM {table}", **where).to_pylist()
                    if missing.cell_of(r) not in asked
                ]
                lake.replace(table, [*old, *new], **where)
            refresh()


def _answers(lake: Lake, name: str) -> dict[tuple[str, str, str, int], dict[str, Any]]:
    """(checkpoint, suite, prompt, seed) -> accessories, expression and alignment of a cell that was looked at."""
    rows = lake.sql("SELECT * FROM attribute_answers", training_run=name).to_pylist()
    grouped: dict[tuple[str, str, str, int], list[Row]] = defaultdict(list)
    for r in rows:
        grouped[r["checkpoint"], *missing.cell_of(r)].append(r)
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
