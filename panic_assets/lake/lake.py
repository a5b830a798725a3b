"""The lake: partitioned Parquet, written atomically, read with SQL while it is being written."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from panic_assets.asleep import asleep
from panic_assets.files import TEMPORARY, appearing
from panic_assets.lake import manifest as manifests
from panic_assets.lake.lease import held, lease
from panic_assets.lake.manifest import Manifest, StoredFile, folder_of, partition_of
from panic_assets.lake.schema import DUCKDB, Table
from panic_assets.locks import locked

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
else:
    duckdb = asleep("duckdb")
    pa = asleep("pyarrow")
    pc = asleep("pyarrow.compute")
    pq = asleep("pyarrow.parquet")

Rows: TypeAlias = "pa.Table | Sequence[Mapping[str, Any]]"

GRACE_SECONDS = 3600.0
"""How long a retired file stays readable for readers that opened an older catalogue."""
SMALL_FILE = 16 << 20
MANY_FILES = 32
LONGEST_NAME = 200
"""Of a lock file: file systems allow 255 bytes."""


class Lake:
    """Tables under one folder. Cheap to make; safe to use from several processes at once."""

    def __init__(
        self,
        root: Path,
        tables: Mapping[str, Table],
        views: Mapping[str, tuple[str, str]] | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self.root = root
        self.tables = tables
        self.views = views or {}
        """View -> what it holds, and its SQL: the catalogue adds them."""
        self.grace_seconds = grace_seconds

    # --- what there is -------------------------------------------------------------------------

    def partitions(self, table: str, **where: str) -> Iterator[tuple[dict[str, str], Manifest]]:
        """Stored partitions of a table with their manifests; `where` narrows by partition columns."""
        schema = self.tables[table]
        narrowed = {c: v for c, v in where.items() if c in schema.partitioned_by}
        depth = len(schema.partitioned_by)
        if len(narrowed) == depth:
            folders: Iterable[Path] = [folder_of(self.root, schema, narrowed)]
        else:
            folders = sorted((self.root / table).glob("/".join(["*"] * depth)))
        for folder in folders:
            found = manifests.read(folder)
            if found is None or found.removed:
                continue
            partition = partition_of(folder, schema)
            if all(partition[c] == v for c, v in narrowed.items()):
                yield partition, found

    def manifest(self, table: str, **partition: str) -> Manifest | None:
        """The manifest of one partition; None when it was never written or was removed."""
        found = manifests.read(self.folder(table, **partition))
        return None if found is None or found.removed else found

    def folder(self, table: str, **partition: str) -> Path:
        """Where a partition's files are."""
        return folder_of(self.root, self.tables[table], partition)

    def files(self, table: str, **where: str) -> list[Path]:
        """Every live file of a table, in the order it was written within each partition."""
        return [
            self.folder(table, **partition) / f.name
            for partition, found in self.partitions(table, **where)
            for f in found.files
        ]

    # --- reading -------------------------------------------------------------------------------

    def select(self, table: str, **where: str) -> str:
        """A SQL SELECT over the table's live files; typed and empty when there are none."""
        schema = self.tables[table]
        stored = list(self.partitions(table, **where))
        paths = [self.folder(table, **p) / f.name for p, found in stored for f in found.files]
        if not paths:
            columns = ", ".join(f'CAST(NULL AS {DUCKDB[c.type]}) AS "{c.name}"' for c in schema.columns)
            return f"SELECT {columns} WHERE false"
        mixed = len({f.schema for _, found in stored for f in found.files}) > 1
        listed = ", ".join(literal(str(path)) for path in paths)
        return f"SELECT * FROM read_parquet([{listed}], union_by_name={str(mixed).lower()})"

    def connect(self, tables: Iterable[str], **where: str) -> duckdb.DuckDBPyConnection:
        """An in-memory connection with a view for each named table; `where` narrows by partition columns."""
        connection = _database(os.getpid()).cursor()
        connection.execute("SET TimeZone='UTC'")
        for table in tables:
            connection.execute(f'CREATE TEMP VIEW "{table}" AS {self.select(table, **where)}')
        return connection

    def mentioned(self, query: str) -> list[str]:
        """Tables whose names occur in a query."""
        return [t for t in self.tables if re.search(rf"\b{t}\b", query)]

    def sql(self, query: str, parameters: Sequence[Any] | None = None, **where: str) -> pa.Table:
        """Run a query over the lake's tables (found by name in the text) and return Arrow."""
        with self.connect(self.mentioned(query), **where) as connection:
            return connection.sql(query, params=list(parameters or [])).to_arrow_table()

    def rows(self, query: str, parameters: Sequence[Any] | None = None, **where: str) -> list[dict[str, Any]]:
        """The same as rows, for a command that shows a few: it does not wait for Arrow to be imported."""
        with self.connect(self.mentioned(query), **where) as connection:
            found = connection.execute(query, list(parameters or []))
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    # --- writing -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lease(
        self, what: str, wait_seconds: float = 0.0, on_wait: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        """Be the only writer of a unit of work, across processes; see `lake.lease`."""
        with lease(self._lease_file(what), what, wait_seconds, on_wait):
            yield

    def leased(self, what: str) -> str | None:
        """Who works on it right now, in words; None if nobody does."""
        return held(self._lease_file(what))

    def _lease_file(self, what: str) -> Path:
        name = quote(what, safe=" ")
        if len(name) > LONGEST_NAME:
            name = hashlib.sha256(what.encode()).hexdigest()
        return self.root / ".locks" / f"{name}.lock"

    def writer(self, table: str, /, **partition: str) -> Writer:
        """Buffered appending to one partition, visible as it goes."""
        return Writer(self, self.tables[table], partition, replace=False)

    def replacing(self, table: str, /, **partition: str) -> Writer:
        """Buffered writing of everything that a partition shall hold. It is swapped in as a whole at the end."""
        return Writer(self, self.tables[table], partition, replace=True)

    def rewrite(self, table: str, query: str, parameters: Sequence[Any] = (), /, **partition: str) -> None:
        """Replace a partition by the result of a query over its rows. It streams: it may be larger than memory."""
        with (
            self.connect(self.mentioned(query), **partition) as connection,
            self.replacing(table, **partition) as out,
        ):
            for batch in connection.sql(query, params=list(parameters)).to_arrow_reader(1024):
                out.add(pa.Table.from_batches([batch]))

    def replace(self, table: str, rows: Rows, /, **partition: str) -> Manifest:
        """Swap a partition's rows for `rows` in one atomic step."""
        with self.replacing(table, **partition) as out:
            out.add(rows)
        found = self.manifest(table, **partition)
        assert found is not None
        return found

    def drop_files(self, table: str, names: Iterable[str], **partition: str) -> None:
        """Take files that cannot be read off the list. Their rows are lost: from now on they are missing."""
        folder = self.folder(table, **partition)
        with locked(folder / ".lock"):
            now = manifests.read(folder)
            if now is not None:
                kept = tuple(f for f in now.files if f.name not in set(names))
                manifests.write(folder, now.swapped(kept, removed=now.removed))

    def remove(self, table: str, **partition: str) -> Manifest | None:
        """Forget a partition: its files are retired. Returns what was removed; None when there was nothing."""
        folder = self.folder(table, **partition)
        if not folder.exists():
            return None
        with locked(folder / ".lock"):
            found = manifests.read(folder)
            if found is None or found.removed:
                return None
            manifests.write(folder, found.swapped((), removed=True))
        return found

    def retire(self, table: str, names: Collection[str], kept: Path | None = None, **partition: str) -> None:
        """Forget these files of a partition. If it has no others, the partition is forgotten too.

        With `kept`, they are first linked into the lake in that folder. `bring` brings them back from there. After an
        interruption, this may be repeated.
        """
        folder = self.folder(table, **partition)
        if not folder.exists():
            return
        with locked(folder / ".lock"):
            found = manifests.read(folder)
            if found is None or found.removed:
                return
            gone = tuple(f for f in found.files if f.name in names)
            rest = tuple(f for f in found.files if f.name not in names)
            if rest and not gone:
                return
            if kept is not None:
                there = folder_of(kept, self.tables[table], partition)
                there.mkdir(parents=True, exist_ok=True)
                _link(gone, folder, there)
                manifests.write(there, Manifest().swapped(gone))
            manifests.write(folder, found.swapped(rest, removed=not rest))

    def erase(self, table: str, **partition: str) -> None:
        """Remove everything of a partition that does not count any more, without waiting for who may still read it."""
        folder = self.folder(table, **partition)
        if not folder.exists():
            return
        with locked(folder / ".lock"):
            found = manifests.read(folder)
            if found is not None and not found.removed:
                manifests.write(folder, replace(found, retired=()))
                names = {manifests.MANIFEST, *(f.name for f in found.files)}
            else:
                names = set()
            for path in folder.iterdir():
                if path.is_file() and path.name not in {".lock", *names}:
                    path.unlink()

    def bring(self, table: str, kept: Path, **partition: str) -> None:
        """Bring back what the lake in `kept` has of a partition. One that was written again meanwhile stays as it is."""
        there = folder_of(kept, self.tables[table], partition)
        saved = manifests.read(there)
        if saved is None:
            return
        folder = self.folder(table, **partition)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            now = manifests.read(folder)
            if now is None or now.removed:
                _link(saved.files, there, folder)
                manifests.write(folder, (now or Manifest()).swapped(saved.files))

    def take_rows(
        self,
        table: str,
        condition: str,
        parameters: Sequence[Any],
        only: Collection[str] | None = None,
        **partition: str,
    ) -> None:
        """Take the rows out of a partition that meet the condition, which must not be null. With `only`, look in these
        files alone. If somebody writes to the partition meanwhile, look again: nobody's rows are lost."""
        while (found := self.manifest(table, **partition)) is not None:
            suspects = [f for f in found.files if only is None or f.name in only]
            hit = [f for f in suspects if self._count(table, [f], condition, parameters, partition)]
            if not hit:
                return
            parts = [
                self._select(table, [f], partition) + (f" WHERE NOT ({condition})" if f in hit else "")
                for f in found.files
            ]
            query, values = " UNION ALL BY NAME ".join(parts), [*parameters] * len(hit)
            try:
                with (
                    self.connect([]) as connection,
                    Writer(self, self.tables[table], partition, replace=True, of=found.generation) as out,
                ):
                    for batch in connection.sql(query, params=values).to_arrow_reader(1024):
                        out.add(pa.Table.from_batches([batch]))
            except _Changed:
                continue
            return

    def _select(self, table: str, files: Sequence[StoredFile], partition: dict[str, str]) -> str:
        folder = self.folder(table, **partition)
        listed = ", ".join(literal(str(folder / f.name)) for f in files)
        return f"SELECT * FROM read_parquet([{listed}], union_by_name=true)"

    def _count(
        self,
        table: str,
        files: Sequence[StoredFile],
        condition: str,
        parameters: Sequence[Any],
        partition: dict[str, str],
    ) -> int:
        query = f"SELECT count(*) FROM ({self._select(table, files, partition)}) WHERE {condition}"
        with self.connect([]) as connection:
            found = connection.execute(query, list(parameters)).fetchone()
        return found[0] if found else 0

    def sweep(self) -> int:
        """Remove retired files whose grace period is over, and temporary files of that age; returns the bytes freed.

        The catalogue calls this once it lists none of them. The folder of a removed partition stays, with its
        lock in it: somebody may be waiting for that lock in order to write.
        """
        return sum(
            self._sweep_folder(folder)
            for name, schema in self.tables.items()
            for folder in (self.root / name).glob("/".join(["*"] * len(schema.partitioned_by)))
        )

    def half_written(self, table: str, **partition: str) -> list[Path]:
        """Files that a killed or failed write left behind: no manifest lists them, and they are older than a write."""
        folder = self.folder(table, **partition)
        found = manifests.read(folder) or Manifest()
        known = {f.name for f in found.files} | {name for name, _ in found.retired}
        return [
            path
            for path in folder.glob("*")
            if path.name not in known
            and path.name not in (manifests.MANIFEST, ".lock")
            and time.time() - path.stat().st_mtime > self.grace_seconds
        ]

    def _sweep_folder(self, folder: Path) -> int:
        freed = 0
        old = time.time() - self.grace_seconds
        for path in folder.glob(f"*{TEMPORARY}"):
            with contextlib.suppress(FileNotFoundError):  # Its writer just finished.
                found = path.stat()
                if found.st_mtime <= old:
                    path.unlink()
                    freed += found.st_size
        if not _due(manifests.read(folder), old):
            return freed
        with locked(folder / ".lock"):
            now = manifests.read(folder)
            due = _due(now, old)
            if now is not None and due:
                for name in due:
                    path = folder / name
                    freed += path.stat().st_size if path.exists() else 0
                    path.unlink(missing_ok=True)
                manifests.write(folder, replace(now, retired=tuple(r for r in now.retired if r[0] not in due)))
        return freed


