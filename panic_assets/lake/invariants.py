"""Rules that follow from a table's schema. Asset checks and the doctor use the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from panic_assets.asleep import asleep
from panic_assets.lake.lake import Lake, literal
from panic_assets.lake.schema import Column, Table
from panic_assets.registry import registry

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    duckdb = asleep("duckdb")
    pa = asleep("pyarrow")
    pq = asleep("pyarrow.parquet")

Kind = Literal["missing", "duplicate", "mistyped", "orphaned", "half-written", "invalid", "gap", "stale"]

Rules = dict[str, tuple[str, Kind, str, str]]
"""A workload's own rules: name -> (table it is about, kind of finding, what it counts, query)."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a table, in a sentence. `where` names the partition, if it is known."""

    kind: Kind
    table: str
    count: int
    sentence: str
    where: tuple[tuple[str, str], ...] = ()
    file: str | None = None
    """The broken file, if a whole file is broken."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "where": dict(self.where)}

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


def findings(lake: Lake, table: str, **where: str) -> list[Finding]:
    """Every rule of one table that does not hold. Files come first: the rows of a broken file cannot be read."""
    schema = lake.tables[table]
    found = broken_files(lake, table, **where)
    if any(f.file for f in found) or not any(m.rows for _, m in lake.partitions(table, **where)):
        return found
    place = tuple(where.items())
    try:
        anywhere = {r.target for r in schema.references if r.anywhere}
        with lake.connect({table, *(r.target for r in schema.references)} - anywhere, **where) as connection:
            for target in anywhere:
                connection.execute(f'CREATE TEMP VIEW "{target}" AS {lake.select(target)}')
            for rule in (_rows, _duplicates, _orphans):
                found += (replace(f, where=place) for f in rule(connection, schema))
    except duckdb.Error as error:
        why = str(error).splitlines()[0]
        sentence = f"{table} cannot be checked, because a file of a table that it refers to is broken: {why}"
        found.append(Finding("half-written", table, 1, sentence, place))
    return found


def all_findings(lake: Lake, rules: Rules, table: str, **where: str) -> list[Finding]:
    """The schema's rules and, if the files can be read, a workload's own rules."""
    by_schema = findings(lake, table, **where)
    if any(f.kind in ("half-written", "mistyped") for f in by_schema):
        return by_schema
    return by_schema + broken_rules(lake, rules, table, **where)


def broken_rules(lake: Lake, rules: Rules, table: str, **where: str) -> list[Finding]:
    """Every rule of a workload about one table that does not hold. The table's files must be readable."""
    mine = [rule for rule in rules.values() if rule[0] == table]
    if not mine or not any(m.rows for _, m in lake.partitions(table, **where)):
        return []
    found = []
    with lake.connect(sorted({t for *_, query in mine for t in lake.mentioned(query)}), **where) as connection:
        for _, kind, what, query in mine:
            count = _number(connection, query)
            if count:
                found.append(Finding(kind, table, count, f"there are {count:,} {what}", tuple(where.items())))
    return found


def invalid(table: Table, column: Column) -> str | None:
    """SQL that is true of a forbidden value of a table's column; None when every value is allowed."""
    name = f'"{column.name}"'
    wrong = [] if column.nullable else [f"{name} IS NULL"]
    if column.allowed:
        wrong.append(f"{name} NOT IN ({', '.join(literal(a) for a in column.allowed)})")
    if column.type in ("float32", "float64") and column.finite:
        wrong.append(f"NOT isfinite({name})")
    if column.type == "float64" and not column.finite:
        wrong.append(f"isnan({name})")
    if column.type == "vector":
        if "embedding_model" in table.names:
            lengths = " ".join(f"WHEN {literal(s.name)} THEN {s.dimension}" for s in registry.embedders())
            wrong.append(f"len({name}) <> CASE embedding_model {lengths} ELSE len({name}) END")
        # One pass, and no list of booleans: a NaN or an infinity makes the sum of squares non-finite, a null fails.
        squares = f"TRY(list_inner_product({name}::DOUBLE[], {name}::DOUBLE[]))"
        wrong.append(f"{name} IS NOT NULL AND NOT coalesce(isfinite({squares}), false)")
    return " OR ".join(f"({w})" for w in wrong) or None


