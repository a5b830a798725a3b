"""What is wrong with the platform's data, and its repair: one examination for status, doctor and orphan sensor."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg

from panic_assets.grokking import repair as grokking
from panic_assets.grokking import rules as grokking_invariants
from panic_assets.grokking import stages as grokking_stages
from panic_assets.instance.hook import without_hook
from panic_assets.instance.launcher import fail_dead_runs
from panic_assets.lake.invariants import Finding, all_findings, broken_files
from panic_assets.lake.lake import Lake
from panic_assets.lake.tables import TABLES
from panic_assets.operations import deletion, journal
from panic_assets.settings import home
from panic_assets.training import repair as training
from panic_assets.training import rules as training_invariants
from panic_assets.training import runs
from panic_assets.trajectories import missing, rules
from panic_assets.trajectories import repair as trajectories

SPACE = "experiment"
SPACES = {SPACE: ("experiments", "definition"), "training_run": ("training_runs", "training run")}
"""Space of keys -> the table that defines them, and what a key without a row there lacks."""
UNOWNED = {"checkpoint_problems"}
"""Tables whose rows may name no key: files in a watched folder that belong to no run."""
RULES = rules.RULES | training_invariants.RULES | grokking_invariants.RULES
WORK = {
    "perform_experiment": "experiment {}",
    "recompute_clusters": "clusters of {}",
    "analyse_grokking": "training run {}",
}
"""Job that makes what is missing -> what it works on, in words."""


def examine(lake: Lake, instance: dg.DagsterInstance) -> list[Finding]:
    """Everything that is wrong, in the order it should be repaired."""
    busy = {n for n in missing.definitions(lake) if lake.leased(f"{SPACE} {n}")}
    found = list(examine_keys(lake, instance))
    files = [f for table in TABLES for f in broken_files(lake, table)]
    if any(f.file for f in files):
        return found + files  # No row can be asked before these are repaired.
    for table in TABLES:
        found += all_findings(lake, RULES, table)
    found += training.examine_files(lake)
    return found + [f for f in _missing(lake) if dict(f.where).get(SPACE) not in busy]


def examine_rows(lake: Lake, experiment: str) -> list[Finding]:
    """What is wrong with one experiment's rows."""
    tables = [name for name, table in TABLES.items() if SPACE in table.partitioned_by]
    return [f for table in tables for f in rules.all_findings(lake, table, experiment=experiment)]


def repair(lake: Lake, instance: dg.DagsterInstance, found: list[Finding]) -> Iterator[str]:
    """Remove what is wrong; says what it did. What is then missing is for `recompute` to name."""
    for begun in journal.unfinished(home()):
        deletion.run(instance, begun)
        yield f"finished the deletion of {begun.space} {begun.key}"
    for finding in found:
        yield from _repair_files(lake, finding)
    for space in SPACES:
        yield from _repair_keys(lake, instance, space)
    yield from training.repair(lake, instance)
    for row in runs.every(lake):
        name = row["training_run"]
        with lake.lease(f"training_run {name}", wait_seconds=30):
            yield from (f"training run {name}: {done}" for done in training.repair_run(lake, name))
            if row["family"] == grokking_stages.FAMILY:
                yield from (f"training run {name}: {done}" for done in grokking.repair(lake, name))
    for name in missing.definitions(lake):
        with lake.lease(f"{SPACE} {name}", wait_seconds=30):
            yield from (f"experiment {name}: {done}" for done in trajectories.repair(lake, name))
    for partition, _ in list(lake.partitions("clusterings")):
        model = partition["embedding_model"]
        wrong = [f for t in ("clusterings", "clusters", "cluster_members") for f in _wrong(lake, t, model)]
        if wrong:
            yield from trajectories.repair_clusters(lake, model)
    freed = lake.sweep()
    if freed:
        yield f"removed {freed:,} bytes of files that nothing refers to"
    for run in fail_dead_runs(instance):
        yield f"marked run {run} as failed: its process is gone"


def _repair_keys(lake: Lake, instance: dg.DagsterInstance, space: str) -> Iterator[str]:
    """Keys without rows go; rows without a key get it back where they are whole and nobody deleted them."""
    word = space.replace("_", " ")
    lacking = SPACES[space][1]
    keys, defined = set(instance.get_dynamic_partitions(space)), _defined(lake, space)
    for key in sorted(keys - defined):
        with without_hook():
            deletion.run(instance, deletion.plan(instance, space, key))
        yield f"removed the key of {word} {key}, which has no {lacking}"
    for key in sorted(_stored_keys(lake, space) - keys):
        if key in defined and not _deleted(space, key):
            instance.add_dynamic_partitions(space, [key])
            yield f"gave {word} {key} its key back"
        else:
            deletion.run(instance, deletion.plan(instance, space, key))
            yield f"removed rows of {word} {key}, which is not registered (they can be restored)"


