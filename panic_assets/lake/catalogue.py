"""`panic.duckdb`, which analysts open. Each catalogue is a file of its own (`lake.generations`), never written again.

Views list their Parquet files explicitly, so a query sees one state of the lake from beginning to end. Small tables
that are often asked are copied in. Someone who has an older catalogue open keeps reading the older state: its files
stay for the grace period.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from panic_assets.asleep import asleep
from panic_assets.errors import UserError
from panic_assets.files import room_needed
from panic_assets.lake import generations
from panic_assets.lake.lake import Lake, literal
from panic_assets.lake.schema import Table
from panic_assets.locks import locked
from panic_assets.registry import registry

if TYPE_CHECKING:
    import duckdb
else:
    duckdb = asleep("duckdb")

HOT_ROWS = 1_000_000
"""A hot table with more rows is left in Parquet, because copying it would slow down every refresh."""


def vector_view(table: str, model: str) -> str:
    """The name of one model's view with fixed-size vectors."""
    return f"{table}_{model}"


def build(lake: Lake, path: Path) -> None:
    """Build the catalogue of the lake as it is now and let `path` lead to it; then sweep what it no longer lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with room_needed(path.parent), locked(lock(lake)):
        generation, folder = generations.coming(path)
        try:
            file = folder / path.name
            file.write_bytes(_empty(tuple(lake.tables.values()), tuple(lake.views.items())))
            with duckdb.connect(str(file)) as connection:
                connection.begin()
                _fill(connection, lake)
                connection.execute(f"INSERT INTO {generations.TABLE} VALUES ({generation}, now())")
                connection.commit()
            generations.publish(path, folder)
        except duckdb.Error as error:
            raise UserError(
                f"{path} could not be rebuilt, so the older one stays in use: {' '.join(str(error).split())}"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        generations.sweep(path, min(lake.grace_seconds, generations.GRACE_SECONDS))
        lake.sweep()


def lock(lake: Lake) -> Path:
    """The lock held while the catalogue is built. Hold it to swap several partitions at once for its readers."""
    return lake.root / ".locks" / "catalogue.lock"


@cache
def _empty(tables: tuple[Table, ...], views: tuple[tuple[str, tuple[str, str]], ...]) -> bytes:
    """The catalogue of a lake without rows, as the bytes of a file. Made once per process: writing hundreds of comments
    on columns takes as long as everything else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.duckdb"
        with duckdb.connect(str(path)) as connection:
            connection.begin()
            lake = Lake(Path(folder) / "lake", {table.name: table for table in tables})
            for name, table in lake.tables.items():
                if not table.hot:
                    _view(connection, name, lake.select(name), table.doc)
                    continue
                connection.execute(f'CREATE TABLE "{name}" AS {lake.select(name)}')
                connection.execute(f'COMMENT ON TABLE "{name}" IS {literal(table.doc)}')
                for column in table.columns:
                    connection.execute(f'COMMENT ON COLUMN "{name}"."{column.name}" IS {literal(column.doc)}')
            for name, (doc, query) in views:
                _view(connection, name, query, doc)
            columns = ", ".join(f"{name} {kind}" for name, kind in generations.COLUMNS.items())
            connection.execute(f"CREATE TABLE {generations.TABLE} ({columns})")
            connection.commit()
        return path.read_bytes()


def _view(connection: duckdb.DuckDBPyConnection, name: str, query: str, doc: str) -> None:
    connection.execute(f'CREATE OR REPLACE VIEW "{name}" AS {query}')
    connection.execute(f'COMMENT ON VIEW "{name}" IS {literal(doc)}')


def _fill(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    for name, table in lake.tables.items():
        rows = sum(found.rows for _, found in lake.partitions(name))
        copied = table.hot and rows <= HOT_ROWS
        if table.hot and not copied:
            connection.execute(f'DROP TABLE "{name}"')
        if copied and rows:
            # By name: rows of an earlier version may lack columns, and have some that are gone.
            known = (
                f"SELECT COLUMNS(lambda c: c IN ({', '.join(map(literal, table.names))})) FROM ({lake.select(name)})"
            )
            connection.execute(f'INSERT INTO "{name}" BY NAME {known}')
        elif rows:
            _view(connection, name, lake.select(name), table.doc)
        if table.vector and "embedding_model" in table.partitioned_by:
            _fixed_size_views(connection, lake, name, table.vector)


def _fixed_size_views(connection: duckdb.DuckDBPyConnection, lake: Lake, table: str, vector: str) -> None:
    stored = {partition["embedding_model"] for partition, _ in lake.partitions(table)}
    for spec in registry.embedders():
        if spec.name in stored:
            connection.execute(
                f'CREATE VIEW "{vector_view(table, spec.name)}" AS SELECT * '
                f'REPLACE ("{vector}"::FLOAT[{spec.dimension}] AS "{vector}") '
                f"FROM ({lake.select(table, embedding_model=spec.name)})"
            )


class Refresher:
    """Rebuilds the catalogue while a long step runs, rarely enough to cost little.

    It rebuilds when the last rebuild is `every` seconds old, and took less than a fiftieth of the time since then.
    """

    def __init__(self, lake: Lake, path: Path, every: float = 5.0) -> None:
        self._lake, self._path, self._every = lake, path, every
        self._due = time.monotonic() + every

    def __call__(self) -> None:
        if time.monotonic() < self._due:
            return
        began = time.monotonic()
        build(self._lake, self._path)
        took = time.monotonic() - began
        self._due = time.monotonic() + max(self._every, 50 * took)
