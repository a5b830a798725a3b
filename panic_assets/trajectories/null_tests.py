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
        f"""SELECT embedding_model, statistic, null_model, count(*) AS runs, avg(observed) AS observed,
                   avg(null_mean) AS null_mean, list(percentile ORDER BY run_id) AS percentiles,
                   min(replicates) AS replicates
            FROM ({MEASURES}) GROUP BY ALL ORDER BY ALL""",
        experiment=experiment,
    ).to_pylist()
    tests = []
    for row in rows:
        percentiles = np.array(row.pop("percentiles"))
        p_value = pooled(percentiles, row["replicates"])
        mean = float(percentiles.mean())
        tests.append({"experiment": experiment, **row, "mean_percentile": mean, "p_value": p_value})
    adjust(tests)
    return tests
