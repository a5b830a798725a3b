"""The stages that all families share: read from the lake, call the pure function, write to the lake. No Dagster."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from panic_assets import problems
from panic_assets.errors import UserError
from panic_assets.lake.lake import Lake
from panic_assets.problems import Problem
from panic_assets.progress import Done
from panic_assets.training import cost, names, notify, replay, runs
from panic_assets.training.checkpoints import Named
from panic_assets.training.convergence import advise
from panic_assets.training.families import families
from panic_assets.training.series import Measurement, Series, series_of
from panic_assets.training.settings import Settings
from panic_assets.training.watch import Arrival, Cursor, Watch, tick
from panic_assets.workload import Briefing

STORAGE = "storage"
"""The name under which the rate table prices a GB for 30 days."""


# --- checkpoints -------------------------------------------------------------------------------


def watch_of(row: Mapping[str, Any]) -> Watch:
    """Where a registered run's checkpoints appear, with the run's own pattern if it has one."""
    pattern = json.loads(row["config"]).get("pattern", "")
    return Watch(row["family"], row["folder"], pattern, row["training_run"], row["planned_epochs"])


def register_checkpoints(lake: Lake, name: str, settle_seconds: float = 1.0) -> Done:
    """Register what is complete in a run's own folder: two looks, a pause apart."""
    watch = watch_of(runs.get(lake, name))
    found = tick(watch, Cursor(), runs.registered(lake, name))
    if found.cursor.waiting:
        time.sleep(settle_seconds)
        found = tick(watch, found.cursor, runs.registered(lake, name), seconds=float("inf"))
    done = Done(store_arrivals(lake, [a for a in found.arrivals if a.checkpoint.run == name]))
    report_files(lake, watch, found.cursor)
    done.problems = [f"{r.path}: {r.why}" for r in found.reports]
    return done


def checkpoints_version(lake: Lake, name: str) -> str:
    """Hash over a run's current checkpoints. When it changes, everything downstream is stale."""
    hashes = [f"{r['epoch']} {r['content_hash']}" for r in runs.checkpoints(lake, name)]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:32]


def store_arrivals(lake: Lake, arrivals: Sequence[Arrival]) -> int:
    """Register checkpoints, run by run, in one atomic step each. Registering twice changes nothing."""
    by_run: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        by_run.setdefault(arrival.checkpoint.run, []).append(arrival)
    stored = 0
    for name, new in by_run.items():
        with lake.lease(f"checkpoints of {name}", wait_seconds=30):
            rows = lake.sql("SELECT * FROM checkpoints", training_run=name).to_pylist()
            by_key = {(r["epoch"], r["version"]): r for r in rows}
            newest = {epoch: max(v for e, v in by_key if e == epoch) for epoch, _ in by_key}
            for arrival in new:
                c = arrival.checkpoint
                version = newest.get(c.epoch, 0)
                if not (version and by_key[c.epoch, version]["content_hash"] == c.content_hash):
                    version += 1
                    newest[c.epoch] = version
                    stored += 1
                old = by_key.get((c.epoch, version))
                by_key[c.epoch, version] = {
                    "training_run": name,
                    "epoch": c.epoch,
                    "version": version,
                    "current": True,
                    "path": c.path,
                    "size": c.size,
                    "content_hash": c.content_hash,
                    "mtime_ns": c.mtime,
                    "written_at": datetime.fromtimestamp(c.mtime / 1e9, UTC),
                    "registered_at": old["registered_at"] if old else datetime.now(UTC),
                }
            _store_versions(lake, name, by_key.values())
    return stored


def mark_current(lake: Lake, name: str) -> None:
    """Mark the newest version of every checkpoint as current again. Of rows that repeat a version, the last stays."""
    with lake.lease(f"checkpoints of {name}", wait_seconds=30):
        rows = lake.sql("SELECT * FROM checkpoints ORDER BY registered_at", training_run=name).to_pylist()
        _store_versions(lake, name, {(r["epoch"], r["version"]): r for r in rows}.values())


