"""The stages about clusters: whether they hold, at which resolutions, and what runs do in them.

Read from the lake, call the pure modules, write to the lake; none of them knows Dagster, `analyses.py` wraps them.
Everything is seeded with `SEED`, so that doing it again gives the same rows.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from panic_assets.errors import UserError
from panic_assets.lake import catalogue
from panic_assets.lake.lake import Lake
from panic_assets.lake.lease import short_lock
from panic_assets.progress import Watcher
from panic_assets.registry import registry
from panic_assets.statistics.multiple import adjust
from panic_assets.trajectories.analysis import CODE_VERSION, SEED, number
from panic_assets.trajectories.clusters.clustering import OUTLIER
from panic_assets.trajectories.runs.vectors import matrix
from panic_assets.trajectories.stages import Done
from panic_assets.trajectories.topology.similarity import sampled

STABILITY_VECTORS = 5000
"""Vectors, at most, in each subsample that is clustered again."""
STABILITY_SHARE = 0.8
NULL_VECTORS = 1000
"""Distinct vectors, at most, of a Gaussian cloud that is clustered: making one is quadratic."""
NULL_RUNS = 20
NULL_OUTPUTS = 300
"""Runs of a network, and outputs of each, that are compared with the same in shuffled order."""
REPLICATES = 199
LAGS = (1, 2, 4, 8)


def assign(lake: Lake, watcher: Watcher, model: str) -> dict[str, Any]:
    """Gives the vectors that came since to the clusters there are, without clustering again; the clusterings row.

    Clusters keep their numbers and medoids. New ones are not found: when outliers gather, cluster again.
    """
    from panic_assets.statistics.distinct import distinct
    from panic_assets.trajectories.clusters import stability as pure

    place = {"embedding_model": model}
    rows = lake.sql(
        """SELECT e.invocation_id, e.run_id, e.experiment, e.sequence_number, e.vector, m.cluster
           FROM embeddings e LEFT JOIN cluster_members m USING (invocation_id)
           ORDER BY e.experiment, e.run_id, e.sequence_number""",
        **place,
    )
    stored = lake.sql("SELECT * FROM clusterings", **place).to_pylist()
    if not stored:
        raise UserError(f"the vectors of {model} are not clustered yet; `panic cluster recompute {model}` does that")
    if gone := stored[0]["vectors"] - (rows.num_rows - rows["cluster"].null_count):
        raise UserError(
            f"{gone:,} clustered vectors of {model} are gone; `panic cluster recompute {model}` clusters again"
        )
    new = pc.is_null(rows["cluster"])
    is_new = new.to_numpy(zero_copy_only=False)
    vectors = matrix(rows["vector"], registry.get(model).dimension)
    with watcher.stage(f"assigning {model}", int(is_new.sum()), "vectors") as tell:
        known = rows["cluster"].filter(pc.invert(new)).to_numpy()
        labels = pure.assign(vectors[is_new], vectors[~is_new], known)
        tell(len(labels))
    clustering = stored[0] | {
        "experiments": sorted(set(rows["experiment"].to_pylist())),
        "vectors": len(vectors),
        "distinct_vectors": len(distinct(vectors).first),
        "outliers": stored[0]["outliers"] + int((labels == OUTLIER).sum()),
        "assigned": stored[0]["assigned"] + len(labels),
        "computed_at": datetime.now(UTC),
    }
    if not len(labels):
        return clustering
    joined = rows.filter(new).drop_columns(["vector", "cluster"]).append_column("cluster", pa.array(labels, pa.int32()))
    for column, value in {**place, "clustering_id": clustering["clustering_id"], "assigned": True}.items():
        joined = joined.append_column(column, pa.array([value] * len(labels)))
    members = lake.sql("SELECT * FROM cluster_members", **place)
    clusters = lake.sql("SELECT * FROM clusters ORDER BY cluster", **place).to_pylist()
    for row in clusters:
        row["size"] += int((labels == row["cluster"]).sum())
    with short_lock(catalogue.lock(lake)):
        lake.replace("cluster_members", pa.concat_tables([members, joined.select(members.column_names)]), **place)
        lake.replace("clusters", clusters, **place)
        lake.replace("clusterings", [clustering], **place)
    return clustering


def stability(lake: Lake, watcher: Watcher, model: str, draws: int = 5) -> Done:
    """Clusters subsamples of one model's vectors again, and Gaussian clouds that have no clusters."""
    from panic_assets.statistics.distinct import distinct
    from panic_assets.statistics.surrogates import gaussian
    from panic_assets.trajectories.clusters import stability as pure
    from panic_assets.trajectories.clusters.clustering import cluster

    place = {"embedding_model": model}
    rows = lake.sql(
        """SELECT m.clustering_id, m.cluster, e.vector FROM cluster_members m
           JOIN embeddings e ON e.invocation_id = m.invocation_id ORDER BY m.experiment, m.run_id, m.sequence_number""",
        **place,
    )
    if not rows.num_rows:
        return Done()
    labels = rows["cluster"].to_numpy()
    vectors = matrix(rows["vector"], registry.get(model).dimension)
    share = min(STABILITY_SHARE, STABILITY_VECTORS / len(vectors))
    with watcher.stage(f"stability {model}", 2 * draws, "clusterings") as tell:

        def again(some: np.ndarray, _: int) -> np.ndarray:
            found = cluster(some).labels
            tell(1)
            return found

        found = pure.stability(vectors, labels, again, draws, share, SEED)
        rng = np.random.default_rng(SEED)
        once = vectors[np.sort(rng.permutation(distinct(vectors).first)[:NULL_VECTORS])]
        nulls = []
        for _ in range(draws):
            nulls.append(cluster(gaussian(once, rng)))
            tell(1)
    mark = {**place, "clustering_id": rows["clustering_id"][0].as_py()}
    whole = {
        **mark,
        "draws": draws,
        "share": share,
        "agreement": found.agreement,
        "clusters": int(labels.max(initial=OUTLIER)) + 1,
        "outlier_share": float((labels == OUTLIER).mean()),
        "null_clusters": float(np.mean([len(n.sizes) for n in nulls])),
        "null_outlier_share": float(np.mean([n.outliers / len(once) for n in nulls])),
        "null_vectors": len(once),
        "seed": SEED,
        "code_version": CODE_VERSION,
    }
    each = [{**mark, "cluster": k, "jaccard": number(value)} for k, value in enumerate(found.jaccard)]
    lake.replace("cluster_stability", each, **place)
    lake.replace("clustering_stability", [whole], **place)
    return Done(rows=1 + len(each))


