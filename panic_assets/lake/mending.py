"""Repair of stored rows: what breaks a rule of its table is deleted, so that it is found missing and made again.

Nothing is renumbered and nothing invented.
"""

from collections.abc import Iterator, Sequence

from panic_assets.lake.invariants import invalid
from panic_assets.lake.lake import Lake
from panic_assets.lake.schema import Reference, Table


def mend(lake: Lake, table: str, **where: str) -> Iterator[str]:
    """Keep the sound rows of every partition that `where` names; says what went."""
    for partition, _ in list(lake.partitions(table, **where)):
        yield from changed(lake, table, sound(lake, table), **partition)


def columns(table: Table) -> str:
    """All columns of a table, quoted, as a SELECT lists them."""
    return ", ".join(f'"{c}"' for c in table.names)


def forbidden(table: Table) -> str:
    """SQL that is true of a row with a forbidden value, and false of any other."""
    rules = [rule for c in table.columns if (rule := invalid(table, c))]
    return " OR ".join(f"coalesce({rule}, false)" for rule in rules) or "false"  # A null that is allowed: neither.


def sound(lake: Lake, name: str) -> str:
    """A query for the rows of a table that break no rule of its schema: allowed values, the first row of each key, and
    nothing missing that the row refers to."""
    table = lake.tables[name]
    key = ", ".join(f'"{c}"' for c in table.key)
    # A reference that holds anywhere is left out: the query sees one partition only.
    known = "".join(f" AND {_refers_to_something(r)}" for r in table.references if not r.anywhere)
    return (
        f"SELECT {columns(table)} FROM (SELECT *, row_number() OVER (PARTITION BY {key}) AS copy FROM {name} "
        f"WHERE NOT ({forbidden(table)})) q WHERE copy = 1{known}"
    )


def _refers_to_something(reference: Reference) -> str:
    empty = " OR ".join(f'q."{column}" IS NULL' for column in reference.columns)
    pairs = zip(reference.columns, reference.target_columns, strict=True)
    same = " AND ".join(f'r."{target}" = q."{column}"' for column, target in pairs)
    return f"({empty} OR EXISTS (FROM {reference.target} r WHERE {same}))"


def changed(
    lake: Lake, table: str, query: str, parameters: Sequence[object] = (), /, **partition: str
) -> Iterator[str]:
    """Rewrite a partition by a query when that changes anything."""
    if lake.manifest(table, **partition) is None:
        return
    differ = lake.sql(
        f"SELECT (SELECT count(*) FROM {table}) AS was, (SELECT count(*) FROM ({query})) AS now, "
        f"(SELECT count(*) FROM ({_light(lake, table, query)} EXCEPT ALL {_light(lake, table, table)})) AS new",
        [*parameters] * 2,
        **partition,
    ).to_pylist()[0]
    if differ["was"] != differ["now"] or differ["new"]:
        lake.rewrite(table, query, parameters, **partition)
        gone = differ["was"] - differ["now"]
        done = f"removed {gone:,} rows" if gone else f"corrected {differ['new']:,} rows"
        yield f"{table} ({', '.join(partition.values())}): {done}"


def _light(lake: Lake, table: str, source: str) -> str:
    """The columns that are cheap to compare: all but vectors and images."""
    columns = ", ".join(f'"{c.name}"' for c in lake.tables[table].columns if c.type not in ("vector", "binary"))
    return f"SELECT {columns} FROM {source if source == table else f'({source})'}"