def _rows(connection: duckdb.DuckDBPyConnection, table: Table) -> Iterator[Finding]:
    rules = [(c, rule) for c in table.columns if (rule := invalid(table, c))]
    counts = connection.execute(
        f"SELECT {', '.join(f'count(*) FILTER ({rule})' for _, rule in rules) or '0'} FROM {table.name}"
    ).fetchone()
    for (column, _), count in zip(rules, counts or (), strict=False):
        if count:
            sentence = f"{count:,} rows of {table.name} have a forbidden value in {column.name} ({_accepted(column)})"
            yield Finding("invalid", table.name, count, sentence)


def _accepted(column: Column) -> str:
    parts = ["null is allowed" if column.nullable else "null is not allowed"]
    if column.allowed:
        parts.append(f"accepted: {', '.join(column.allowed)}")
    if column.type in ("float32", "float64", "vector"):
        parts.append("finite numbers only" if column.finite else "infinity is allowed, NaN is not")
    return "; ".join(parts)


def _duplicates(connection: duckdb.DuckDBPyConnection, table: Table) -> Iterator[Finding]:
    key = ", ".join(f'"{c}"' for c in table.key)
    extra = _number(
        connection,
        f"SELECT coalesce(sum(n - 1), 0)::BIGINT FROM "
        f"(SELECT count(*) AS n FROM {table.name} GROUP BY {key} HAVING count(*) > 1)",
    )
    if extra:
        sentence = f"{extra:,} rows of {table.name} repeat the key ({', '.join(table.key)}) of another row"
        yield Finding("duplicate", table.name, extra, sentence)


def _orphans(connection: duckdb.DuckDBPyConnection, table: Table) -> Iterator[Finding]:
    for reference in table.references:
        on = " AND ".join(
            f't."{c}" = r."{d}"' for c, d in zip(reference.columns, reference.target_columns, strict=True)
        )
        given = " AND ".join(f't."{c}" IS NOT NULL' for c in reference.columns)  # NULL refers to nothing.
        count = _number(
            connection,
            f"SELECT count(*) FROM {table.name} t ANTI JOIN {reference.target} r ON {on} WHERE {given}",
        )
        if count:
            columns = ", ".join(reference.columns)
            sentence = f"{count:,} rows of {table.name} refer to values of {columns} that are not in {reference.target}"
            yield Finding("orphaned", table.name, count, sentence)


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    found = connection.execute(query).fetchone()
    assert found is not None
    return int(found[0])


def broken_files(lake: Lake, table: str, **where: str) -> list[Finding]:
    """Files that a manifest lists but that cannot be read, and files that an interrupted write left behind."""
    return list(_files(lake, lake.tables[table], **where))


def _files(lake: Lake, table: Table, **where: str) -> Iterator[Finding]:
    for partition, manifest in lake.partitions(table.name, **where):
        folder = lake.folder(table.name, **partition)
        place = tuple(partition.items())
        named = ", ".join(partition.values())
        for stored in manifest.files:
            problem = _file_problem(folder / stored.name, stored.bytes, table.arrow)
            if problem:
                kind, why = problem
                sentence = f"file {stored.name} of {table.name} ({named}) {why}"
                yield Finding(kind, table.name, stored.rows, sentence, place, stored.name)
        left = lake.half_written(table.name, **partition)
        if left:
            yield Finding(
                "half-written",
                table.name,
                len(left),
                f"{len(left)} files of {table.name} ({named}) were left behind by an interrupted write",
                place,
            )


def _file_problem(path: Path, size: int, schema: pa.Schema) -> tuple[Kind, str] | None:
    if not path.exists():
        return "half-written", "is missing"
    if path.stat().st_size != size:
        return "half-written", f"has {path.stat().st_size:,} bytes instead of {size:,}"
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid):
        return "half-written", "is not a readable Parquet file"
    wrong = [
        f"{f.name} is {found.field(f.name).type if f.name in found.names else 'missing'} instead of {f.type}"
        for f in schema
        if f.name not in found.names or not _same(found.field(f.name).type, f.type)
    ]
    return ("mistyped", f"has columns of the wrong type: {', '.join(wrong)}") if wrong else None


def _same(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Equal up to the name Parquet gives the elements of a list."""
    if pa.types.is_list(wanted):
        return pa.types.is_list(found) and found.value_type == wanted.value_type
    return found == wanted
