"""Tables of the trajectories workload: experiments, runs, what they produced, and what was measured of it."""

from panic_assets.lake.columns import CODE, EMBEDDER
from panic_assets.lake.schema import Column, Reference, Table

_EXPERIMENT = Column("experiment", "string", "Name of the experiment; also its partition key.")
_RUN = Column("run_id", "string", "UUIDv7 of the run; stable across resumes.")
_INVOCATION = Column("invocation_id", "string", "UUIDv7 of the invocation; its time is when the model call began.")
_SEQUENCE = Column("sequence_number", "int32", "Position in the run, from 0.")

EXPERIMENTS = Table(
    name="experiments",
    doc="One row an experiment: its definition as registered.",
    columns=(
        _EXPERIMENT,
        Column("networks", "strings", "Networks, each as model names joined by '-'."),
        Column("prompts", "strings", "Starting prompts."),
        Column("seeds", "strings", "Seeds as text; '-1' is an unseeded run and may occur several times."),
        Column("embedding_models", "strings", "Embedding models named so far."),
        Column("max_length", "int32", "Invocations a run may have."),
        Column(
            "image_size", "int32", "Side of generated images in pixels; null means each model's own.", nullable=True
        ),
        Column("image_format", "string", "How images are stored.", allowed=("png", "webp", "jpeg")),
        Column("definition", "string", "The whole definition, as JSON."),
        Column("definition_hash", "string", "SHA-256 of what must never change: all but the embedding models."),
        Column("created_at", "timestamp", "When the experiment was registered."),
    ),
    key=("experiment",),
    partitioned_by=("experiment",),
    hot=True,
)

RUNS = Table(
    name="runs",
    doc="One row a run: a network, a prompt and a seed. `stop_reason` is null while it is not complete.",
    columns=(
        _RUN,
        _EXPERIMENT,
        Column("network", "string", "Model names joined by '-', in the order they cycle."),
        Column("models", "strings", "The same as a list."),
        Column("prompt", "string", "What goes into the first model."),
        Column("seed", "int64", "Seed of every invocation; -1 is unseeded sampling."),
        Column("replicate", "int32", "Tells unseeded runs of one network and prompt apart, from 0."),
        Column("max_length", "int32", "Invocations the run may have."),
        Column("length", "int32", "Invocations stored."),
        Column(
            "stop_reason",
            "string",
            "'length': reached max_length. 'loop': an output exactly repeated an earlier one at the same "
            "position of the network's cycle. 'failed': its input could not be processed.",
            nullable=True,
            allowed=("length", "loop", "failed"),
        ),
        Column("loop_length", "int32", "Invocations between the repeat and what it repeats.", nullable=True),
        Column("failure", "string", "Why the run failed, in a sentence.", nullable=True),
        Column("started_at", "timestamp", "Start of its first invocation.", nullable=True),
        Column("completed_at", "timestamp", "End of its last stored invocation.", nullable=True),
    ),
    key=("run_id",),
    partitioned_by=("experiment",),
    references=(Reference(("experiment",), "experiments", ("experiment",)),),
    hot=True,
)

INVOCATIONS = Table(
    name="invocations",
    doc="One row a model call on one input: what went in, what came out, when, and how long its share took.",
    columns=(
        _INVOCATION,
        _RUN,
        _EXPERIMENT,
        _SEQUENCE,
        Column("model", "string", "Registry name of the model."),
        Column(
            "model_revision",
            "string",
            "Commit of its weights, or the folder that stood in for them and its date; 'built-in' for dummies.",
        ),
        Column("type", "string", "What came out.", allowed=("text", "image")),
        Column("seed", "int64", "Seed the call was given; -1 is unseeded."),
        Column(
            "input_invocation_id", "string", "Invocation whose output was the input; null for the first.", nullable=True
        ),
        Column("input_hash", "string", "Content hash of the input."),
        Column(
            "content_hash", "string", "SHA-256 of the exact output: text bytes, or decoded pixels with mode and size."
        ),
        Column("output_text", "string", "The output when it is text.", nullable=True),
        Column("output_image", "binary", "The output when it is an image: an encoded file.", nullable=True),
        Column("blank", "bool", "Whether the output is a text with nothing in it."),
        Column("started_at", "timestamp", "Start of the batched call."),
        Column("completed_at", "timestamp", "End of the batched call."),
        Column("batch_size", "int32", "Inputs in the batched call."),
        Column("duration_share", "float64", "Seconds of the batched call divided by its batch size."),
        CODE,
    ),
    key=("invocation_id",),
    partitioned_by=("experiment",),
    references=(Reference(("run_id",), "runs", ("run_id",)),),
)

