"""What is wrong with the platform's data, and its repair: one examination for status, doctor and orphan sensor.

Iterates over the workloads and names none.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from panic_assets.asleep import asleep
from panic_assets.instance.hook import without_hook
from panic_assets.lake.invariants import Finding, all_findings, broken_files
from panic_assets.lake.lake import Lake
from panic_assets.operations import deletion, journal
from panic_assets.operations.house import House
from panic_assets.settings import home
from panic_assets.workload import Space
from panic_assets.workloads import RULES, SPACES, WORKLOADS

if TYPE_CHECKING:
    from panic_assets.instance import launcher
else:
    launcher = asleep("panic_assets.instance.launcher")


def examine(house: House) -> list[Finding]:
    """Everything that is wrong, in the order it should be repaired."""
    lake = house.lake
    found = list(examine_keys(house))
    files = [f for table in lake.tables for f in broken_files(lake, table)]
    if any(f.file for f in files):
        return found + files  # No row can be asked before these are repaired.
    for table in lake.tables:
        found += all_findings(lake, RULES, table)
    for workload in WORKLOADS:
        if workload.examine is not None:
            found += workload.examine(lake)
    return found + list(_missing(lake))


def repair(house: House, found: list[Finding]) -> Iterator[str]:
    """Remove what is wrong; says what it did. What is then missing is for `recompute` to name."""
    lake = house.lake
    for begun in journal.unfinished(home()):
        deletion.run(house, begun)
        yield f"finished the deletion of {begun.space} {begun.key}"
    for finding in found:
        yield from _repair_files(lake, finding)
    for space in SPACES.values():
        yield from _repair_keys(house, space)
    for workload in WORKLOADS:
        if workload.mend is not None:
            yield from workload.mend(house)
    for space in SPACES.values():
        for key in sorted(space.keys(lake)):
            with lake.lease(space.lease.format(key), wait_seconds=30):
                yield from (f"{space.noun} {key}: {done}" for done in space.repair(lake, key))
    freed = lake.sweep()
    if freed:
        yield f"removed {freed:,} bytes of files that nothing refers to"
    for run in launcher.fail_dead_runs(house.instance):
        yield f"marked run {run} as failed: its process is gone"


def recompute(lake: Lake, stale: bool = True) -> Iterator[tuple[str, str]]:
    """(job, partition) that makes what is missing (and what is stale), upstream first. Nothing that waits for a request."""
    for space in SPACES.values():
        keys = {m.key for m in space.left(lake) if m.count and not m.on_request and (stale or not m.stale)}
        for key in sorted(keys):
            job = space.makes(lake, key)
            if job is not None:
                yield job, key


def examine_keys(house: House) -> Iterator[Finding]:
    """Where Dagster's keys, the lake's partitions and the journal of deletions disagree."""
    unfinished = journal.unfinished(home())
    for begun in unfinished:
        sentence = f"the deletion of {begun.space} {begun.key} was interrupted"
        table = SPACES[begun.space].table if begun.space in SPACES else begun.space
        yield Finding("half-written", table, 1, sentence, ((begun.space, begun.key),))
    for name, space in SPACES.items():
        keys, defined = set(house.instance.get_dynamic_partitions(name)), space.keys(house.lake)
        for key in sorted(keys - defined):
            sentence = f"the key {key} of Dagster names no {space.noun} that is there"
            yield Finding("orphaned", space.table, 1, sentence, ((name, key),))
        busy = {d.key for d in unfinished if d.space == name}
        for key in sorted((_stored_keys(house, space) | defined) - keys - busy):
            sentence = f"{space.noun} {key} has rows but no key in Dagster"
            yield Finding("orphaned", space.table, 1, sentence, ((name, key),))


def _missing(lake: Lake) -> Iterator[Finding]:
    """What is missing and nobody works on; without what waits for a request."""
    for name, space in SPACES.items():
        busy: dict[str, bool] = {}
        for left in space.left(lake):
            if not left.count or left.on_request:
                continue
            if left.key not in busy:
                busy[left.key] = lake.leased(space.lease.format(left.key)) is not None
            if not busy[left.key]:
                sentence = f"{space.noun} {left}"
                kind: Any = "stale" if left.stale else "missing"
                yield Finding(kind, left.stage, left.count, sentence, ((name, left.key),))


def _repair_keys(house: House, space: Space) -> Iterator[str]:
    """Keys of nothing go; rows without a key get it back where they are whole and nobody deleted them."""
    keys, defined = set(house.instance.get_dynamic_partitions(space.name)), space.keys(house.lake)
    for key in sorted(keys - defined):
        with without_hook():
            deletion.run(house, deletion.plan(house, space.name, key))
        yield f"removed the key {key}, which names no {space.noun} that is there"
    for key in sorted((_stored_keys(house, space) | defined) - keys):
        if key in defined and not _deleted(space.name, key):
            house.instance.add_dynamic_partitions(space.name, [key])
            yield f"gave {space.noun} {key} its key back"
        else:
            deletion.run(house, deletion.plan(house, space.name, key))
            yield f"removed rows of {space.noun} {key}, which is not registered (they can be restored)"


def _stored_keys(house: House, space: Space) -> set[str]:
    """Keys under which the assets of the space have rows."""
    tables = deletion.owned_tables(house, space.name)
    return {partition[space.key_column] for table in tables for partition, _ in house.lake.partitions(table)}


def _deleted(space: str, key: str) -> bool:
    return any((d.space, d.key) == (space, key) and d.state != "restored" for d in journal.read(home()))


def _repair_files(lake: Lake, finding: Finding) -> Iterator[str]:
    """Unlist files that are gone or unreadable; remove what an interrupted write left behind."""
    where: dict[str, Any] = dict(finding.where)
    if set(where) != set(lake.tables[finding.table].partitioned_by if finding.table in lake.tables else ()):
        return
    if finding.file:
        lake.drop_files(finding.table, [finding.file], **where)
        yield f"unlisted {finding.file} of {finding.table}; its {finding.count:,} rows are made again"
    elif finding.kind == "half-written":
        for path in lake.half_written(finding.table, **where):
            path.unlink()
            yield f"removed {path.name} of {finding.table}, which an interrupted write left behind"
