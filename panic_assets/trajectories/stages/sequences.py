"""What runs do in the clusters of one embedding model."""

from typing import Any

import numpy as np

from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Watcher
from panic_assets.statistics.multiple import adjust
from panic_assets.trajectories.clusters import sequences
from panic_assets.trajectories.clusters.symbols import bigrams, dwells
from panic_assets.trajectories.motion.changes import change_points, indicators
from panic_assets.trajectories.stages.similarity import sampled
from panic_assets.trajectories.versions import CODE_VERSION, SEED

NULL_RUNS = 20
NULL_OUTPUTS = 300
"""Runs of a network, and outputs of each, that are compared with the same in shuffled order."""

SYMBOL_TABLES = (
    "cluster_dwells",
    "cluster_transitions",
    "cluster_states",
    "cluster_change_points",
    "markov_models",
    "symbol_nulls",
)


def symbols(lake: Lake, watcher: Watcher, model: str) -> Done:
    """Stays, moves, states, change points and Markov models of the cluster sequences, experiment by experiment."""
    rows = lake.sql(
        """SELECT m.experiment, m.run_id, r.network, list(m.cluster ORDER BY m.sequence_number) AS clusters
           FROM cluster_members m JOIN runs r USING (run_id) GROUP BY ALL ORDER BY ALL""",
        embedding_model=model,
    ).to_pylist()
    place = {"embedding_model": model}
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in SYMBOL_TABLES}
    groups: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for row in rows:
        sequence = np.array(row["clusters"], dtype=np.int64)
        groups.setdefault((row["experiment"], row["network"]), {})[row["run_id"]] = sequence
        stays = dwells(sequence)
        columns = (stays.symbol.tolist(), stays.start.tolist(), stays.length.tolist(), stays.censored.tolist())
        mark = {**place, "experiment": row["experiment"], "run_id": row["run_id"]}
        found["cluster_dwells"] += [
            {**mark, "cluster": c, "start": s, "length": n, "censored": cut}
            for c, s, n, cut in zip(*columns, strict=True)
        ]
        changes = change_points(indicators(sequence)).tolist()
        found["cluster_change_points"] += [{**mark, "step": step} for step in changes]
    with watcher.stage(f"symbols {model}", len(groups), "networks") as tell:
        for (experiment, network), by_run in sorted(groups.items()):
            mark = {**place, "experiment": experiment, "network": network}
            about = {**mark, "code_version": CODE_VERSION}
            walks = list(by_run.values())
            some = [by_run[run][:NULL_OUTPUTS] for run in sampled(list(by_run), NULL_RUNS)]
            found["cluster_transitions"] += [
                {**mark, "cluster": a, "next_cluster": b, "moves": n} for (a, b), n in sorted(bigrams(walks).items())
            ]
            found["cluster_states"] += [{**mark, **row} for row in sequences.states(walks)]
            found["markov_models"] += [{**about, **row} for row in sequences.models(walks, SEED)]
            found["symbol_nulls"] += [{**about, "seed": SEED, **row} for row in sequences.against_chance(some, SEED)]
            tell(1)
    adjust(found["symbol_nulls"])
    for table, stored in found.items():
        lake.replace(table, stored, **place)
    return Done(rows=sum(map(len, found.values())))