EMBEDDINGS = Table(
    name="embeddings",
    doc=(
        "One row an invocation and embedding model of its modality. For vector functions that need a fixed size "
        "use the view of one model, `embeddings_<model>`."
    ),
    columns=(
        _INVOCATION,
        _RUN,
        _EXPERIMENT,
        _SEQUENCE,
        EMBEDDER,
        Column(
            "model_revision",
            "string",
            "Commit of the embedder's weights, or the folder that stood in for them and its date.",
        ),
        Column("content_hash", "string", "Content hash of what was embedded."),
        Column("normalised", "bool", "Whether the vector has L2 norm 1."),
        Column("vector", "vector", "The embedding, float32, of the model's dimension."),
        Column("embedded_at", "timestamp", "When the vector was stored."),
        CODE,
    ),
    key=("invocation_id", "embedding_model"),
    partitioned_by=("experiment", "embedding_model"),
    references=(Reference(("invocation_id",), "invocations", ("invocation_id",)),),
)

PERSISTENCE_BARS = Table(
    name="persistence_bars",
    doc="One row a bar of a run's persistence diagram (Vietoris-Rips of its distinct vectors), and what makes and ends it.",
    columns=(
        _EXPERIMENT,
        _RUN,
        EMBEDDER,
        Column("dimension", "int32", "Homology dimension."),
        Column("bar", "int32", "Index of the bar in its diagram and dimension, from 0, in order of birth and death."),
        Column("birth", "float64", "Distance at which the feature appears."),
        Column("death", "float64", "Distance at which it is filled; infinite when never.", finite=False),
        Column(
            "birth_invocations",
            "strings",
            "Invocations whose outputs make it: 2 in H1, 3 in H2; the first two are the birth apart. None in H0.",
        ),
        Column(
            "death_invocations",
            "strings",
            "Invocations whose outputs end it: 2 in H0, 3 in H1, 4 in H2; the first two are the death apart.",
        ),
    ),
    key=("run_id", "embedding_model", "dimension", "bar"),
    partitioned_by=("experiment", "embedding_model"),
    references=(Reference(("run_id",), "runs", ("run_id",)),),
)

PERSISTENCE_SUMMARY = Table(
    name="persistence_summary",
    doc="One row a run, embedding model and homology dimension: what the diagram comes to.",
    columns=(
        _EXPERIMENT,
        _RUN,
        EMBEDDER,
        Column("dimension", "int32", "Homology dimension."),
        Column("metric", "string", "Distance between vectors, also the unit of bars.", allowed=("chord", "angle")),
        Column("field", "int32", "Coefficients are integers modulo this prime."),
        Column("points", "int32", "Vectors the diagram was made from."),
        Column("distinct_points", "int32", "Distinct vectors among them."),
        Column(
            "used_points", "int32", "Points the diagram was computed from: fewer than the distinct ones are landmarks."
        ),
        Column(
            "error_bound",
            "float64",
            "Bottleneck distance to the exact diagram is at most this. 0: exact. Above: the time or memory budget was "
            "spent, and farthest-point landmarks stood in for the cloud.",
        ),
        Column("bars", "int32", "Bars, infinite ones included."),
        Column("finite_bars", "int32", "Bars with a finite death."),
        Column("entropy", "float64", "Persistent entropy over finite bars, natural log; 0 when there are none."),
        Column(
            "normalised_entropy",
            "float64",
            "Entropy as a share of the largest that so many bars can have; 0 for fewer than two.",
        ),
        Column("total_persistence", "float64", "Sum of the lengths of finite bars."),
        Column("max_persistence", "float64", "Length of the longest finite bar; 0 when there are none."),
        Column("seconds", "float64", "Time the diagram took (the same in each of its dimensions)."),
        Column("computed_at", "timestamp", "When the diagram was stored."),
        CODE,
    ),
    key=("run_id", "embedding_model", "dimension"),
    partitioned_by=("experiment", "embedding_model"),
    references=(Reference(("run_id",), "runs", ("run_id",)),),
    hot=True,
)