def recompute(lake: Lake) -> Iterator[tuple[str, str]]:
    """(job, partition) that makes what is missing, upstream first."""
    names = {
        m.experiment
        for s in missing.STAGES
        if s != "clusters"
        for m in missing.missing(lake, s)
        if m.count and m.experiment
    }
    names |= {n for n in missing.definitions(lake) if lake.manifest("runs", experiment=n) is None}
    for name in sorted(names):
        yield "perform_experiment", name
    for left in missing.missing(lake, "clusters"):
        if left.count and left.embedding_model:
            yield "recompute_clusters", left.embedding_model
    for name in grokking_stages.waiting(lake, in_training=False):
        yield "analyse_grokking", name


def _missing(lake: Lake) -> Iterator[Finding]:
    for name, new in grokking_stages.waiting(lake, in_training=False).items():
        sentence = f"training run {name} has {len(new):,} checkpoints that nobody has analysed as they are"
        yield Finding("stale", "grokking_analyses", len(new), sentence, (("training_run", name),))
    planned = {p[SPACE] for p, _ in lake.partitions("runs")}
    for name in sorted(set(missing.definitions(lake)) - planned):
        yield Finding("missing", "runs", 1, f"the runs of experiment {name} are not planned yet", ((SPACE, name),))
    for stage in missing.STAGES:
        for left in missing.missing(lake, stage):
            if left.count and stage == "clusters":
                yield Finding(
                    "stale", "clusters", 1, f"the clusters of {left.embedding_model} do not pool what there is now"
                )
            elif left.count:
                of = f" of {left.embedding_model}" if left.embedding_model else ""
                yield Finding(
                    "missing",
                    stage,
                    left.count,
                    f"experiment {left.experiment} lacks {left.count:,} of {left.total:,} {left.unit}{of}",
                    ((SPACE, str(left.experiment)),),
                )


def examine_keys(lake: Lake, instance: dg.DagsterInstance) -> Iterator[Finding]:
    """Where Dagster's keys, the lake's partitions and the journal of deletions disagree."""
    unfinished = journal.unfinished(home())
    for begun in unfinished:
        sentence = f"the deletion of {begun.space} {begun.key} was interrupted"
        table = SPACES.get(begun.space, (begun.space,))[0]
        yield Finding("half-written", table, 1, sentence, ((begun.space, begun.key),))
    for space, (table, lacking) in SPACES.items():
        word = space.replace("_", " ")
        keys, defined = set(instance.get_dynamic_partitions(space)), _defined(lake, space)
        for key in sorted(keys - defined):
            yield Finding("orphaned", table, 1, f"key {key} of Dagster has no {lacking}", ((space, key),))
        busy = {d.key for d in unfinished if d.space == space}
        for key in sorted(_stored_keys(lake, space) - keys - busy):
            yield Finding("orphaned", table, 1, f"{word} {key} has rows but no key in Dagster", ((space, key),))


def _defined(lake: Lake, space: str) -> set[str]:
    return {partition[space] for partition, _ in lake.partitions(SPACES[space][0])}


def _stored_keys(lake: Lake, space: str) -> set[str]:
    tables = [name for name, table in TABLES.items() if space in table.partitioned_by and name not in UNOWNED]
    return {partition[space] for table in tables for partition, _ in lake.partitions(table)}


def _deleted(space: str, key: str) -> bool:
    return any((d.space, d.key) == (space, key) and d.state != "restored" for d in journal.read(home()))


def _repair_files(lake: Lake, finding: Finding) -> Iterator[str]:
    """Unlist files that are gone or unreadable; remove what an interrupted write left behind."""
    where: dict[str, Any] = dict(finding.where)
    if set(where) != set(TABLES[finding.table].partitioned_by if finding.table in TABLES else ()):
        return
    if finding.file:
        lake.drop_files(finding.table, [finding.file], **where)
        yield f"unlisted {finding.file} of {finding.table}; its {finding.count:,} rows are made again"
    elif finding.kind == "half-written":
        for path in lake.half_written(finding.table, **where):
            path.unlink()
            yield f"removed {path.name} of {finding.table}, which an interrupted write left behind"


def _wrong(lake: Lake, table: str, model: str) -> list[Finding]:
    return [
        replace(f, where=(("embedding_model", model),)) for f in rules.all_findings(lake, table, embedding_model=model)
    ]
