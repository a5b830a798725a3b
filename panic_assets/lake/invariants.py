"""What must be true of a table, derived from its schema: one set of rules for asset checks and the doctor."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from panic_assets.lake.lake import Lake, literal
from panic_assets.lake.schema import Column, Table
from panic_assets.lake.tables import TABLES
from panic_assets.models import registry

Kind = Literal["missing", "duplicate", "mistyped", "orphaned", "half-written", "invalid", "gap", "stale"]


@dataclass(frozen=True)
class Finding:
    """Something wrong with a table, in a sentence. `where` narrows to a partition when it is known."""

    kind: Kind
    table: str
    count: int
    sentence: str
    where: tuple[tuple[str, str], ...] = ()
    file: str | None = None
    """The listed file that is at fault, when it is a whole file."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "where": dict(self.where)}

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


def findings(lake: Lake, table: str, **where: str) -> list[Finding]:
    """Every rule of one table that does not hold. Files first: rows of a broken file cannot be asked."""
    schema = TABLES[table]
    broken = list(_files(lake, schema, **where))
    if any(f.file for f in broken):
        return broken
    return [
        *broken,
        *_rows(lake, schema, **where),
        *_duplicates(lake, schema, **where),
        *_orphans(lake, schema, **where),
    ]


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


def _rows(lake: Lake, table: Table, **where: str) -> Iterator[Finding]:
    rules = [(c, rule) for c in table.columns if (rule := invalid(table, c))]
    counts = ", ".join(f"count(*) FILTER ({rule})" for _, rule in rules)
    found = lake.sql(f"SELECT {counts} FROM {table.name}", **where)
    for (column, _), count in zip(rules, found.to_pylist()[0].values() if rules else (), strict=False):
        if count:
            yield Finding(
                "invalid",
                table.name,
                count,
                f"{count:,} rows of {table.name} have a forbidden value in {column.name} ({_accepted(column)})",
                tuple(where.items()),
            )


def _accepted(column: Column) -> str:
    parts = ["null is allowed" if column.nullable else "null is not allowed"]
    if column.allowed:
        parts.append(f"accepted: {', '.join(column.allowed)}")
    if column.type in ("float32", "float64", "vector"):
        parts.append("finite numbers only" if column.finite else "infinity is allowed, NaN is not")
    return "; ".join(parts)


def _duplicates(lake: Lake, table: Table, **where: str) -> Iterator[Finding]:
    key = ", ".join(f'"{c}"' for c in table.key)
    found = lake.sql(
        f"SELECT coalesce(sum(n - 1), 0)::BIGINT AS extra FROM "
        f"(SELECT count(*) AS n FROM {table.name} GROUP BY {key} HAVING count(*) > 1)",
        **where,
    )
    extra = found["extra"][0].as_py()
    if extra:
        yield Finding(
            "duplicate",
            table.name,
            extra,
            f"{extra:,} rows of {table.name} repeat a key ({', '.join(table.key)}) that is there already",
            tuple(where.items()),
        )


def _orphans(lake: Lake, table: Table, **where: str) -> Iterator[Finding]:
    for reference in table.references:
        on = " AND ".join(
            f't."{c}" = r."{d}"' for c, d in zip(reference.columns, reference.target_columns, strict=True)
        )
        found = lake.sql(f"SELECT count(*) AS n FROM {table.name} t ANTI JOIN {reference.target} r ON {on}", **where)
        count = found["n"][0].as_py()
        if count:
            yield Finding(
                "orphaned",
                table.name,
                count,
                f"{count:,} rows of {table.name} refer to {', '.join(reference.columns)} that are not in "
                f"{reference.target}",
                tuple(where.items()),
            )


def _files(lake: Lake, table: Table, **where: str) -> Iterator[Finding]:
    for partition, manifest in lake.partitions(table.name, **where):
        folder = lake.folder(table.name, **partition)
        place = tuple(partition.items())
        named = ", ".join(partition.values())
        for stored in manifest.files:
            problem = _file_problem(folder / stored.name, stored.bytes, table.arrow)
            if problem:
                kind, why = problem
                sentence = f"a listed file of {table.name} ({named}), {stored.name}, {why}"
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
        return "half-written", "is not there"
    if path.stat().st_size != size:
        return "half-written", f"has {path.stat().st_size:,} bytes instead of {size:,}"
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid):
        return "half-written", "is no readable Parquet file"
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