_CLUSTERING = Column("clustering_id", "string", "UUIDv7 of the clustering the row belongs to.")
_CLUSTER = Column("cluster", "int32", "Cluster number, largest first from 0; -1 holds the outliers.")

CLUSTERINGS = Table(
    name="clusterings",
    doc="One row an embedding model: the current clustering of its vectors, pooled over all experiments.",
    columns=(
        _CLUSTERING,
        EMBEDDER,
        Column("experiments", "strings", "Experiments whose vectors were pooled."),
        Column("vectors", "int64", "Vectors clustered, one an invocation."),
        Column("distinct_vectors", "int64", "Distinct vectors among them."),
        Column("clusters", "int32", "Clusters found, outliers not counted."),
        Column("outliers", "int64", "Vectors in no cluster."),
        Column("assigned", "int64", "Vectors that came later and were given to the nearest cluster or none."),
        Column("parameters", "string", "The parameters actually used, as JSON."),
        Column("computed_at", "timestamp", "When the clustering, or what was assigned to it later, was stored."),
        Column("seconds", "float64", "Time it took."),
        CODE,
    ),
    key=("embedding_model",),
    partitioned_by=("embedding_model",),
    hot=True,
)

CLUSTERS = Table(
    name="clusters",
    doc="One row a cluster: its size and its medoid, a real member. Row -1 counts the outliers and has no medoid.",
    columns=(
        _CLUSTERING,
        EMBEDDER,
        _CLUSTER,
        Column("size", "int64", "Members."),
        Column("medoid_invocation_id", "string", "The member nearest to all others.", nullable=True),
        Column("medoid_text", "string", "Its text, when it is one.", nullable=True),
    ),
    key=("embedding_model", "cluster"),
    partitioned_by=("embedding_model",),
    references=(Reference(("clustering_id",), "clusterings", ("clustering_id",)),),
    hot=True,
)

CLUSTER_MEMBERS = Table(
    name="cluster_members",
    doc="One row a clustered invocation: the cluster it is in; -1 is an outlier.",
    columns=(
        _CLUSTERING,
        EMBEDDER,
        _CLUSTER,
        Column("assigned", "bool", "Whether it came later and was given to the nearest cluster or none."),
        _INVOCATION,
        _RUN,
        _EXPERIMENT,
        _SEQUENCE,
    ),
    key=("embedding_model", "invocation_id"),
    partitioned_by=("embedding_model",),
    references=(
        Reference(("clustering_id",), "clusterings", ("clustering_id",)),
        Reference(("embedding_model", "cluster"), "clusters", ("embedding_model", "cluster")),
        Reference(("invocation_id",), "invocations", ("invocation_id",)),
    ),
)

TABLES = (
    EXPERIMENTS,
    RUNS,
    INVOCATIONS,
    EMBEDDINGS,
    PERSISTENCE_BARS,
    PERSISTENCE_SUMMARY,
    CLUSTERINGS,
    CLUSTERS,
    CLUSTER_MEMBERS,
)
