"""Reports of a run and of its epochs, as pages, as Markdown and in figures."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from panic_assets.files import write_text
from panic_assets.finetunes import missing
from panic_assets.finetunes.missing import Plan, Row
from panic_assets.finetunes.stages.summaries import marks
from panic_assets.finetunes.verdicts import manual, report, summary
from panic_assets.graphics.previews import sheet
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Watcher
from panic_assets.settings import home
from panic_assets.training import runs
from panic_assets.workload import Briefing


def material(lake: Lake, name: str) -> report.Material:
    """Everything the report of a run shows."""
    found = missing.plan(lake, name)
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
    checkpoints = {r["epoch"]: key for key, r in missing.current(lake, name).items()}
    held: dict[int, dict[tuple[str, str, int], bytes]] = {}

    def find(epoch: int, prompt: str, seed: int) -> bytes | None:
        if epoch not in checkpoints:
            return None
        if epoch not in held:
            held.clear()
            held[epoch] = missing.images(lake, name, checkpoints[epoch])
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

    return report.Baseline("the earliest epoch that drew the same prompt", first)


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
    told: dict[str, Any] = {"weak areas": "; ".join(weak) or "no attribute is weak beyond noise"}
    if chosen:
        told |= {k: chosen[0][k] for k in ("recommendation", "best_epoch", "confidence", "p")}
    return told


def briefing(lake: Lake, name: str) -> Briefing:
    """What a message says about a fine-tune: its recommendation and weak areas, the first picture of each of its latest
    epochs, and the report, which is written to the file that `panic finetune report` would write."""
    told = findings(lake, name)
    said = [str(told["recommendation"])] if "recommendation" in told else []
    pages = lake.sql("SELECT html FROM finetune_reports WHERE epoch IS NULL", training_run=name)["html"].to_pylist()
    path = home().root / "reports" / name / "report.html"
    if pages:
        write_text(path, pages[0])
    return Briefing(
        (*said, f"Weak areas: {told['weak areas']}."),
        sheet(first_pictures(lake, name)),
        str(path) if pages else None,
    )


def first_pictures(lake: Lake, name: str) -> list[bytes]:
    """The first picture of each of the latest epochs, by epoch."""
    rows: list[bytes] = lake.sql(
        "SELECT image FROM test_images QUALIFY row_number() OVER (PARTITION BY epoch ORDER BY prompt, seed) = 1 "
        "ORDER BY epoch DESC LIMIT 12",
        training_run=name,
    )["image"].to_pylist()
    return rows[::-1]


def in_markdown(lake: Lake, name: str) -> str:
    """The report in short: recommendation, statements, averages by epoch."""
    whole = material(lake, name)
    deciding = next((c for c in whole.epoch_choices if c["deciding"]), None)
    lines = [f"**{deciding['recommendation']}** (confidence {deciding['confidence']:.0%})"] if deciding else []
    lines += ["", *(f"- {said.text}" for said in report.learnings(whole)), ""]
    lines += ["| epoch | level | colour score | 95% interval | prompts |", "|---|---|---|---|---|"]
    for a in whole.epoch_averages:
        if a["metric"] == summary.TARGET:
            interval = "" if a["low"] is None else f"{a['low']:.1f} to {a['high']:.1f}"
            lines.append(f"| {a['epoch']} | {a['level']} | {a['mean']:.1f} | {interval} | {a['prompts']} |")
    return "\n".join([*lines, "", f"To open the whole report: `panic finetune report {name} --open`"])