def _store_versions(lake: Lake, name: str, versions: Iterable[Mapping[str, Any]]) -> None:
    ordered = sorted(versions, key=lambda r: (r["epoch"], r["version"]))
    newest = {r["epoch"]: r["version"] for r in ordered}
    rows = [{**r, "current": r["version"] == newest[r["epoch"]]} for r in ordered]
    lake.replace("checkpoints", rows, training_run=name)


def report_files(lake: Lake, watch: Watch, cursor: Cursor, more: Sequence[Problem] = ()) -> list[Problem]:
    """Report the files of a watched folder that are no valid checkpoints; returns those that are new. Files that may
    still be written keep the problem that they had."""
    pattern = watch.compiled()
    known = {row["training_run"] for row in runs.every(lake, watch.family)}
    met = []
    for path, (_, _, why) in cursor.broken.items():
        run = watch.run_of(pattern.match(PurePosixPath(path).name) or Named(None, None))
        met.append(Problem(path, why, run if run in known else None))

    def mine(row: Mapping[str, Any]) -> bool:
        return row["item"] not in cursor.waiting and watch.holds(row["item"])

    return problems.report(lake, names.asset(watch.family, "checkpoints"), [*met, *more], mine)


# --- metrics, convergence, advice --------------------------------------------------------------


def store_metrics(lake: Lake, name: str, source: str, rows: Sequence[Measurement]) -> int:
    """Replace what one stage measured of a run."""
    now = datetime.now(UTC)
    stored = [{**asdict(row), "source": source, "computed_at": now} for row in rows]
    lake.replace("metrics", stored, training_run=name, source=source)
    return len(stored)


def metric_series(lake: Lake, name: str, wanted: Iterable[str]) -> dict[str, Series]:
    """The series of those metrics that have values."""
    rows = lake.sql("SELECT * FROM metrics", training_run=name).to_pylist()
    have = {r["metric"] for r in rows}
    return {metric: series_of(rows, name, metric) for metric in wanted if metric in have}


def converge(lake: Lake, name: str, settings: Settings) -> Done:
    """Judge every target metric of a run at every epoch, and advise."""
    row = runs.get(lake, name)
    wanted = runs.targets(row, settings)
    series = metric_series(lake, name, wanted)
    now = datetime.now(UTC)
    rows = []
    for metric, values in sorted(series.items()):
        for replayed in replay.replay(values, wanted[metric]):
            verdict = asdict(replayed.verdict)
            rows.append(
                {"training_run": name, "metric": metric, "regret": replayed.regret, "computed_at": now, **verdict}
            )
    lake.replace("convergence", rows, training_run=name)
    if not series or len(series) < len(wanted):
        missing = sorted(set(wanted) - set(series))
        lake.remove("advice", training_run=name)
        return Done(len(rows), [f"there is no advice, because target metric {m} has no values" for m in missing])
    advice = advise(
        {metric: (values, wanted[metric]) for metric, values in series.items()},
        row["planned_epochs"],
        _outlook(lake, row, settings).per_epoch,
        _finished_regrets(lake, row, wanted),
    )
    stored = {
        "training_run": name,
        "epoch": advice.epoch,
        "recommendation": "stop" if advice.stop else "continue",
        "best_epoch": advice.best_epoch,
        "states": json.dumps(advice.states, sort_keys=True),
        "saves_epochs": advice.saves_epochs,
        "saves_cost": advice.saves_cost,
        "risk": advice.risk,
        "risk_runs": advice.risk_runs,
        "sentence": advice.sentence,
        "computed_at": now,
    }
    lake.replace("advice", [stored], training_run=name)
    return Done(len(rows) + 1)


def _finished_regrets(lake: Lake, row: Mapping[str, Any], wanted: Mapping[str, float]) -> list[float]:
    """Regret of obeying the rule on each of the family's other finished runs, by its worst target metric."""
    out = []
    for other in runs.every(lake, row["family"]):
        if other["training_run"] == row["training_run"] or other["status"] not in ("finished", "watched"):
            continue
        found = metric_series(lake, other["training_run"], wanted)
        regrets = [r for m, s in found.items() if (r := replay.regret_of(s, wanted[m])) is not None]
        if regrets:
            out.append(max(regrets))
    return out


