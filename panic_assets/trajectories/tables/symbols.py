"""More about clusters: whether they can be trusted, clusters at several resolutions, and what runs do in them."""

from panic_assets.lake.columns import CODE, NETWORK, OF_RUN, RUN, SEED, standing
from panic_assets.lake.schema import Column, Reference, Table

_EMBEDDER = Column("embedding_model", "string", "Name of the embedding model in the registry.")
_EXPERIMENT = Column("experiment", "string", "Name of the experiment.")
_LAYER = Column("layer", "int32", "Number of the layer, counted from 0, the finest first.")
_BY_MODEL = ("embedding_model",)

CLUSTERING_STABILITY = Table(
    name="clustering_stability",
    doc="One row per embedding model: how much of its clustering comes back when subsamples of the vectors "
    "are clustered again. Beside it stands what the same method finds in Gaussian clouds, which have no "
    "clusters.",
    columns=(
        _EMBEDDER,
        Column("clustering_id", "string", "Identifier of the clustering that was tested."),
        Column("draws", "int32", "Number of subsamples, and of Gaussian clouds."),
        Column("share", "float64", "Share of the vectors in each subsample, 0 to 1."),
        Column(
            "agreement",
            "float64",
            "Mean adjusted Rand index between the clustering and that of a subsample: 1 if identical, 0 if by "
            "chance. Outliers count as one cluster.",
        ),
        Column("clusters", "int32", "Number of clusters in the clustering."),
        Column("outlier_share", "float64", "Share of the vectors that are outliers, 0 to 1."),
        Column(
            "null_clusters",
            "float64",
            "Mean number of clusters found in a Gaussian cloud with the same mean and covariance.",
        ),
        Column(
            "null_outlier_share", "float64", "Mean share of the points of a Gaussian cloud that are outliers, 0 to 1."
        ),
        Column("null_vectors", "int32", "Number of points in a Gaussian cloud."),
        SEED,
        CODE,
    ),
    key=("embedding_model",),
    partitioned_by=_BY_MODEL,
    hot=True,
)

CLUSTER_STABILITY = Table(
    name="cluster_stability",
    doc="One row per cluster: how much of it comes back when subsamples of the vectors are clustered again.",
    columns=(
        _EMBEDDER,
        Column("clustering_id", "string", "UUIDv7 of the clustering that was tested."),
        Column("cluster", "int32", "Number of the cluster."),
        Column(
            "jaccard",
            "float64",
            "Mean largest overlap (Jaccard index) with a cluster found again, 0 to 1. Above 0.85 the cluster is "
            "stable; below 0.6 do not trust it. Null if no subsample held any of its members.",
            nullable=True,
        ),
    ),
    key=("embedding_model", "cluster"),
    partitioned_by=_BY_MODEL,
    hot=True,
)

CLUSTER_LAYERS = Table(
    name="cluster_layers",
    doc="One row per embedding model and layer. A *layer* is a clustering at one resolution: finer layers "
    "have more and smaller clusters. EVoC makes them: it is fast on many vectors, approximate, and "
    "random.",
    columns=(
        _EMBEDDER,
        _LAYER,
        Column("clusters", "int32", "Number of clusters."),
        Column("vectors", "int64", "Number of vectors."),
        Column("distinct_vectors", "int64", "Number of different vectors among them."),
        Column("outliers", "int64", "Number of outliers."),
        Column(
            "seed_agreement",
            "float64",
            "Mean adjusted Rand index with the most similar layer found under another seed: 1 if identical, 0 if "
            "by chance.",
        ),
        Column(
            "subsample_agreement",
            "float64",
            "The same index with the most similar layer found in a subsample of four fifths of the vectors.",
        ),
        Column("parameters", "string", "Parameters of EVoC as they were used, as JSON."),
        SEED,
        Column("computed_at", "timestamp", "When the layers were stored."),
        Column("seconds", "float64", "Seconds that all layers took, the other seeds and subsamples included."),
        CODE,
    ),
    key=("embedding_model", "layer"),
    partitioned_by=_BY_MODEL,
    hot=True,
)

CLUSTER_LAYER_MEMBERS = Table(
    name="cluster_layer_members",
    doc="One row per layer and invocation: the cluster that the invocation belongs to.",
    columns=(
        _EMBEDDER,
        _LAYER,
        Column(
            "cluster",
            "int32",
            "Number of the cluster within its layer, counted from 0, the largest first; -1 for outliers.",
        ),
        Column("medoid", "bool", "Whether this is the cluster's medoid (see `clusters`)."),
        Column("invocation_id", "string", "UUIDv7 of the invocation."),
        RUN,
        _EXPERIMENT,
        Column("sequence_number", "int32", "Position of the invocation in its run, counted from 0."),
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
    doc="One row per experiment, network and cluster that its runs visited: how much time they spent there, "
    "and whether they left again.",
    columns=(
        _EMBEDDER,
        _EXPERIMENT,
        NETWORK,
        Column("cluster", "int32", "Number of the cluster. An outlier counts as the last cluster visited."),
        Column("outputs", "int64", "Number of outputs in the cluster."),
        Column(
            "share", "float64", "Share of the outputs in it, 0 to 1. Outputs before a run's first cluster do not count."
        ),
        Column(
            "stationary",
            "float64",
            "Share of time that the Markov state model at lag 1 (see `markov_models`) spends here in the long "
            "run, 0 to 1. Null if the cluster is not one of its states.",
            nullable=True,
        ),
        Column(
            "recurrent_set",
            "int32",
            "Number of the recurrent set that the cluster belongs to, counted from 0. A *recurrent set* is a set "
            "of clusters that was never left once it was entered. Null if the cluster belongs to none.",
            nullable=True,
        ),
        Column("absorbing", "bool", "Whether the cluster is a recurrent set by itself."),
    ),
    key=("embedding_model", "experiment", "network", "cluster"),
    partitioned_by=_BY_MODEL,
    hot=True,
)

CLUSTER_CHANGE_POINTS = Table(
    name="cluster_change_points",
    doc="One row per change point of a run's cluster sequence: there the run starts to spend its time in "
    "other clusters.",
    columns=(
        _EMBEDDER,
        _EXPERIMENT,
        RUN,
        Column(
            "step",
            "int32",
            "Position of the output among the outputs of its run that this model embeds, counted from 0.",
        ),
    ),
    key=("embedding_model", "run_id", "step"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

SYMBOL_NULLS = Table(
    name="symbol_nulls",
    doc="One row per experiment, network and statistic of its cluster sequences: where it stands among "
    "sequences with the same clusters in shuffled order.",
    columns=(
        _EMBEDDER,
        _EXPERIMENT,
        NETWORK,
        Column(
            "statistic",
            "string",
            "What is compared, for a sample of the runs. 'mean stay': mean length, in outputs, of stays that no "
            "end of a run cuts off. 'entropy rate': how unpredictable the next cluster is, in nats per output. "
            "'change points': mean number per run.",
            allowed=("mean stay", "entropy rate", "change points"),
        ),
        Column("runs", "int32", "Number of runs compared."),
        *standing("the runs", "shuffled copies", "one embedding model"),
        SEED,
        CODE,
    ),
    key=("embedding_model", "experiment", "network", "statistic"),
    partitioned_by=_BY_MODEL,
    hot=True,
)

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
        "One row per experiment, network and prompt: how many of its complete runs came back to exactly an "
        "earlier output, "
        "when, and how long their loops are. A *fixed point* is a loop as long as the network: every model gives the "
        "same output each time.",
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
