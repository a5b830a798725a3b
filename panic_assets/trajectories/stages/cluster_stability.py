"""Whether the clusters of one embedding model hold, and which there are at other resolutions."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Watcher
from panic_assets.registry import registry
from panic_assets.statistics.distinct import distinct
from panic_assets.statistics.finite import number
from panic_assets.statistics.surrogates import gaussian
from panic_assets.trajectories.clusters import layers as evoc
from panic_assets.trajectories.clusters import stability as pure
from panic_assets.trajectories.clusters.clustering import OUTLIER, cluster
from panic_assets.trajectories.stages.vectors import matrix
from panic_assets.trajectories.versions import CODE_VERSION, SEED

STABILITY_VECTORS = 5000
"""Vectors, at most, in each subsample that is clustered again."""
STABILITY_SHARE = 0.8
NULL_VECTORS = 1000
"""Distinct vectors, at most, of a Gaussian cloud that is clustered: making one is cubic."""


def stability(lake: Lake, watcher: Watcher, model: str, draws: int = 5) -> Done:
    """Clusters subsamples of one model's vectors again, and Gaussian clouds that have no clusters."""
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
            "seed_agreement": float(
                np.mean([pure.likeness(layer.labels, [o.labels for o in other]) for other in seeds])
            ),
            "subsample_agreement": float(
                np.mean(
                    [
                        pure.likeness(layer.labels[chosen], [o.labels for o in other])
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