# --- cost --------------------------------------------------------------------------------------


def spans(lake: Lake, row: Mapping[str, Any]) -> list[cost.Span]:
    """When the card was busy with each epoch: measured if the run trained here, else estimated from file times."""
    name = row["training_run"]
    times = lake.sql("SELECT * FROM training_times ORDER BY started_at", training_run=name).to_pylist()
    if times:
        return [cost.Span(t["epoch"], t["started_at"], t["ended_at"], False) for t in times]
    written = {r["epoch"]: r["written_at"] for r in runs.checkpoints(lake, name)}
    return cost.spans_from_times(written, row["started_at"])


def _outlook(lake: Lake, row: Mapping[str, Any], settings: Settings) -> cost.Outlook:
    if row["card"] is None:
        return cost.outlook([])
    try:
        parts = cost.costs(spans(lake, row), row["card"], settings.rates)
    except UserError:  # no rate, or times that tell nothing: no cost is known
        return cost.outlook([])
    return cost.outlook(parts, row["planned_epochs"], row["budget"])


def outlook_of(lake: Lake, name: str, settings: Settings) -> cost.Outlook:
    """What a run has cost and will cost; unknown without a card or a rate."""
    return _outlook(lake, runs.get(lake, name), settings)


def price(lake: Lake, name: str, settings: Settings) -> Done:
    """Store what every epoch cost and what keeping its file costs. Without a card or a rate it stores nothing."""
    row = runs.get(lake, name)
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = []
    problems = []
    if row["card"] is None:
        problems.append("there is no cost, because the run names no card")
    else:
        try:
            parts = cost.costs(spans(lake, row), row["card"], settings.rates)
        except UserError as why:
            parts, problems = [], [f"there is no cost, because {why}"]
        for part in parts:
            rows.append({"kind": "card", **asdict(part)})
    if STORAGE in settings.rates.cards:
        for checkpoint in runs.checkpoints(lake, name):
            held = now - checkpoint["written_at"]
            rate = settings.rates.at(STORAGE, now)
            rows.append(
                {
                    "kind": "storage",
                    "epoch": checkpoint["epoch"],
                    "start": checkpoint["written_at"],
                    "card": STORAGE,
                    "hours": held.total_seconds() / cost.HOUR,
                    "rate": rate,
                    "cost": cost.storage_cost(checkpoint["size"], held, rate),
                    "estimated": True,
                }
            )
    stored = [{"training_run": name, "started_at": r.pop("start"), "computed_at": now, **r} for r in rows]
    lake.replace("costs", stored, training_run=name)
    return Done(len(stored), problems)


def cheaper(lake: Lake, name: str, up_to: int, settings: Settings) -> list[cost.Cheaper]:
    """What a run's epochs up to `up_to` would have cost on other cards, by the steps per second that runs of the family
    trained here reached on each card."""
    row = runs.get(lake, name)
    if row["card"] is None:
        raise UserError(f"run {name!r} names no card, so its costs cannot be compared; name a card in its file")
    early = [s.hours for s in spans(lake, row) if s.epoch <= up_to]
    config = json.loads(row["config"])
    return cost.cheaper_cards(
        sum(early), row["card"], step_seconds(lake, row["family"], config), settings.rates, datetime.now(UTC)
    )


def step_seconds(lake: Lake, family: str, like: Mapping[str, Any]) -> dict[str, float]:
    """Measured seconds of one step by card, of runs that do the same work: equal but for seeds and schedule."""
    out: dict[str, float] = {}
    for row in runs.every(lake, family):
        config = json.loads(row["config"])
        if row["card"] is None or _work(config) != _work(like):
            continue
        times = lake.sql("SELECT * FROM training_times", training_run=row["training_run"]).to_pylist()
        steps = sum(t["steps"] for t in times)
        if steps:
            seconds = sum((t["ended_at"] - t["started_at"]).total_seconds() for t in times)
            out[row["card"]] = min(out.get(row["card"], float("inf")), seconds / steps)
    return out