def layers(lake: Lake, watcher: Watcher, model: str, draws: int = 2) -> Done:
    """Clusters of one model's vectors, over all experiments, at every resolution that EVoC finds.

    Each layer is looked for again under `draws` other seeds, and in as many subsamples.
    """
    from panic_assets.statistics.distinct import distinct
    from panic_assets.trajectories.clusters import layers as evoc
    from panic_assets.trajectories.clusters.stability import likeness

    place = {"embedding_model": model}
    rows = lake.sql(
        "SELECT invocation_id, run_id, experiment, sequence_number, vector FROM embeddings "
        "ORDER BY experiment, run_id, sequence_number",
        **place,
    )
    if not rows.num_rows:
        for table in ("cluster_layer_members", "cluster_layers"):
            lake.remove(table, embedding_model=model)
        return Done()
    began = time.monotonic()
    vectors = matrix(rows["vector"], registry.get(model).dimension)
    everything = np.arange(len(vectors))
    rng = np.random.default_rng(SEED)
    parts = [np.sort(rng.permutation(everything)[: round(STABILITY_SHARE * len(vectors))]) for _ in range(draws)]
    with watcher.stage(f"layers {model}", 1 + 2 * draws, "clusterings") as tell:

        def find(chosen: np.ndarray, seed: int) -> list[Any]:
            found = evoc.layers(vectors[chosen], seed)
            tell(1)
            return found

        found = find(everything, SEED)
        seeds = [find(everything, SEED + 1 + k) for k in range(draws)]
        subsamples = [find(chosen, SEED) for chosen in parts]
    about = {
        **place,
        "vectors": len(vectors),
        "distinct_vectors": len(distinct(vectors).first),
        "parameters": json.dumps(evoc.PARAMETERS),
        "seed": SEED,
        "computed_at": datetime.now(UTC),
        "seconds": time.monotonic() - began,
        "code_version": CODE_VERSION,
    }
    stored = [
        {
            **about,
            "layer": k,
            "clusters": len(layer.sizes),
            "outliers": layer.outliers,
            "seed_agreement": float(np.mean([likeness(layer.labels, [o.labels for o in other]) for other in seeds])),
            "subsample_agreement": float(
                np.mean(
                    [
                        likeness(layer.labels[chosen], [o.labels for o in other])
                        for chosen, other in zip(parts, subsamples, strict=True)
                    ]
                )
            ),
        }
        for k, layer in enumerate(found)
    ]
    who = rows.drop_columns(["vector"])
    members = []
    for k, layer in enumerate(found):
        columns = {
            "embedding_model": pa.array([model] * len(vectors)),
            "layer": pa.array(np.full(len(vectors), k), pa.int32()),
            "cluster": pa.array(layer.labels, pa.int32()),
            "medoid": pa.array(np.isin(everything, layer.medoids)),
        }
        some = who
        for name, values in columns.items():
            some = some.append_column(name, values)
        members.append(some)
    lake.replace("cluster_layer_members", pa.concat_tables(members), **place)
    lake.replace("cluster_layers", stored, **place)
    return Done(rows=len(stored))


