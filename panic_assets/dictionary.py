"""Makes the data dictionary from the schemas: `python -m panic_assets.dictionary` writes docs/data_dictionary.md."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import duckdb

from panic_assets.lake import catalogue
from panic_assets.lake.schema import DUCKDB, Column, Table
from panic_assets.registry import registry
from panic_assets.settings import PROJECT
from panic_assets.tables import PLATFORM, VIEWS, open_lake
from panic_assets.workloads import WORKLOADS

PATH = PROJECT / "docs" / "data_dictionary.md"

HEAD = """# Data dictionary

Every table and view of `panic.duckdb`, the file that analysts open. Open it read-only, as `panic query "SQL"` does. Its
table `catalogue` has one row, which says of which state of the lake the file is: `generation` counts the catalogues of
the home, and `built_at` is the time at which this one was made.

A *key* is the set of columns that tells the rows of a table apart: no two rows have the same key. A *partition* is the
set of rows that have the same values in the partition columns. It is written, replaced and deleted as a whole: for
example, all embeddings of one experiment by one model. *Refers to* names rows of another table that must exist.
A `yes` under *null* says that the value may be missing; the meaning says when.

This page is made from the tables' schemas by `python -m panic_assets.dictionary`. Edit the schemas, not this page.
"""


PURPOSE = "What belongs to no single workload."


def markdown() -> str:
    """The whole dictionary."""
    parts = [HEAD]
    columns_of = view_columns()
    parts.append(f"## Platform\n\n{PURPOSE}\n")
    parts.append(_grid(("table", "what it holds"), _index(PLATFORM, {})))
    parts += [_table(table) for table in PLATFORM]
    for workload in WORKLOADS:
        parts.append(f"## {workload.name.capitalize()}\n\n{workload.purpose}\n")
        parts.append(_grid(("table", "what it holds"), _index(workload.tables, workload.views)))
        parts += [_table(table) for table in workload.tables]
        parts += [_view(name, doc, columns_of[name]) for name, (doc, _) in workload.views.items()]
    return "\n".join(parts)


def view_columns() -> dict[str, list[tuple[str, str]]]:
    """View -> its columns and their types as DuckDB gives them, in a catalogue without rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "panic.duckdb"
        catalogue.build(open_lake(Path(folder) / "lake"), path)
        with duckdb.connect(str(path), read_only=True) as connection:
            return {name: described(connection, name) for name in VIEWS}


def described(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[str, str]]:
    """Column names and types of a table or view."""
    return [(row[0], row[1]) for row in connection.execute(f'DESCRIBE "{name}"').fetchall()]


def _index(of: Iterable[Table], views: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, doc in [*((t.name, t.doc) for t in of), *((name, doc) for name, (doc, _) in views.items())]:
        yield f"[`{name}`](#{name})", doc


def _table(table: Table) -> str:
    facts = [
        f"- Partition: {_names(table.partitioned_by)}",
        f"- Key: {_names(table.key)}",
        *(f"- Refers to: {_names(r.columns)} → `{r.target}` ({_names(r.target_columns)})" for r in table.references),
    ]
    if table.vector and "embedding_model" in table.partitioned_by:
        facts.append(f"- With fixed-size vectors, once a model has rows: {', '.join(_fixed(table.name))}")
    rows = [(f"`{c.name}`", f"`{DUCKDB[c.type]}`", "yes" if c.nullable else "", _meaning(c)) for c in table.columns]
    grid = _grid(("column", "type", "null", "meaning"), rows)
    return f"### {table.name}\n\n{table.doc}\n\n" + "\n".join(facts) + f"\n\n{grid}"


def _fixed(table: str) -> Iterator[str]:
    for spec in registry.embedders():
        yield f"`{catalogue.vector_view(table, spec.name)}` (`FLOAT[{spec.dimension}]`)"


def _view(name: str, doc: str, columns: Iterable[tuple[str, str]]) -> str:
    return f"### {name}\n\nA view. {doc}\n\n" + _grid(("column", "type"), ((f"`{c}`", f"`{t}`") for c, t in columns))


def _meaning(column: Column) -> str:
    """The column's documentation, and the values it may have."""
    said = [column.doc]
    if column.allowed:
        said.append(f"One of {', '.join(f'`{value}`' for value in column.allowed)}.")
    return " ".join(said)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _grid(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(markdown(), encoding="utf-8")
