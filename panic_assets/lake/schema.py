"""What a table is: named, typed, documented columns. The tables themselves are data, in each workload's folder.

The schemas are the analysts' contract. From them follow the Parquet types, the DuckDB views, the data
dictionary in docs/, and the invariants that asset checks and `panic doctor` verify.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Literal

from panic_assets.asleep import asleep

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = asleep("pyarrow")


Type = Literal["string", "int32", "int64", "float32", "float64", "bool", "timestamp", "binary", "vector", "strings"]


@cache
def arrow_types() -> dict[str, pa.DataType]:
    """Type of a column -> its Parquet type."""
    return {
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "binary": pa.binary(),
        "vector": pa.list_(pa.float32()),
        "strings": pa.list_(pa.string()),
    }


DUCKDB: dict[str, str] = {
    "string": "VARCHAR",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "binary": "BLOB",
    "vector": "FLOAT[]",
    "strings": "VARCHAR[]",
}


@dataclass(frozen=True)
class Column:
    """One column. `nullable=False` and `allowed` are checked afterwards, by the table's invariants.

    `finite` (the default of numbers with a point) forbids NaN and infinity: a writer refuses them. Without it, infinity is
    allowed, which few columns need.
    """

    name: str
    type: Type
    doc: str
    nullable: bool = False
    allowed: tuple[str, ...] = ()
    finite: bool = True


@dataclass(frozen=True)
class Reference:
    """Values of `columns` must exist as `target_columns` in table `target` (an orphan otherwise).

    They are looked for in the partition that is examined; `anywhere`: in every one.
    """

    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    anywhere: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the lake.

    `key` names the columns that identify a row. `partitioned_by` names the columns (all strings) whose values identify
    a partition, which is stored and replaced as a whole; the first of them names the partition key of the asset that
    writes the table. `hot` tables are small and often asked: the catalogue copies them.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partitioned_by: tuple[str, ...]
    references: tuple[Reference, ...] = ()
    hot: bool = False
    owned: bool = True
    """Whether its rows belong to partition keys of Dagster. False: of files in watched folders that belong to no run."""

    def __post_init__(self) -> None:
        names = {c.name for c in self.columns}
        for used in (*self.key, *self.partitioned_by):
            if used not in names:
                raise ValueError(f"table {self.name}: {used} is not one of its columns")

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Parquet schema, in column order."""
        return pa.schema([pa.field(c.name, arrow_types()[c.type], nullable=c.nullable) for c in self.columns])

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(c.name for c in self.columns)

    @property
    def vector(self) -> str | None:
        """The name of the vector column, if the table has one."""
        return next((c.name for c in self.columns if c.type == "vector"), None)
