"""Deletes a partition key and everything made from it, along the asset graph. It can be undone for a while.

A deletion cancels Dagster's runs, then is an operation: it deletes the key, wipes materialisations (leaves first), and
removes rows. A restore is an operation too.
"""

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import dagster as dg

from panic_assets.errors import UserError, suggest
from panic_assets.ids import uuid7
from panic_assets.instance.graph import AssetGraph, key_deletion
from panic_assets.instance.runs import cancel_runs_of
from panic_assets.lake.lake import GRACE_SECONDS, Lake
from panic_assets.lake.manifest import Manifest
from panic_assets.operations import journal, operation
from panic_assets.operations.actions import (
    Action,
    AddKeys,
    Bring,
    DeleteKey,
    Discard,
    Erase,
    Record,
    Retire,
    Show,
    Stores,
    TakeRows,
    Wipe,
    inode,
)
from panic_assets.operations.house import House
from panic_assets.operations.journal import Deletion, Entry
from panic_assets.operations.operation import WAIT_SECONDS, Operation
from panic_assets.settings import Home, home
from panic_assets.workload import Space

More = Callable[[Stores, Deletion], Iterable[Action]]
"""What a workload deletes besides: asked under the lease, before anything is written down."""


def tables_of(graph: AssetGraph, asset_key: dg.AssetKey) -> tuple[str, ...]:
    """The tables an asset says it writes."""
    return tuple(graph.get(asset_key).metadata.get("tables", ()))


def owned_tables(house: House, space: str) -> list[str]:
    """Tables that assets of the space write, in partitions that name its keys."""
    schemas, graph = house.lake.tables, house.graph
    assets = (graph.get(key) for key in graph.get_all_asset_keys())
    mine = (asset for asset in assets if getattr(asset.partitions_def, "name", None) == space)
    tables = dict.fromkeys(table for asset in mine for table in asset.metadata.get("tables", ()))
    column = house.space(space).key_column
    return [table for table in tables if column in schemas[table].partitioned_by and schemas[table].owned]


def exists(house: House, space: str, key: str) -> bool:
    """Whether Dagster knows the key or the lake has rows under it."""
    where = {house.space(space).key_column: key}
    return house.instance.has_dynamic_partition(space, key) or any(
        True for table in owned_tables(house, space) for _ in house.lake.partitions(table, **where)
    )


def plan(house: House, space: str, key: str, purge: bool = False) -> Deletion:
    """What deleting a key would do, asset by asset, leaves first. If its deletion was interrupted, that deletion."""
    own = house.space(space)
    for begun in operation.unfinished(home(), own.lease.format(key)):
        if begun.record is None or begun.record.state != "done":
            raise UserError(f"{begun.sentence} was interrupted; finish it first with `panic doctor --fix`")
        return begun.record
    if not exists(house, space, key):
        known = house.instance.get_dynamic_partitions(space)
        raise UserError(f"there is no {own.noun} {key!r}{suggest(key, known)}")
    identifier = uuid7()
    return Deletion(identifier, space, key, _entries(house, space, key), purge, "done", time.time())


def run(house: House, deletion: Deletion, spare: Sequence[str] = (), more: More | None = None) -> Deletion:
    """Carry a planned deletion out. It rebuilds nothing: clusterings show themselves that they are stale."""
    where = home()
    lake, instance = house.lake, house.instance
    own, key = house.space(deletion.space), deletion.key
    assets = [dg.AssetKey.from_user_string(e.asset) for e in deletion.entries]
    doomed = {k for e in deletion.entries for k in e.delete}
    left = cancel_runs_of(instance, assets, doomed, wait_s=30, spare=spare)
    if left:
        raise UserError(f"Dagster run {left[0]} still works on {own.noun} {key!r}; stop it, then delete again")
    stores = operation.stores(lake, instance)
    lease = own.lease.format(key)
    with lake.lease(lease, wait_seconds=WAIT_SECONDS):
        begun = operation.finish_under(stores, lease)
        if deletion not in [b.record for b in begun]:
            deletion = replace(deletion, at=time.time())
            actions = (
                *_actions(lake, deletion, own, where),
                *(DeleteKey(other, lost) for other, lost in _undefined(house, deletion, own)),
                *(more(stores, deletion) if more else ()),
                Show(at_once=deletion.purge),
            )
            sentence = f"the deletion of {own.noun} {key}"
            operation.perform(stores, Operation(deletion.identifier, sentence, lease, actions, deletion))
    expire(where)
    return deletion


