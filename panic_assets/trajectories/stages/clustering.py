"""Vectors of one embedding model get clusters, pooled over all experiments."""

import hashlib
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from panic_assets.errors import UserError
from panic_assets.lake import catalogue
from panic_assets.lake.lake import Lake
from panic_assets.locks import locked
from panic_assets.progress import Watcher
from panic_assets.registry import registry
from panic_assets.statistics.distinct import distinct
from panic_assets.trajectories.clusters.clustering import OUTLIER
from panic_assets.trajectories.clusters.clustering import cluster as find
from panic_assets.trajectories.clusters.stability import assign as nearest
from panic_assets.trajectories.stages.vectors import matrix
from panic_assets.trajectories.versions import CLUSTER_VERSION


def cluster(lake: Lake, watcher: Watcher, model: str) -> dict[str, Any] | None:
    """Cluster every vector of one model, over all experiments; returns the clusterings row, None without vectors.

    Computed first, then swapped in; the previous clustering stays readable meanwhile.
    """
    rows = lake.sql(
        "SELECT invocation_id, run_id, experiment, sequence_number, vector FROM embeddings "
        "ORDER BY experiment, run_id, sequence_number",
        embedding_model=model,
    )
    if not rows.num_rows:
        for table in ("cluster_members", "clusters", "clusterings"):
            lake.remove(table, embedding_model=model)
        return None
    began = time.monotonic()
    with watcher.stage(f"clusters {model}", 1, "clusterings") as tell:
        vectors = matrix(rows["vector"], registry.get(model).dimension)
        found = find(vectors)
        tell(1)
    ids = rows["invocation_id"].to_pylist()
    identity = {"clustering_id": _identifier(model, ids, vectors), "embedding_model": model}
    medoids = [ids[row] for row in found.medoids]
    texts = _texts(lake, medoids)
    clusters = [
        {**identity, "cluster": k, "size": int(size), "medoid_invocation_id": m, "medoid_text": texts.get(m)}
        for k, (size, m) in enumerate(zip(found.sizes, medoids, strict=True))
    ]
    clusters.append({**identity, "cluster": OUTLIER, "size": found.outliers})
    clustering = {
        **identity,
        "experiments": sorted(set(rows["experiment"].to_pylist())),
        "vectors": len(ids),
        "distinct_vectors": len(distinct(vectors).first),
        "clusters": len(medoids),
        "outliers": found.outliers,
        "assigned": 0,
        "parameters": json.dumps(
            {
                "algorithm": "HDBSCAN over distinct vectors, euclidean, excess of mass",
                "min_cluster_size": found.min_cluster_size,
                "min_samples": found.min_samples,
            }
        ),
        "computed_at": datetime.now(UTC),
        "seconds": time.monotonic() - began,
        "code_version": CLUSTER_VERSION,
    }
    members = rows.drop_columns(["vector"]).append_column("cluster", pa.array(found.labels, pa.int32()))
    for column, value in {**identity, "assigned": False}.items():
        members = members.append_column(column, pa.array([value] * len(ids)))
    with locked(catalogue.lock(lake)):
        lake.replace("cluster_members", members, embedding_model=model)
        lake.replace("clusters", clusters, embedding_model=model)
        lake.replace("clusterings", [clustering], embedding_model=model)
    return clustering


def assign(lake: Lake, watcher: Watcher, model: str) -> dict[str, Any]:
    """Gives the vectors that came since to the clusters there are, without clustering again; the clusterings row.

    Clusters keep their numbers and medoids. New ones are not found: when outliers gather, cluster again.
    """
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
    new = rows["cluster"].is_null()
    is_new = new.to_numpy(zero_copy_only=False)
    vectors = matrix(rows["vector"], registry.get(model).dimension)
    with watcher.stage(f"assigning {model}", int(is_new.sum()), "vectors") as tell:
        known = rows["cluster"].drop_null().to_numpy()
        labels = nearest(vectors[is_new], vectors[~is_new], known)
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
    with locked(catalogue.lock(lake)):
        lake.replace("cluster_members", pa.concat_tables([members, joined.select(members.column_names)]), **place)
        lake.replace("clusters", clusters, **place)
        lake.replace("clusterings", [clustering], **place)
    return clustering


def _identifier(model: str, ids: Sequence[str], vectors: NDArray[np.float32]) -> str:
    """The same for the same vectors of the same outputs, so that clustering them again changes nothing."""
    read = hashlib.sha256(f"{model} {CLUSTER_VERSION} {' '.join(ids)}".encode())
    read.update(np.ascontiguousarray(vectors).data)
    return str(UUID(bytes=read.digest()[:16], version=5))


def _texts(lake: Lake, invocations: Sequence[str]) -> dict[str, str]:
    rows = lake.sql(
        "SELECT invocation_id, output_text FROM invocations WHERE invocation_id IN (SELECT unnest(?))",
        [list(invocations)],
    )
    return dict(zip(rows["invocation_id"].to_pylist(), rows["output_text"].to_pylist(), strict=True))
