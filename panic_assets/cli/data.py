"""panic query and panic export: the results, for analysts."""

import csv
import json
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer

from panic_assets.cli.output import age, note, say, size, table
from panic_assets.errors import UserError, suggest
from panic_assets.lake import generations
from panic_assets.lake.manifest import changed_since
from panic_assets.settings import home

export_app = typer.Typer(no_args_is_help=True, help="Copy the data for use elsewhere.")
SHOWN = 100
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet takes for a formula."""


class Shape(StrEnum):
    """How a query's result is printed."""

    table = "table"
    csv = "csv"
    json = "json"


class FileType(StrEnum):
    """What an export writes."""

    parquet = "parquet"
    csv = "csv"


@export_app.callback()
def _export() -> None:
    """Makes typer keep `data` as a sub-command, although there is only one."""


def query(
    sql: Annotated[str, typer.Argument(help='An SQL query, for example "SELECT * FROM runs LIMIT 5".')],
    shape: Annotated[
        Shape, typer.Option("--format", help="table prints at most 100 rows; csv and json print all.")
    ] = Shape.table,
) -> None:
    """Run an SQL query on panic.duckdb, which is opened read-only.

    SHOW TABLES lists the tables; docs/data_dictionary.md describes them."""
    try:
        with _opened() as connection:
            result = connection.execute(sql)
            names = [d[0] for d in result.description or []]
            rows = result.fetchmany(SHOWN + 1) if shape is Shape.table else result.fetchall()
    except duckdb.Error as error:
        raise UserError(f"DuckDB says: {str(error).strip()}") from None
    if shape is Shape.csv:
        out = csv.writer(sys.stdout)
        out.writerows([[harmless(value) for value in row] for row in (names, *rows)])
    elif shape is Shape.json:
        sys.stdout.write(json.dumps([dict(zip(names, r, strict=True)) for r in rows], default=_jsonable) + "\n")
    else:
        table(names, rows[:SHOWN])
        if len(rows) > SHOWN:
            say(f"only the first {SHOWN} rows are shown; --format csv or --format json prints all")


@export_app.command("data")
def export_data(
    to: Annotated[Path, typer.Argument(help="Folder to write to. It is created if it does not exist.")],
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", "-t", help="Export only this table. Repeat it for several; default: all."),
    ] = None,
    experiments: Annotated[
        list[str] | None,
        typer.Option("--experiment", "-e", help="Export only this experiment. Repeat it for several; default: all."),
    ] = None,
    file_type: Annotated[
        FileType, typer.Option("--format", help="parquet keeps all types; csv leaves out the bytes of images.")
    ] = FileType.parquet,
) -> None:
    """Write tables to a folder, one file per table."""
    from panic_assets.lake.lake import literal
    from panic_assets.tables import TABLES

    for name in tables or []:
        if name not in TABLES:
            raise UserError(
                f"--table is {name!r}, which is not a table{suggest(name, TABLES)} (accepted: {', '.join(TABLES)})"
            )
    with _opened() as connection:
        known = [r[0] for r in connection.execute("SELECT experiment FROM experiments").fetchall()]
        for name in experiments or []:
            if name not in known:
                raise UserError(
                    f"--experiment is {name!r}, which is not registered{suggest(name, known)} "
                    "(`panic experiment list` shows all)"
                )
        to.mkdir(parents=True, exist_ok=True)
        for name in tables or TABLES:
            schema = TABLES[name]
            chosen = experiments if "experiment" in schema.names else None
            keep = f"WHERE experiment IN ({', '.join(map(literal, chosen))})" if chosen else ""
            skip = [c.name for c in schema.columns if c.type == "binary" and file_type is FileType.csv]
            columns = f"* EXCLUDE ({', '.join(skip)})" if skip else "*"
            texts = [_harmless(c.name) for c in schema.columns if c.type == "string"]
            if texts and file_type is FileType.csv:
                columns += f" REPLACE ({', '.join(texts)})"
            target = to / f"{name}.{file_type}"
            form = "FORMAT parquet, COMPRESSION zstd" if file_type is FileType.parquet else "FORMAT csv, HEADER"
            connection.execute(f"COPY (SELECT {columns} FROM {name} {keep}) TO {literal(str(target))} ({form})")
            say(f"{target}  {size(target.stat().st_size)}")


def harmless(value: Any) -> Any:
    """A value as a CSV file may hold it. A spreadsheet runs a text that begins like a formula, so it gets a `'` in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _harmless(column: str) -> str:
    """The same in SQL, for a column of texts."""
    starts = ", ".join(f"chr({ord(c)})" for c in FORMULA)
    return f'CASE WHEN left("{column}", 1) IN ({starts}) THEN chr(39) || "{column}" ELSE "{column}" END AS "{column}"'


def _opened() -> duckdb.DuckDBPyConnection:
    """The catalogue. It is built first if it does not exist; in a fresh home it is empty.

    Says how old it is where the lake holds something newer: a full disk keeps the catalogue from being renewed.
    """
    where = home()
    if not where.catalogue.exists():
        from panic_assets.cli.session import refresh  # Late: a question to what is there needs no lake.

        refresh()
    connection = generations.opened(where.catalogue)
    shown = generations.as_of(connection)
    if changed_since(where.lake, shown.built_at.timestamp()):
        note(
            f"the catalogue is {age(time.time() - shown.built_at.timestamp())} old ({shown} UTC) and lacks what was "
            "stored since; the next command that stores something renews it, if there is room on the disk"
        )
    return connection


def _jsonable(value: Any) -> Any:
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)