def key_deleted(house: House, space: str, key: str) -> None:
    """A key was deleted in Dagster, by its delete button or its API: do the rest. A space without tables has no rest."""
    if owned_tables(house, space):
        entries = _entries(house, space, key)
        run(house, Deletion(uuid7(), space, key, entries, False, "done", time.time()))


def restore(
    house: House, space: str, key: str, more: More | None = None, instead_of: Sequence[Action] = ()
) -> Deletion:
    """Undo the latest deletion of a key: rows, key and materialisation records. What was interrupted is carried on.

    Actions of `instead_of` make room first; without any, a key that exists is refused.
    """
    where, lake, own = home(), house.lake, house.space(space)
    stores = operation.stores(lake, house.instance)
    lease = own.lease.format(key)
    with lake.lease(lease, wait_seconds=WAIT_SECONDS):
        begun = [b.record for b in operation.finish_under(stores, lease) if b.record and b.record.state == "restored"]
        restored = begun[-1] if begun else _to_restore(house, own, key, bool(instead_of))
        if not begun:
            actions = (*instead_of, *_back(stores, restored, where), *(more(stores, restored) if more else ()))
            actions = (*actions, *_defined(house, restored, own), _discarded(stores, restored, where), Show())
            sentence = f"the restore of {own.noun} {key}"
            new = Operation(uuid7(), sentence, lease, actions, restored)
            operation.perform(stores, new)
    return restored


def _to_restore(house: House, own: Space, key: str, over: bool) -> Deletion:
    """The deletion to undo, as the journal has it afterwards."""
    where = home()
    kept = [d for d in journal.restorable(where, own.name) if d.key == key]
    if not kept:
        mine = any((d.space, d.key) == (own.name, key) for d in journal.read(where))
        reason = "it was purged, restored, or deleted too long ago" if mine else "it was never deleted"
        raise UserError(f"{own.noun} {key!r} cannot be restored: {reason}")
    if not over and exists(house, own.name, key):
        raise UserError(f"{own.noun} {key!r} exists; delete it before restoring the deleted one")
    return replace(kept[-1], state="restored", at=time.time())


def _back(stores: Stores, deletion: Deletion, where: Home) -> Iterator[Action]:
    trash = deletion.trash(where)
    kept = Lake(trash, stores.lake.tables)
    for table in kept.tables:
        for partition, _ in kept.partitions(table):
            yield Bring(table, partition, stores.name(trash))
    yield AddKeys(deletion.space, (deletion.key,))
    for entry in reversed(deletion.entries):
        if entry.materialised:
            yield Record(entry.asset, entry.materialised, "restored")


def _discarded(stores: Stores, deletion: Deletion, where: Home) -> Action:
    trash = deletion.trash(where)
    return Discard(stores.name(trash), inode(trash))


def _actions(lake: Lake, deletion: Deletion, own: Space, where: Home) -> list[Action]:
    """What a deletion does, bound to the files that are there now."""
    found: list[Action] = [DeleteKey(deletion.space, deletion.key)]
    found += [Wipe(entry.asset, entry.delete) for entry in deletion.entries if entry.delete]
    kept = "" if deletion.purge else str(deletion.trash(where).relative_to(where.root))
    gone = list(_gone(lake, deletion, own.key_column))
    for table, partition, manifest in gone:
        found.append(Retire(table, partition, tuple(f.name for f in manifest.files), kept))
        if deletion.purge:
            found.append(Erase(table, partition))
    return [*found, *_rows(lake, deletion, own, [(table, partition) for table, partition, _ in gone])]


def _gone(lake: Lake, deletion: Deletion, column: str) -> Iterator[tuple[str, dict[str, str], Manifest]]:
    """Partitions that go: those of the key, and those of other spaces of which no parent is left."""
    for entry in deletion.entries:
        for table in entry.tables:
            if column in lake.tables[table].partitioned_by:
                stored = lake.partitions(table, **{column: deletion.key}) if deletion.key in entry.delete else ()
                yield from ((table, partition, manifest) for partition, manifest in stored)
            else:
                stored = lake.partitions(table) if entry.delete else ()
                yield from ((table, p, manifest) for p, manifest in stored if set(p.values()) & set(entry.delete))


