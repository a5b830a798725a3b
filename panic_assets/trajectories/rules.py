"""Rules for the tables of trajectories beyond their schemas. Each is a query that counts what breaks the rule."""

from panic_assets.lake.invariants import Rules
from panic_assets.lake.lake import literal
from panic_assets.registry import registry

_CONTROLS = ", ".join(literal(spec.name) for spec in registry.embedders() if spec.role == "control")

RULES: Rules = {
    "no_gaps": (
        "invocations",
        "gap",
        "runs whose stored invocations are not numbered 0, 1, 2, ... without a gap",
        """SELECT count(*) FROM (
               SELECT run_id FROM invocations GROUP BY run_id
               HAVING min(sequence_number) <> 0 OR max(sequence_number) <> count(DISTINCT sequence_number) - 1
           )""",
    ),
    "stored_once": (
        "invocations",
        "duplicate",
        "steps of runs that are stored more than once",
        """SELECT coalesce(sum(n - 1), 0)::BIGINT FROM (
               SELECT count(*) AS n FROM invocations GROUP BY run_id, sequence_number HAVING count(*) > 1
           )""",
    ),
    "lengths_agree": (
        "runs",
        "invalid",
        "complete runs whose length differs from their stored invocations",
        """SELECT count(*) FROM runs r
           LEFT JOIN (SELECT run_id, count(*) AS n FROM invocations GROUP BY run_id) i USING (run_id)
           WHERE r.stop_reason IS NOT NULL AND r.length <> coalesce(i.n, 0)""",
    ),
    "output_matches_type": (
        "invocations",
        "invalid",
        "invocations whose output is missing, or is of another type than their row says",
        """SELECT count(*) FROM invocations
           WHERE (type = 'text') <> (output_text IS NOT NULL) OR (type = 'image') <> (output_image IS NOT NULL)""",
    ),
    "input_is_previous_output": (
        "invocations",
        "invalid",
        "invocations whose input is not the previous output of their run",
        """SELECT count(*) FROM invocations i JOIN invocations p
           ON p.run_id = i.run_id AND p.sequence_number = i.sequence_number - 1
           WHERE i.input_hash <> p.content_hash""",
    ),
    "loops_repeat": (
        "runs",
        "invalid",
        "runs that stopped with a loop but whose last output differs from the one a loop length before",
        """SELECT count(*) FROM runs r
           JOIN invocations l ON l.run_id = r.run_id AND l.sequence_number = r.length - 1
           LEFT JOIN invocations e ON e.run_id = r.run_id AND e.sequence_number = r.length - 1 - r.loop_length
           WHERE r.stop_reason = 'loop' AND e.content_hash IS DISTINCT FROM l.content_hash""",
    ),
    "one_vector_a_content": (
        "embeddings",
        "invalid",
        "equal outputs that have different vectors by the same model, revision and settings",
        f"""SELECT count(*) FROM (
               SELECT content_hash FROM embeddings SEMI JOIN (
                   SELECT content_hash FROM embeddings GROUP BY content_hash HAVING count(*) > 1
               ) USING (content_hash)  -- Most are there once: their vectors need not be read.
               WHERE embedding_model NOT IN ({_CONTROLS})
               GROUP BY content_hash, embedding_model, model_revision, settings_id
               HAVING count(DISTINCT hash(vector)) > 1
           )""",
    ),
    "bars_match_summary": (
        "persistence_summary",
        "half-written",
        "diagrams that have more or fewer stored bars than their summary says",
        """SELECT count(*) FROM persistence_summary s
           LEFT JOIN (SELECT run_id, embedding_model, dimension, count(*) AS n FROM persistence_bars GROUP BY ALL) b
           USING (run_id, embedding_model, dimension) WHERE coalesce(b.n, 0) <> s.bars""",
    ),
    "medoids_are_members": (
        "clusters",
        "invalid",
        "clusters whose medoid is not one of their members",
        """SELECT count(*) FROM clusters c
           LEFT JOIN cluster_members m ON m.embedding_model = c.embedding_model AND m.cluster = c.cluster
                AND m.invocation_id = c.medoid_invocation_id
           WHERE c.cluster >= 0 AND m.invocation_id IS NULL""",
    ),
}
