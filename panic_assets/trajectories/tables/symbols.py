"""Tables of clusters beyond the clustering itself: whether it holds, at which resolution, and what runs do in it."""

from panic_assets.lake.columns import CODE, NETWORK, OF_RUN, RUN, SEED, standing
from panic_assets.lake.schema import Column, Reference, Table

_EMBEDDER = Column("embedding_model", "string", "Registry name of the embedding model; also its partition key.")
_EXPERIMENT = Column("experiment", "string", "Name of the experiment.")
_LAYER = Column("layer", "int32", "Resolution, from 0: the finest.")
_BY_MODEL = ("embedding_model",)

CLUSTERING_STABILITY = Table(
    name="clustering_stability",
    doc="One row an embedding model: how much of its clustering comes back on subsamples, and what a cloud without "
    "clusters would give.",
    columns=(
        _EMBEDDER,
        Column("clustering_id", "string", "The clustering that was tested."),
        Column("draws", "int32", "Subsamples clustered again."),
        Column("share", "float64", "Share of the vectors in each."),
        Column("agreement", "float64", "Mean adjusted Rand index, outliers a class of their own; 1 identical, 0 chance."),
        Column("clusters", "int32", "Clusters found."),
        Column("outlier_share", "float64", "Share of the vectors in no cluster."),
        Column("null_clusters", "float64", "Mean clusters found in Gaussian clouds of the same mean and covariance."),
        Column("null_outlier_share", "float64", "Mean share of those clouds in no cluster."),
        Column("null_vectors", "int32", "Distinct vectors of each of those clouds."),
        SEED,
        CODE,
    ),
    key=("embedding_model",),
    partitioned_by=_BY_MODEL,
    hot=True,
)  # fmt: skip

CLUSTER_STABILITY = Table(
    name="cluster_stability",
    doc="One row a cluster: how much of it comes back on subsamples.",
    columns=(
        _EMBEDDER,
        Column("clustering_id", "string", "The clustering that was tested."),
        Column("cluster", "int32", "Cluster number."),
        Column("jaccard", "float64", "Mean largest overlap with a cluster found again: above 0.85 stable, below 0.6 not "
               "there; null where no subsample had it.", nullable=True),
    ),
    key=("embedding_model", "cluster"),
    partitioned_by=_BY_MODEL,
    hot=True,
)  # fmt: skip

CLUSTER_LAYERS = Table(
    name="cluster_layers",
    doc="One row an embedding model and resolution of EVoC, which is approximate, random, and fast on many vectors.",
    columns=(
        _EMBEDDER,
        _LAYER,
        Column("clusters", "int32", "Clusters found."),
        Column("vectors", "int64", "Vectors clustered."),
        Column("distinct_vectors", "int64", "Distinct vectors among them."),
        Column("outliers", "int64", "Vectors in no cluster."),
        Column("seed_agreement", "float64", "Mean adjusted Rand index with the most alike layer under other seeds."),
        Column("subsample_agreement", "float64", "The same on subsamples of four fifths of the vectors."),
        Column("parameters", "string", "The parameters actually used, as JSON."),
        SEED,
        Column("computed_at", "timestamp", "When it was stored."),
        Column("seconds", "float64", "Time all layers took, stability included."),
        CODE,
    ),
    key=("embedding_model", "layer"),
    partitioned_by=_BY_MODEL,
    hot=True,
)

CLUSTER_LAYER_MEMBERS = Table(
    name="cluster_layer_members",
    doc="One row a resolution of EVoC and invocation: the cluster it is in; -1 is an outlier.",
    columns=(
        _EMBEDDER,
        _LAYER,
        Column("cluster", "int32", "Cluster number within the layer."),
        Column("medoid", "bool", "Whether it is the member nearest to all others."),
        Column("invocation_id", "string", "UUIDv7 of the invocation."),
        RUN,
        _EXPERIMENT,
        Column("sequence_number", "int32", "Position in the run, from 0."),
    ),
    key=("embedding_model", "layer", "invocation_id"),
    partitioned_by=_BY_MODEL,
    references=(
        Reference(("embedding_model", "layer"), "cluster_layers", ("embedding_model", "layer")),
        Reference(("invocation_id",), "invocations", ("invocation_id",)),
    ),
)

CLUSTER_STATES = Table(
    name="cluster_states",
    doc="One row an experiment, network and cluster that its runs were in: how much, and whether it was left again.",
    columns=(
        _EMBEDDER,
        _EXPERIMENT,
        NETWORK,
        Column("cluster", "int32", "Cluster number; outliers are held by the last cluster visited."),
        Column("outputs", "int64", "Outputs in it."),
        Column("share", "float64", "Share of all outputs from the first cluster of each run on."),
        Column("stationary", "float64", "Share of time in the long run, by the Markov model of lag 1; null outside of its "
               "states.", nullable=True),
        Column("recurrent_set", "int32", "Number of the set of clusters, once entered never left, that it is in; null: "
               "transient.", nullable=True),
        Column("absorbing", "bool", "Whether it is such a set by itself."),
    ),
    key=("embedding_model", "experiment", "network", "cluster"),
    partitioned_by=_BY_MODEL,
    hot=True,
)  # fmt: skip

CLUSTER_CHANGE_POINTS = Table(
    name="cluster_change_points",
    doc="One row a change point: where a run starts to spend its time in other clusters.",
    columns=(
        _EMBEDDER,
        _EXPERIMENT,
        RUN,
        Column("step", "int32", "Position among the run's outputs that this model embeds, from 0."),
    ),
    key=("embedding_model", "run_id", "step"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

SYMBOL_NULLS = Table(
    name="symbol_nulls",
    doc="One row an experiment, network and statistic of its cluster sequences: where it stands among sequences of the "
    "same clusters in shuffled order.",
    columns=(
        _EMBEDDER,
        _EXPERIMENT,
        NETWORK,
        Column("statistic", "string", "What is compared, over a sample of runs: outputs in a completed stay, nats per "
               "step, change points of a run.", allowed=("mean stay", "entropy rate", "change points")),
        Column("runs", "int32", "Runs compared."),
        *standing("runs", "shuffled", "shuffled", "model", "shuffled values"),
        SEED,
        CODE,
    ),
    key=("embedding_model", "experiment", "network", "statistic"),
    partitioned_by=_BY_MODEL,
    hot=True,
)  # fmt: skip

TABLES = (
    CLUSTERING_STABILITY,
    CLUSTER_STABILITY,
    CLUSTER_LAYERS,
    CLUSTER_LAYER_MEMBERS,
    CLUSTER_STATES,
    CLUSTER_CHANGE_POINTS,
    SYMBOL_NULLS,
)

VIEWS = {
    "loops": (
        "One row an experiment, network and prompt: how many of its runs came back to exactly an earlier output, when, "
        "and how long their loops are. A fixed point is a loop of the network's length.",
        """SELECT r.experiment, r.network, r.prompt, count(*) AS runs, count(d.loop_time) AS looped,
                  median(d.loop_time) AS median_time_to_loop, median(d.loop_time - d.loop_start) AS median_loop_length,
                  count(*) FILTER (d.loop_time - d.loop_start = len(r.models)) AS fixed_points
           FROM runs r LEFT JOIN (
               SELECT run_id, any_value(loop_start) AS loop_start, any_value(loop_time) AS loop_time
               FROM run_dynamics GROUP BY run_id
           ) d USING (run_id)
           WHERE r.stop_reason IS NOT NULL GROUP BY ALL""",
    ),
}