def _rows(lake: Lake, deletion: Deletion, own: Space, gone: Collection[tuple[str, dict[str, str]]]) -> Iterator[Action]:
    """Rows that name the key in partitions that stay."""
    key, column = deletion.key, own.key_column
    rooted = lake.tables[own.table].partitioned_by == (column,)
    root = lake.manifest(own.table, **{column: key}) if rooted else None
    for table in sorted({t for e in deletion.entries for t in e.tables}):
        columns = tuple(_naming(lake, table, column))
        for partition, manifest in lake.partitions(table) if columns else ():
            if (table, partition) not in gone:
                yield TakeRows(
                    table=table,
                    partition=partition,
                    files=tuple(f.name for f in manifest.files),
                    columns=columns,
                    key=key,
                    root=own.table if rooted else "",
                    root_column=column,
                    root_files=tuple(f.name for f in root.files) if root else (),
                )


class _Without(Lake):
    """A lake in which partitions of a key are not seen."""

    def __init__(self, lake: Lake, column: str, key: str) -> None:
        super().__init__(lake.root, lake.tables)
        self._column, self._key = column, key

    def partitions(self, table: str, **where: str) -> Iterator[tuple[dict[str, str], Manifest]]:
        for partition, manifest in super().partitions(table, **where):
            if partition.get(self._column) != self._key:
                yield partition, manifest


def _undefined(house: House, deletion: Deletion, own: Space) -> Iterator[tuple[str, str]]:
    """Keys of other spaces that nothing defines once the deleted key is gone, such as a model that only it named."""
    without = _Without(house.lake, own.key_column, deletion.key)
    for name, space in house.spaces.items():
        if name != own.name and space.defined is not None:
            lost = set(space.defined(house.lake)) - set(space.defined(without))
            yield from ((name, key) for key in sorted(lost))


def _defined(house: House, restored: Deletion, own: Space) -> Iterator[Action]:
    """Keys of other spaces that what is restored defines."""
    kept = Lake(restored.trash(home()), house.lake.tables)
    for name, space in house.spaces.items():
        if name != own.name and space.defined is not None and (keys := sorted(space.defined(kept))):
            yield AddKeys(name, tuple(keys))


def expire(where: Home) -> int:
    """Remove what was kept long enough for a restore. Returns how many deletions became final."""
    count = 0
    _remove_unknown(where)
    for deletion in journal.read(where):
        until = deletion.restorable_until()
        if until is not None and until < time.time() and deletion.trash(where).exists():
            shutil.rmtree(deletion.trash(where))
            count += 1
    return count


def _remove_unknown(where: Home) -> None:
    """Remove what an operation prepared that was interrupted before it was written down."""
    known = {d.identifier for d in journal.read(where)} | {o.identifier for o in operation.unfinished(where)}
    for folder in (where.lake / ".trash").glob("*"):
        if folder.name not in known and time.time() - folder.stat().st_mtime > GRACE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _entries(house: House, space: str, key: str) -> tuple[Entry, ...]:
    entries = []
    lake, instance, column = house.lake, house.instance, house.space(space).key_column
    for step in key_deletion(house.graph, instance, space, [key]).steps:
        tables = tables_of(house.graph, step.asset_key)
        stored = [
            m for t in tables if column in lake.tables[t].partitioned_by for _, m in lake.partitions(t, **{column: key})
        ]
        rows, size = sum(m.rows for m in stored), sum(m.bytes for m in stored)
        rows += sum(_count(lake, t, column, key) for t in tables if column not in lake.tables[t].partitioned_by)
        made = instance.get_materialized_partitions(step.asset_key)
        # Not all partitions of other spaces were ever made: only what is there is named.
        there = {key, *made, *(v for t in tables for p, _ in lake.partitions(t) for v in p.values())}
        entries.append(
            Entry(
                asset=step.asset_key.to_user_string(),
                tables=tables,
                delete=tuple(k for k in step.delete if k in there),
                rebuild=tuple(k for k in step.rebuild if k in made),
                rows=rows,
                bytes=size,
                # The UI wipes the records before it deletes the key: rows that are there were made.
                materialised=tuple(k for k in step.delete if k in made or (k == key and stored)),
            )
        )
    return tuple(entries)


def _count(lake: Lake, table: str, named: str, key: str) -> int:
    columns = _naming(lake, table, named)
    where = " OR ".join(f'"{column}" = ?' for column in columns)
    query = f"SELECT count(*) AS n FROM {table} WHERE {where}"
    return lake.sql(query, [key] * len(columns))["n"][0].as_py() if columns else 0


def _naming(lake: Lake, table: str, column: str) -> list[str]:
    """Columns that name a key as this column does, other than by being in its partition."""
    schema = lake.tables[table]
    own = [column] if column in schema.names and column not in schema.partitioned_by else []
    return own + [c for r in schema.references if r.anywhere and r.target_columns == (column,) for c in r.columns]
