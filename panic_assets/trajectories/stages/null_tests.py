"""Every measure of the runs of an experiment against chance, all runs together."""

from typing import Any

import numpy as np

from panic_assets.lake.lake import Lake
from panic_assets.statistics.multiple import adjust
from panic_assets.statistics.nulls import pooled

MEASURES = """
    SELECT embedding_model, statistic || ' H' || dimension AS statistic, null_model, observed, null_mean, percentile,
           replicates, run_id FROM topology_nulls
    UNION ALL
    SELECT embedding_model, statistic, null_model, observed, null_mean, percentile, replicates, run_id FROM motion_nulls"""


def null_tests(lake: Lake, experiment: str) -> list[dict[str, Any]]:
    """Rows of null_tests: one for each embedding model, measure and null that runs were compared with."""
    rows = lake.sql(
        f"""SELECT embedding_model, statistic, null_model, count(*) AS runs, min(replicates) AS replicates,
                   {", ".join(f"list({c} ORDER BY run_id) AS {c}" for c in ("observed", "null_mean", "percentile"))}
            FROM ({MEASURES}) GROUP BY ALL ORDER BY ALL""",
        experiment=experiment,
    ).to_pylist()
    tests = []
    for row in rows:
        percentiles = np.array(row.pop("percentile"))
        # Means of lists in order: a sum inside the query may depend on which rows come first.
        means = {column: float(np.mean(row[column])) for column in ("observed", "null_mean")}
        means["mean_percentile"] = float(percentiles.mean())
        tests.append({"experiment": experiment, **row, **means, "p_value": pooled(percentiles, row["replicates"])})
    adjust(tests)
    return tests
