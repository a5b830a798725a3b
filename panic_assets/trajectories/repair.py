"""Repairs of the tables of trajectories. Rows that are provably wrong are deleted, so they are made again.

Nothing is renumbered and nothing is invented. A run keeps the invocations before its first wrong one; the others are
deleted, and so is everything computed from them.
"""

from collections.abc import Iterator

from panic_assets.lake.invariants import all_findings
from panic_assets.lake.lake import Lake
from panic_assets.lake.mending import changed, columns, forbidden, mend
from panic_assets.trajectories.rules import RULES

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
    """Repair one experiment, upstream first; says what it did. The caller holds the experiment's lease."""
    yield from changed(lake, "invocations", _prefix(lake), experiment=experiment)
    yield from changed(lake, "runs", _OUTCOMES.format(columns=columns(lake.tables["runs"])), experiment=experiment)
    yield from mend(lake, "embeddings", experiment=experiment)
    yield from _diagrams(lake, experiment)
    for partition, _ in list(lake.partitions("diagram_distances", experiment=experiment)):
        there = lake.sql("SELECT run_id FROM runs")["run_id"].to_pylist()
        query = "SELECT * FROM diagram_distances WHERE other_run_id IN (SELECT unnest(?))"
        yield from changed(lake, "diagram_distances", query, [there], **partition)


def repair_clusters(lake: Lake, model: str) -> Iterator[str]:
    """A clustering with anything wrong in it goes as a whole: it can only be made again."""
    tables = ("cluster_members", "clusters", "clusterings")
    if not any(all_findings(lake, RULES, table, embedding_model=model) for table in tables):
        return
    for table in tables:
        if lake.remove(table, embedding_model=model):
            yield f"removed {table} of {model}; they are made again"


def _prefix(lake: Lake) -> str:
    table = lake.tables["invocations"]
    return _SOUND_PREFIX.format(invalid=forbidden(table), columns=columns(table))


def _diagrams(lake: Lake, experiment: str) -> Iterator[str]:
    """Diagrams are kept or deleted as a whole: a run with a mistake in its bars or its summary loses both."""
    for partition, _ in list(lake.partitions("persistence_summary", experiment=experiment)):
        bars, summary = lake.tables["persistence_bars"], lake.tables["persistence_summary"]
        # The number of dimensions is the same for every run of a partition; a run that lacks one is broken.
        bad = f"""
            SELECT run_id FROM persistence_bars WHERE coalesce({forbidden(bars)}, true)
            UNION SELECT run_id FROM persistence_summary WHERE coalesce({forbidden(summary)}, true)
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
            yield from changed(lake, table.name, query, [runs], **partition)
