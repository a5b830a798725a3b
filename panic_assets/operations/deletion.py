"""Deleting a partition key and all that hangs on it, along the asset graph; and undoing it for a while.

Written down first, then done in an order that an interruption at any point leaves finishable: cancel runs,
delete the key, wipe materialisations (leaves first), remove rows. Every step may be repeated.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from panic_assets.errors import UserError, suggest
from panic_assets.instance import graph
from panic_assets.instance.hook import without_hook
from panic_assets.instance.runs import cancel_runs_of
from panic_assets.lake.catalogue import build
from panic_assets.lake.lake import Lake
from panic_assets.lake.tables import TABLES
from panic_assets.operations import journal
from panic_assets.operations.journal import Deletion, Entry
from panic_assets.settings import Home, home
from panic_assets.workloads import asset_graph


def tables_of(asset_key: dg.AssetKey) -> tuple[str, ...]:
    """The tables an asset says it writes."""
    return tuple(asset_graph().get(asset_key).metadata.get("tables", ()))


def exists(lake: Lake, instance: dg.DagsterInstance, space: str, key: str) -> bool:
    """Whether Dagster knows the key or the lake has rows under it."""
    return instance.has_dynamic_partition(space, key) or any(
        True for table in _partitioned_by(space) for _ in lake.partitions(table, **{space: key})
    )


def plan(instance: dg.DagsterInstance, space: str, key: str, purge: bool = False) -> Deletion:
    """What deleting a key would do, asset by asset, leaves first. An interrupted deletion of the key is that one."""
    where = home()
    lake = Lake(where.lake)
    for old in journal.unfinished(where):
        if (old.space, old.key) == (space, key):
            return old
    if not exists(lake, instance, space, key):
        known = instance.get_dynamic_partitions(space)
        raise UserError(f"there is no {space} {key!r}{suggest(key, known)}")
    return journal.begun(space, key, _entries(lake, instance, space, key), purge)


def run(instance: dg.DagsterInstance, deletion: Deletion, spare: Sequence[str] = ()) -> Deletion:
    """Carry a planned deletion out. Rebuilds are not done here: stale clusterings say themselves that they are."""
    where = home()
    lake = Lake(where.lake)
    space, key = deletion.space, deletion.key
    deletion = journal.save(where, deletion, "started")
    assets = [dg.AssetKey.from_user_string(e.asset) for e in deletion.entries]
    doomed = {k for e in deletion.entries for k in e.delete}
    left = cancel_runs_of(instance, assets, doomed, wait_s=30, spare=spare)
    if left:
        raise UserError(f"run {left[0]} still works on {space} {key!r}; stop it, then ask again to finish the deletion")
    with lake.lease(f"{space} {key}", wait_seconds=30), without_hook():
        instance.delete_dynamic_partition(space, key)
        for entry, asset in zip(deletion.entries, assets, strict=True):
            if entry.delete:
                instance.wipe_asset_partitions(asset, list(entry.delete))
        trash = None if deletion.purge else deletion.trash(where)
        for table in _partitioned_by(space):
            for partition, _ in list(lake.partitions(table, **{space: key})):
                lake.remove(table, trash, **partition)
                if deletion.purge:
                    shutil.rmtree(lake.folder(table, **partition), ignore_errors=True)
        _remove_dependents(lake, deletion, trash)
        _remove_rows(lake, deletion)
    deletion = journal.save(where, deletion, "done")
    build(lake, where.catalogue)
    expire(where)
    return deletion


def key_deleted(instance: dg.DagsterInstance, space: str, key: str) -> None:
    """The key was deleted in Dagster (its delete button, its API): do the rest. Spaces without tables: nothing to do."""
    lake = Lake(home().lake)
    if _partitioned_by(space):
        with without_hook():
            run(instance, journal.begun(space, key, _entries(lake, instance, space, key), purge=False))


def restore(instance: dg.DagsterInstance, space: str, key: str) -> Deletion:
    """Undo the latest deletion of a key: rows, key and materialisation records."""
    where = home()
    lake = Lake(where.lake)
    kept = [d for d in restorable(space) if d.key == key]
    if not kept:
        mine = any((d.space, d.key) == (space, key) for d in journal.read(where))
        reason = "it was purged, restored or deleted too long ago" if mine else "it was never deleted"
        raise UserError(f"{space} {key!r} cannot be restored: {reason}")
    if exists(lake, instance, space, key):
        raise UserError(f"{space} {key!r} exists; delete it before restoring the deleted one")
    deletion = kept[-1]
    with lake.lease(f"{space} {key}", wait_seconds=30):
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


def restorable(space: str) -> list[Deletion]:
    """Deletions that can still be undone, oldest first."""
    where = home()
    return [
        d
        for d in journal.read(where)
        if d.space == space and (d.restorable_until() or 0) > time.time() and d.trash(where).exists()
    ]


def expire(where: Home) -> int:
    """Forget what was kept for a restore for long enough; returns how many deletions became final."""
    count = 0
    for deletion in journal.read(where):
        until = deletion.restorable_until()
        if until is not None and until < time.time() and deletion.trash(where).exists():
            shutil.rmtree(deletion.trash(where))
            count += 1
    return count


def _partitioned_by(space: str) -> list[str]:
    return [name for name, table in TABLES.items() if space in table.partitioned_by]


def _entries(lake: Lake, instance: dg.DagsterInstance, space: str, key: str) -> tuple[Entry, ...]:
    entries = []
    for step in graph.key_deletion(asset_graph(), instance, space, [key]).steps:
        tables = tables_of(step.asset_key)
        stored = [m for t in tables if space in TABLES[t].partitioned_by for _, m in lake.partitions(t, **{space: key})]
        rows, size = sum(m.rows for m in stored), sum(m.bytes for m in stored)
        rows += sum(_count(lake, t, space, key) for t in tables if space not in TABLES[t].partitioned_by)
        made = instance.get_materialized_partitions(step.asset_key)
        # Partitions of other spaces were never all made: only what is there is worth naming.
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


def _count(lake: Lake, table: str, space: str, key: str) -> int:
    columns = _naming(table, space)
    where = " OR ".join(f'"{column}" = ?' for column in columns)
    query = f"SELECT count(*) AS n FROM {table} WHERE {where}"
    return lake.sql(query, [key] * len(columns))["n"][0].as_py() if columns else 0


def _remove_dependents(lake: Lake, deletion: Deletion, trash: Path | None) -> None:
    """Remove partitions of other spaces that died because no parent of theirs survived."""
    for entry in deletion.entries:
        for table in (t for t in entry.tables if deletion.space not in TABLES[t].partitioned_by):
            for partition, _ in list(lake.partitions(table)):
                if set(partition.values()) & set(entry.delete):
                    lake.remove(table, trash, **partition)


def _remove_rows(lake: Lake, deletion: Deletion) -> None:
    """Take the rows that name the deleted key out of partitions that survive because they are others' too."""
    for table in {t for e in deletion.entries for t in e.tables}:
        columns = _naming(table, deletion.space)
        for partition, _ in list(lake.partitions(table)) if columns else []:
            where = " OR ".join(f'"{column}" = ?' for column in columns)
            key = [deletion.key] * len(columns)
            hit = lake.sql(f"SELECT count(*) AS n FROM {table} WHERE {where}", key, **partition)["n"][0].as_py()
            if hit:
                rest = lake.sql(f"SELECT * FROM {table} WHERE NOT ({where})", key, **partition)
                lake.replace(table, rest, **partition)


def _naming(table: str, space: str) -> list[str]:
    """Columns that name a key of the space, other than by being in its partition."""
    schema = TABLES[table]
    own = [space] if space in schema.names and space not in schema.partitioned_by else []
    return own + [c for r in schema.references if r.anywhere and r.target_columns == (space,) for c in r.columns]