class _Changed(Exception):
    """A partition was written by somebody else in the meantime."""


def _link(files: Iterable[StoredFile], source: Path, target: Path) -> None:
    for stored in files:
        if not (target / stored.name).exists():
            os.link(source / stored.name, target / stored.name)


def _due(found: Manifest | None, old: float) -> set[str]:
    """Files retired at `old` or before."""
    return {name for name, at in found.retired if at <= old} if found else set()


class Writer:
    """Rows on their way into one partition.

    `add` buffers; `flush` makes everything added so far durable and (unless replacing) visible in one
    step. Flushes happen by themselves at step boundaries the caller marks with `add`, once enough rows,
    bytes or seconds have gathered. Leaving the `with` block normally flushes (and swaps, when replacing);
    leaving it by an exception keeps what was flushed and drops the buffer.
    """

    def __init__(
        self,
        lake: Lake,
        table: Table,
        partition: dict[str, str],
        *,
        replace: bool,
        of: int | None = None,
        every_seconds: float = 2.0,
        every_rows: int = 50_000,
        every_bytes: int = 64 << 20,
    ) -> None:
        self.lake = lake
        self.table = table
        self.folder = folder_of(lake.root, table, partition)
        self.replace = replace
        self.of = of
        """The generation that it replaces; if there is another one by then, nothing is written. None: any."""
        self.rows = 0
        self.flush_first: Writer | None = None
        """Another writer whose rows must be durable before these are."""
        self._limits = (every_seconds, every_rows, every_bytes)
        self._buffer: list[pa.Table] = []
        self._buffered_rows = 0
        self._buffered_bytes = 0
        self._last = time.monotonic()
        self._written: list[StoredFile] = []

    def __enter__(self) -> Writer:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
                if self.replace:
                    self._commit()
        finally:
            if self._written:  # Names are never used twice: what is not listed now never will be.
                listed = manifests.read(self.folder) or Manifest()
                for stored in set(self._written) - set(listed.files):
                    (self.folder / stored.name).unlink(missing_ok=True)

    def add(self, rows: Rows) -> bool:
        """Buffer rows; True when this made everything so far durable. ValueError where a number is not finite."""
        data = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=self.table.arrow)
        if data.schema != self.table.arrow:
            data = data.select(self.table.names).cast(self.table.arrow)
        _refuse_what_is_not_finite(self.table, data)
        self._buffer.append(data)
        self._buffered_rows += data.num_rows
        self._buffered_bytes += data.nbytes
        self.rows += data.num_rows
        seconds, rows_due, bytes_due = self._limits
        if (
            self._buffered_rows >= rows_due
            or self._buffered_bytes >= bytes_due
            or time.monotonic() - self._last >= seconds
        ):
            self.flush()
            return True
        return False

    def flush(self) -> None:
        """Make everything added so far durable, and visible unless replacing."""
        self._last = time.monotonic()
        if self.flush_first is not None:
            self.flush_first.flush()
        if not self._buffered_rows:
            found = manifests.read(self.folder)
            if not self.replace and (found is None or found.removed):
                self._commit()  # A partition without rows is still a partition: written, and empty.
            return
        data = pa.concat_tables(self._buffer).combine_chunks()
        self._buffer, self._buffered_rows, self._buffered_bytes = [], 0, 0
        self._written.append(self._store([data]))
        if not self.replace:
            self._commit()

    def _store(self, tables: Iterable[pa.Table]) -> StoredFile:
        schema = self.table.arrow
        rows = 0
        # Never a name that was there before: a reader may hold that file's name, and a sweep may remove it.
        name = f"{secrets.token_hex(16)}.parquet"
        with appearing(self.folder / name) as out:
            with pq.ParquetWriter(out, schema, **_parquet_options(self.table)) as parquet:
                for data in tables:
                    rows += data.num_rows
                    parquet.write_table(data, row_group_size=_row_group(data))
            size = out.tell()
        return StoredFile(name, rows, size, _fingerprint(schema))

    def _commit(self) -> None:
        """Swap the manifest: append what was written since the last commit, or replace everything by it."""
        with locked(self.folder / ".lock"):
            now = manifests.read(self.folder) or Manifest()
            if self.of is not None and now.generation != self.of:
                raise _Changed
            new = tuple(f for f in self._written if f not in now.files)
            files = new if self.replace else self._compacted((() if now.removed else now.files) + new)
            manifests.write(self.folder, now.swapped(files))
            for stored in set(new) - set(files):  # Merged at once, and never listed.
                (self.folder / stored.name).unlink()
        self._written = []

    def _compacted(self, files: tuple[StoredFile, ...]) -> tuple[StoredFile, ...]:
        """Merge neighbouring small files once there are many, so that reading stays fast however often we flush."""
        merged: list[StoredFile] = []
        for small, group in groupby(files, lambda f: f.bytes < SMALL_FILE):
            neighbours = list(group)
            if small and len(neighbours) >= MANY_FILES:
                neighbours = [self._store(self._read(neighbours))]
            merged += neighbours
        return tuple(merged)

    def _read(self, files: Sequence[StoredFile]) -> Iterator[pa.Table]:
        """The rows of stored files in order, at most 32 MiB at a time."""
        each = max(1, sum(f.bytes for f in files) // max(1, sum(f.rows for f in files)))
        step = min(1 << 17, max(64, (32 << 20) // each))
        for stored in files:
            with pq.ParquetFile(self.folder / stored.name) as source:
                for batch in source.iter_batches(step):
                    yield pa.Table.from_batches([batch]).select(self.table.names).cast(self.table.arrow)


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    """The in-memory database of a process. Every connection is a cursor of it, because making a new one takes 15 ms.

    It holds nothing: views are temporary and belong to their cursor. A forked child makes its own. What a query cannot
    hold in memory goes to the system's folder for temporary files, not to the current folder.
    """
    return duckdb.connect(config={"temp_directory": str(Path(tempfile.gettempdir()) / f"panic-duckdb-{os.getuid()}")})


atexit.register(_database.cache_clear)  # DuckDB complains, at length, of what is open when the interpreter ends.


def literal(text: str) -> str:
    """`text` as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _refuse_what_is_not_finite(table: Table, data: pa.Table) -> None:
    """NaN never enters a column of numbers, and infinity only where the schema says so."""
    for column in table.columns:
        if column.type not in ("float32", "float64"):
            continue
        values = data[column.name]
        wrong = pc.invert(pc.is_finite(values)) if column.finite else pc.is_nan(values)
        if pc.any(wrong).as_py():
            first = data.filter(wrong).slice(0, 1).to_pylist()[0]
            row = ", ".join(f"{name} {first[name]!r}" for name in table.key)
            raise ValueError(
                f"table {table.name} refuses {column.name} = {first[column.name]}, which is not a finite number, "
                f"in the row of {row}; nothing of these {data.num_rows:,} rows is written"
            )


def _row_group(data: pa.Table) -> int:
    """Rows per row group: at most 32 MiB, so that images are read a few at a time."""
    return int(min(1 << 17, max(64, (32 << 20) * data.num_rows // max(1, data.nbytes))))


def _fingerprint(schema: pa.Schema) -> str:
    return ",".join(f"{f.name}:{f.type}" for f in schema)


def _parquet_options(table: Table) -> dict[str, Any]:
    """zstd, except for bytes that are compressed already; no dictionaries where every value is new."""
    compression = {c.name: "none" if c.type == "binary" else "zstd" for c in table.columns}
    leaf = {"vector": ".list.element", "strings": ".list.element"}
    plain = {"binary", "vector"}
    return {
        "compression": {c + leaf.get(t.type, ""): v for t in table.columns for c, v in [(t.name, compression[t.name])]},
        "compression_level": {t.name + leaf.get(t.type, ""): 1 for t in table.columns if compression[t.name] == "zstd"},
        "use_dictionary": [
            t.name + leaf.get(t.type, "")
            for t in table.columns
            if t.type not in plain and not t.name.endswith(("_id", "_hash"))
        ],
    }
