"""Repairs of the tables of trajectories. Rows that are provably wrong are deleted, so they are made again.

Nothing is renumbered and nothing is invented. A run keeps the invocations before its first wrong one; the others are
deleted, and so is everything computed from them.
"""

from collections.abc import Iterator, Sequence

from panic_assets.lake.invariants import invalid
from panic_assets.lake.lake import Lake
from panic_assets.lake.schema import Table
from panic_assets.lake.tables import TABLES

_SOUND_PREFIX = """
    WITH checked AS (
        SELECT run_id, sequence_number,
               row_number() OVER walk - 1 AS expected,
               lag(content_hash) OVER walk AS previous, input_hash,
               ({invalid}) OR (type = 'text') <> (output_text IS NOT NULL)
                           OR (type = 'image') <> (output_image IS NOT NULL) AS broken
        FROM invocations WINDOW walk AS (PARTITION BY run_id ORDER BY sequence_number)
    ), sound AS (
        SELECT run_id, coalesce(min(expected) FILTER (
            sequence_number IS DISTINCT FROM expected OR broken OR (expected > 0 AND input_hash <> previous)
        ), count(*)) AS length
        FROM checked SEMI JOIN runs USING (run_id) GROUP BY run_id
    )
    SELECT {columns} FROM (
        SELECT *, row_number() OVER (PARTITION BY run_id, sequence_number ORDER BY invocation_id) AS copy FROM invocations
    ) JOIN sound USING (run_id) WHERE sequence_number < sound.length AND copy = 1
"""

_OUTCOMES = """
    WITH stored AS (SELECT run_id, count(*)::INTEGER AS n FROM invocations GROUP BY run_id)
    SELECT {columns} FROM (
        SELECT r.* REPLACE (
            coalesce(n, 0)::INTEGER AS length,
            CASE WHEN ok THEN stop_reason END AS stop_reason,
            CASE WHEN ok THEN loop_length END AS loop_length,
            CASE WHEN ok THEN failure END AS failure
        )
        FROM (
            SELECT r.*, s.n, r.length = coalesce(s.n, 0) AND CASE r.stop_reason
                WHEN 'length' THEN r.length = r.max_length
                WHEN 'loop' THEN l.content_hash IS NOT DISTINCT FROM e.content_hash AND l.content_hash IS NOT NULL
                ELSE r.stop_reason IS NOT NULL END AS ok
            FROM runs r LEFT JOIN stored s USING (run_id)
            LEFT JOIN invocations l ON l.run_id = r.run_id AND l.sequence_number = r.length - 1
            LEFT JOIN invocations e ON e.run_id = r.run_id AND e.sequence_number = r.length - 1 - r.loop_length
        ) r
    )
"""


def repair(lake: Lake, experiment: str) -> Iterator[str]:
    """Repair one experiment, upstream tables first. Yields what it did. The caller holds the experiment's lease."""
    yield from _changed(lake, "invocations", _prefix(), experiment=experiment)
    yield from _changed(lake, "runs", _OUTCOMES.format(columns=_columns(TABLES["runs"])), experiment=experiment)
    for partition, _ in list(lake.partitions("embeddings", experiment=experiment)):
        yield from _changed(lake, "embeddings", _sound("embeddings"), **partition)
    yield from _diagrams(lake, experiment)
    for partition, _ in list(lake.partitions("diagram_distances", experiment=experiment)):
        there = lake.sql("SELECT run_id FROM runs")["run_id"].to_pylist()
        query = "SELECT * FROM diagram_distances WHERE other_run_id IN (SELECT unnest(?))"
        yield from _changed(lake, "diagram_distances", query, [there], **partition)


def repair_clusters(lake: Lake, model: str) -> Iterator[str]:
    """Delete a whole clustering that has anything wrong in it: a part of it cannot be made again."""
    for table in ("cluster_members", "clusters", "clusterings"):
        if lake.remove(table, embedding_model=model):
            yield f"removed {table} of {model}: it will be made again"


