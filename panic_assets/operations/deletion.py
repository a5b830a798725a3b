"""Deletes a partition key and everything made from it, along the asset graph. It can be undone for a while.

A deletion is written down first. Its order lets it be finished after an interruption at any point: cancel Dagster's runs,
delete the key, wipe materialisations (leaves first), remove rows. Every step may be repeated.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from panic_assets.errors import UserError, suggest
from panic_assets.instance.graph import AssetGraph, key_deletion
from panic_assets.instance.hook import without_hook
from panic_assets.instance.runs import cancel_runs_of
from panic_assets.lake.catalogue import build
from panic_assets.lake.lake import Lake
from panic_assets.operations import journal
from panic_assets.operations.house import House
from panic_assets.operations.journal import Deletion, Entry
from panic_assets.settings import Home, home


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
    where = home()
    for old in journal.unfinished(where):
        if (old.space, old.key) == (space, key):
            return old
    if not exists(house, space, key):
        known = house.instance.get_dynamic_partitions(space)
        raise UserError(f"there is no {house.space(space).noun} {key!r}{suggest(key, known)}")
    return journal.begun(space, key, _entries(house, space, key), purge)


def run(house: House, deletion: Deletion, spare: Sequence[str] = ()) -> Deletion:
    """Carry a planned deletion out. It rebuilds nothing: clusterings show themselves that they are stale."""
    where = home()
    lake, instance = house.lake, house.instance
    space, key = deletion.space, deletion.key
    own = house.space(space)
    column = own.key_column
    deletion = journal.save(where, deletion, "started")
    assets = [dg.AssetKey.from_user_string(e.asset) for e in deletion.entries]
    doomed = {k for e in deletion.entries for k in e.delete}
    left = cancel_runs_of(instance, assets, doomed, wait_s=30, spare=spare)
    if left:
        raise UserError(
            f"Dagster run {left[0]} still works on {own.noun} {key!r}; stop it, then delete again to finish the deletion"
        )
    with lake.lease(own.lease.format(key), wait_seconds=30), without_hook():
        instance.delete_dynamic_partition(space, key)
        for entry, asset in zip(deletion.entries, assets, strict=True):
            if entry.delete:
                instance.wipe_asset_partitions(asset, list(entry.delete))
        trash = None if deletion.purge else deletion.trash(where)
        for table in (t for e in deletion.entries if key in e.delete for t in e.tables):
            if column in lake.tables[table].partitioned_by:
                for partition, _ in list(lake.partitions(table, **{column: key})):
                    lake.remove(table, trash, **partition)
                    if deletion.purge:
                        shutil.rmtree(lake.folder(table, **partition), ignore_errors=True)
        _remove_dependents(lake, deletion, column, trash)
        _remove_rows(lake, deletion, column)
    deletion = journal.save(where, deletion, "done")
    build(lake, where.catalogue)
    expire(where)
    return deletion


def key_deleted(house: House, space: str, key: str) -> None:
    """A key was deleted in Dagster, by its delete button or its API: do the rest. A space without tables has no rest."""
    if owned_tables(house, space):
        with without_hook():
            run(house, journal.begun(space, key, _entries(house, space, key), purge=False))


def restore(house: House, space: str, key: str) -> Deletion:
    """Undo the latest deletion of a key: rows, key and materialisation records."""
    where = home()
    kept = [d for d in journal.restorable(where, space) if d.key == key]
    if not kept:
        mine = any((d.space, d.key) == (space, key) for d in journal.read(where))
        reason = "it was purged, restored, or deleted too long ago" if mine else "it was never deleted"
        raise UserError(f"{house.space(space).noun} {key!r} cannot be restored: {reason}")
    if exists(house, space, key):
        raise UserError(f"{house.space(space).noun} {key!r} exists; delete it before restoring the deleted one")
    deletion = kept[-1]
    lake, instance = house.lake, house.instance
    with lake.lease(house.space(space).lease.format(key), wait_seconds=30):
        lake.restore(deletion.trash(where))
        instance.add_dynamic_partitions(space, [key])
        for entry in reversed(deletion.entries):
            for partition in entry.materialised:
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(entry.asset, partition=partition, description="restored")
                )
    deletion = journal.save(where, deletion, "restored")
    shutil.rmtree(deletion.trash(where), ignore_errors=True)
    build(lake, where.catalogue)
    return deletion


def expire(where: Home) -> int:
    """Remove what was kept long enough for a restore. Returns how many deletions became final."""
    count = 0
    for deletion in journal.read(where):
        until = deletion.restorable_until()
        if until is not None and until < time.time() and deletion.trash(where).exists():
            shutil.rmtree(deletion.trash(where))
            count += 1
    return count


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


def _remove_dependents(lake: Lake, deletion: Deletion, column: str, trash: Path | None) -> None:
    """Remove partitions of other spaces of which no parent is left."""
    for entry in deletion.entries:
        for table in (t for t in entry.tables if column not in lake.tables[t].partitioned_by):
            for partition, _ in list(lake.partitions(table)):
                if set(partition.values()) & set(entry.delete):
                    lake.remove(table, trash, **partition)


def _remove_rows(lake: Lake, deletion: Deletion, column: str) -> None:
    """Take the rows that name the deleted key out of partitions that stay because they have other rows too."""
    for table in {t for e in deletion.entries for t in e.tables}:
        columns = _naming(lake, table, column)
        for partition, _ in list(lake.partitions(table)) if columns else []:
            where = " OR ".join(f'"{column}" = ?' for column in columns)
            key = [deletion.key] * len(columns)
            hit = lake.sql(f"SELECT count(*) AS n FROM {table} WHERE {where}", key, **partition)["n"][0].as_py()
            if hit:
                rest = lake.sql(f"SELECT * FROM {table} WHERE NOT ({where})", key, **partition)
                lake.replace(table, rest, **partition)


def _naming(lake: Lake, table: str, column: str) -> list[str]:
    """Columns that name a key as this column does, other than by being in its partition."""
    schema = lake.tables[table]
    own = [column] if column in schema.names and column not in schema.partitioned_by else []
    return own + [c for r in schema.references if r.anywhere and r.target_columns == (column,) for c in r.columns]
