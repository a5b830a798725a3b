"""Finds what is wrong with everything that is stored, and repairs it: for status, doctor and the orphan sensor.

Iterates over the workloads and names none.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from panic_assets.asleep import asleep
from panic_assets.instance.hook import without_hook
from panic_assets.lake.invariants import Finding, all_findings, broken_files
from panic_assets.lake.lake import Lake
from panic_assets.operations import deletion, journal, operation
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
        return found + files  # No row can be read before these are repaired.
    for table in lake.tables:
        found += all_findings(lake, RULES, table)
    for workload in WORKLOADS:
        if workload.examine is not None:
            found += workload.examine(lake)
    return found + list(_missing(lake))


def repair(house: House, found: list[Finding]) -> Iterator[str]:
    """Remove what is wrong, and say what was done. `recompute` then names what is missing."""
    lake = house.lake
    yield from operation.finish_all(operation.stores(lake, house.instance))
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
        yield f"marked Dagster run {run} as failed, because its process is gone"


def recompute(lake: Lake, stale: bool = True) -> Iterator[tuple[str, str]]:
    """(job, partition) that makes what is missing (and what is stale), upstream first. Nothing that waits for a request."""
    for space in SPACES.values():
        if space.makes is not None:
            keys = {m.key for m in space.left(lake) if m.count and not m.on_request and (stale or not m.stale)}
            yield from ((space.makes, key) for key in sorted(keys))


def examine_keys(house: House) -> Iterator[Finding]:
    """Where Dagster's keys, the lake's partitions and the unfinished operations disagree."""
    interrupted = [begun for begun in operation.unfinished(home()) if house.lake.leased(begun.lease) is None]
    for begun in interrupted:
        yield Finding("half-written", "operations", 1, f"{begun.sentence} was interrupted", (("lease", begun.lease),))
    records = [begun.record for begun in interrupted if begun.record]
    told = {(house.spaces[d.space].key_column, d.key) for d in records if d.space in house.spaces}
    for name, space in SPACES.items():
        keys, defined = set(house.instance.get_dynamic_partitions(name)), space.keys(house.lake)
        elsewhere = _elsewhere(house.lake, space)
        for key in sorted(keys - defined):
            sentence = f"Dagster has the key {key}, but there is no {space.noun} {key}"
            if key in elsewhere:
                sentence = (
                    f"Dagster has the key {key} in the space {name}, but {space.noun} {key} belongs to another space"
                )
            yield Finding("orphaned", space.table, 1, sentence, ((name, key),))
        for key in sorted((_stored_keys(house, space) | defined) - keys):
            if (space.key_column, key) not in told:  # Rows of nothing lie in tables that several spaces share.
                told.add((space.key_column, key))
                sentence = f"{space.noun} {key} has rows, but Dagster has no key for it"
                yield Finding("orphaned", space.table, 1, sentence, ((name, key),))


def _missing(lake: Lake) -> Iterator[Finding]:
    """What is missing and nobody works on, except for what is only made on request."""
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
    """Removes keys without rows. Rows without a key get it back if they are whole and nobody deleted them."""
    keys, defined = set(house.instance.get_dynamic_partitions(space.name)), space.keys(house.lake)
    elsewhere = _elsewhere(house.lake, space)
    for key in sorted(keys - defined):
        with without_hook():
            if key in elsewhere:  # The rows under this name are those of another space.
                house.instance.delete_dynamic_partition(space.name, key)
            else:
                deletion.run(house, deletion.plan(house, space.name, key))
        yield f"removed the key {key} from the space {space.name} of Dagster, because it has no {space.noun} {key}"
    for key in sorted((_stored_keys(house, space) | defined) - keys):
        if key in defined and not _deleted(space.name, key):
            house.instance.add_dynamic_partitions(space.name, [key])
            yield f"gave {space.noun} {key} its key in Dagster back"
        else:
            deletion.run(house, deletion.plan(house, space.name, key))
            yield f"removed the rows of {space.noun} {key}, which is not registered; they can be restored"


def _stored_keys(house: House, space: Space) -> set[str]:
    """Keys under which the assets of the space have rows that are not those of another space."""
    tables = deletion.owned_tables(house, space.name)
    stored = {partition[space.key_column] for table in tables for partition, _ in house.lake.partitions(table)}
    return stored - _elsewhere(house.lake, space)


def _elsewhere(lake: Lake, space: Space) -> set[str]:
    """Keys of other spaces that share tables with this one: families of training runs do."""
    others = [other for other in SPACES.values() if other is not space and other.key_column == space.key_column]
    return {key for other in others for key in other.keys(lake)}


def _deleted(space: str, key: str) -> bool:
    return any((d.space, d.key) == (space, key) and d.state != "restored" for d in journal.read(home()))


def _repair_files(lake: Lake, finding: Finding) -> Iterator[str]:
    """Remove files that are gone or unreadable from their lists, and delete what an interrupted write left behind."""
    where: dict[str, Any] = dict(finding.where)
    if set(where) != set(lake.tables[finding.table].partitioned_by if finding.table in lake.tables else ()):
        return
    if finding.file:
        lake.drop_files(finding.table, [finding.file], **where)
        yield f"took {finding.file} out of table {finding.table}; its {finding.count:,} rows are made again"
    elif finding.kind == "half-written":
        for path in lake.half_written(finding.table, **where):
            path.unlink()
            yield f"removed {path.name} from table {finding.table}; an interrupted write had left it behind"