def _columns(table: Table) -> str:
    return ", ".join(f'"{c}"' for c in table.names)


def _invalid(table: Table) -> str:
    return " OR ".join(f"({rule})" for c in table.columns if (rule := invalid(table, c))) or "false"


def _prefix() -> str:
    table = TABLES["invocations"]
    return _SOUND_PREFIX.format(invalid=_invalid(table), columns=_columns(table))


def _sound(name: str) -> str:
    """Rows that break no rule of their table: valid values, one row per key, and everything they refer to is there."""
    table = TABLES[name]
    joins = " ".join(
        f"SEMI JOIN {r.target} ON "
        + " AND ".join(f'q."{c}" = {r.target}."{d}"' for c, d in zip(r.columns, r.target_columns, strict=True))
        for r in table.references
    )
    key = ", ".join(f'"{c}"' for c in table.key)
    return (
        f"SELECT {_columns(table)} FROM (SELECT *, row_number() OVER (PARTITION BY {key}) AS copy FROM {name} "
        f"WHERE NOT coalesce({_invalid(table)}, true)) q {joins} WHERE copy = 1"
    )


def _diagrams(lake: Lake, experiment: str) -> Iterator[str]:
    """Diagrams are kept or deleted as a whole: a run with a mistake in its bars or its summary loses both."""
    for partition, _ in list(lake.partitions("persistence_summary", experiment=experiment)):
        bars, summary = TABLES["persistence_bars"], TABLES["persistence_summary"]
        # The number of dimensions is the same for every run of a partition; a run that lacks one is broken.
        bad = f"""
            SELECT run_id FROM persistence_bars WHERE coalesce({_invalid(bars)}, true)
            UNION SELECT run_id FROM persistence_summary WHERE coalesce({_invalid(summary)}, true)
            UNION SELECT run_id FROM persistence_summary GROUP BY run_id, dimension HAVING count(*) > 1
            UNION SELECT s.run_id FROM persistence_summary s LEFT JOIN
                (SELECT run_id, dimension, count(*) AS n, count(DISTINCT bar) AS d FROM persistence_bars GROUP BY ALL) b
                USING (run_id, dimension) WHERE coalesce(b.n, 0) <> s.bars OR coalesce(b.d, 0) <> s.bars
            UNION SELECT run_id FROM persistence_bars ANTI JOIN persistence_summary USING (run_id)
            UNION SELECT run_id FROM persistence_summary ANTI JOIN runs USING (run_id)
        """
        runs = [r for r in lake.sql(bad, **partition)["run_id"].to_pylist() if r is not None]
        for table in (bars, summary):
            query = f"SELECT * FROM {table.name} WHERE run_id NOT IN (SELECT unnest(?))"
            yield from _changed(lake, table.name, query, [runs], **partition)


def _changed(
    lake: Lake, table: str, query: str, parameters: Sequence[object] = (), /, **partition: str
) -> Iterator[str]:
    """Replace a partition by what the query gives, if that changes anything."""
    if lake.manifest(table, **partition) is None:
        return
    differ = lake.sql(
        f"SELECT (SELECT count(*) FROM {table}) AS was, (SELECT count(*) FROM ({query})) AS now, "
        f"(SELECT count(*) FROM ({_light(table, query)} EXCEPT ALL {_light(table, table)})) AS new",
        [*parameters] * 2,
        **partition,
    ).to_pylist()[0]
    if differ["was"] != differ["now"] or differ["new"]:
        lake.rewrite(table, query, parameters, **partition)
        gone = differ["was"] - differ["now"]
        done = f"removed {gone:,} rows" if gone else f"corrected {differ['new']:,} rows"
        yield f"{table} ({', '.join(partition.values())}): {done}"


def _light(table: str, source: str) -> str:
    """The columns that are cheap to compare: all but vectors and images."""
    columns = ", ".join(f'"{c.name}"' for c in TABLES[table].columns if c.type not in ("vector", "binary"))
    return f"SELECT {columns} FROM {source if source == table else f'({source})'}"