def symbols(lake: Lake, watcher: Watcher, model: str) -> Done:
    """Stays, moves, states, change points and Markov models of the cluster sequences, experiment by experiment."""
    from panic_assets.trajectories.clusters import symbols as symbolic
    from panic_assets.trajectories.motion.changes import change_points, indicators

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
        stays = symbolic.dwells(sequence)
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
            sequences = list(by_run.values())
            found["cluster_transitions"] += [
                {**mark, "cluster": a, "next_cluster": b, "moves": n}
                for (a, b), n in sorted(symbolic.bigrams(sequences).items())
            ]
            found["cluster_states"] += [{**mark, **row} for row in _states(sequences)]
            found["markov_models"] += [{**mark, **row} for row in _markov(sequences)]
            found["symbol_nulls"] += [{**mark, **row} for row in _nulls(by_run)]
            tell(1)
    adjust(found["symbol_nulls"])
    for table, stored in found.items():
        lake.replace(table, stored, **place)
    return Done(rows=sum(map(len, found.values())))


SYMBOL_TABLES = (
    "cluster_dwells",
    "cluster_transitions",
    "cluster_states",
    "cluster_change_points",
    "markov_models",
    "symbol_nulls",
)


def _states(sequences: Sequence[np.ndarray]) -> Iterator[dict[str, Any]]:
    from panic_assets.trajectories.clusters import markov
    from panic_assets.trajectories.clusters.symbols import classes, milestones

    held = np.concatenate([milestones(s) for s in sequences])
    states, outputs = np.unique(held[held != OUTLIER], return_counts=True)
    chain, ends = markov.model(sequences), classes(sequences)
    long_run = dict(zip(chain.states.tolist(), chain.stationary.tolist(), strict=True))
    member = {state: k for k, group in enumerate(ends.recurrent) for state in group}
    for state, count in zip(states.tolist(), outputs.tolist(), strict=True):
        yield {
            "cluster": state,
            "outputs": count,
            "share": count / int(outputs.sum()),
            "stationary": long_run.get(state),
            "recurrent_set": member.get(state),
            "absorbing": state in ends.absorbing,
        }


def _markov(sequences: Sequence[np.ndarray]) -> Iterator[dict[str, Any]]:
    from panic_assets.trajectories.clusters import markov
    from panic_assets.trajectories.clusters.symbols import classes

    ends = classes(sequences)
    scales = markov.slowest(sequences, LAGS, seed=SEED)
    for lag, scale in zip(LAGS, scales, strict=True):
        found = markov.model(sequences, lag)
        if not len(found.states):
            continue
        tested = markov.chapman_kolmogorov(sequences, lag, seed=SEED)
        yield {
            "lag": lag,
            "runs": len(sequences),
            "states": len(found.states),
            "coverage": found.coverage,
            "entropy_rate": markov.entropy_rate(found.transition),
            "timescale": number(scale.estimate),
            "timescale_low": number(scale.low),
            "timescale_high": number(scale.high),
            "chapman_kolmogorov_p": number(tested.p_value),
            "recurrent_sets": len(ends.recurrent),
            "absorbing_clusters": len(ends.absorbing),
            "code_version": CODE_VERSION,
        }


def _nulls(by_run: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """How much of what sequences do is due to their order: the same outputs in shuffled order do it too, or not."""
    from panic_assets.statistics.nulls import standings
    from panic_assets.statistics.surrogates import shuffled_time

    sequences = [by_run[run][:NULL_OUTPUTS] for run in sampled(list(by_run), NULL_RUNS)]
    rng = np.random.default_rng(SEED)
    chance = [_measured([shuffled_time(s, rng) for s in sequences]) for _ in range(REPLICATES)]
    for statistic, found in standings(_measured(sequences), chance):  # Without a completed stay some say nothing.
        mark = {"statistic": statistic, "runs": len(sequences), "seed": SEED, "code_version": CODE_VERSION}
        yield {**mark, **vars(found)}


def _measured(sequences: Sequence[np.ndarray]) -> dict[str, float]:
    from panic_assets.trajectories.clusters import markov
    from panic_assets.trajectories.clusters.symbols import dwells
    from panic_assets.trajectories.motion.changes import change_points, indicators

    stays = [dwells(s) for s in sequences]
    complete = np.concatenate([d.length[(d.symbol != OUTLIER) & ~d.censored] for d in stays])
    return {
        "mean stay": float(complete.mean()) if len(complete) else float("nan"),
        "entropy rate": markov.entropy_rate(markov.model(sequences).transition),
        "change points": float(np.mean([len(change_points(indicators(s))) for s in sequences])),
    }