def _work(config: Mapping[str, Any]) -> dict[str, Any]:
    recipe = config.get("recipe") or config
    return {k: v for k, v in recipe.items() if k not in ("seed", "data_seed", "epochs")}


# --- notifications -----------------------------------------------------------------------------


def changes(lake: Lake, name: str, receiver: str) -> list[notify.Change]:
    """States that differ from those that a receiver was last told (at first: from `continue`), one per target metric. A
    receiver that is new is taken to know what anybody was told before."""
    latest = lake.sql(
        "SELECT * FROM convergence QUALIFY row_number() OVER (PARTITION BY metric ORDER BY epoch DESC) = 1 "
        "ORDER BY metric",
        training_run=name,
    ).to_pylist()
    told = lake.sql("SELECT * FROM notifications ORDER BY epoch, computed_at", training_run=name).to_pylist()
    own = [r for r in told if r["receiver"] == receiver] or told
    before = {r["metric"]: r["after"] for r in own if r["status"] != "failed"}
    return [
        notify.Change(name, r["metric"], r["epoch"], old, r["state"], r["best_epoch"], r["reason"])
        for r in latest
        if (old := before.get(r["metric"], "continue")) != r["state"]
    ]


def tell(lake: Lake, name: str, settings: Settings, pause: float = notify.PAUSE_SECONDS) -> Done:
    """Send a message per change and receiver. One that failed is sent again next time, to the receivers that it did not
    reach; nobody is told twice."""
    done = Done()
    names_of: dict[str, str | None] = {notify.name_of(receiver): receiver for receiver in settings.notify}
    names_of = names_of or {"": None}
    due = [(known, receiver, change) for known, receiver in names_of.items() for change in changes(lake, name, known)]
    if not due:
        return done
    briefing = _briefing(lake, name, done) if settings.notify else Briefing()
    verdict = _verdict(lake, name)
    for known, receiver, change in due:
        body = "\n".join([*verdict, change.body, *briefing.sentences, *([briefing.link] if briefing.link else [])])
        delivery = notify.Delivery("no receiver", 0)
        if receiver is not None:
            delivery = notify.send(receiver, notify.Message(change.title, body, briefing.picture), pause)
        old = lake.sql("SELECT * FROM notifications", training_run=name).to_pylist()
        row = {
            "training_run": name,
            "notification": change.id,
            "receiver": known,
            "metric": change.metric,
            "epoch": change.epoch,
            "before": change.before,
            "after": change.after,
            "title": change.title,
            "body": body,
            "status": delivery.status,
            "attempts": delivery.attempts,
            "problem": delivery.problem,
            "computed_at": datetime.now(UTC),
        }
        kept = [r for r in old if (r["notification"], r["receiver"]) != (change.id, known)]
        lake.replace("notifications", [*kept, row], training_run=name)
        done.rows += 1
        if delivery.status == "failed":
            done.problems.append(
                f'the message "{change.title}" did not reach the receiver {known}: {delivery.problem}; it is sent again '
                "next time"
            )
    return done


def _verdict(lake: Lake, name: str) -> list[str]:
    rows = lake.sql("SELECT recommendation, best_epoch FROM advice", training_run=name).to_pylist()
    return [f"Verdict: {r['recommendation']}, epoch {r['best_epoch']} is the best." for r in rows]


def _briefing(lake: Lake, name: str, done: Done) -> Briefing:
    """What the run's family adds to a message. A fault in it must not keep the message back."""
    ask = families()[runs.get(lake, name)["family"]].briefing
    found = Briefing()
    try:
        found = ask(lake, name) if ask else found
    except Exception as error:
        done.problems.append(f"the message lacks what the family says of {name}: {problems.sentence(error)}")
    return found if found.link else replace(found, link=f"More: panic training show {name}")
