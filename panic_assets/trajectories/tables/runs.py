"""Experiments, their runs, what the runs produced, and its embeddings, persistence diagrams and clusters."""

from panic_assets.lake.columns import CODE, EMBEDDER
from panic_assets.lake.schema import Column, Reference, Table
from panic_assets.model_settings import SETTINGS

_EXPERIMENT = Column("experiment", "string", "Name of the experiment.")
_RUN = Column("run_id", "string", "UUIDv7 of the run. It stays the same when the run is resumed.")
_INVOCATION = Column(
    "invocation_id", "string", "UUIDv7 of the invocation. The time in it is when the model call began."
)
_SEQUENCE = Column("sequence_number", "int32", "Position of the invocation in its run, counted from 0.")
_TOKENS = (
    Column(
        "tokens_given",
        "int32",
        "Tokens of the text that the model was given, with the special ones at its ends; null for an image, and where the "
        "model does not tell.",
        nullable=True,
    ),
    Column(
        "tokens_read",
        "int32",
        "How many of them the model read, from the start. If they are fewer than it was given, it did not read the end.",
        nullable=True,
    ),
)

EXPERIMENTS = Table(
    name="experiments",
    doc="One row per experiment: its definition as registered. An *experiment* runs every network from every "
    "prompt with every seed. A *network* is a list of models that take turns, each reading what the one "
    "before gave: text to image, image to text, and so on.",
    columns=(
        _EXPERIMENT,
        Column("networks", "strings", "Networks, each as the names of its models, joined by '-'."),
        Column("prompts", "strings", "Texts that runs start from."),
        Column("seeds", "strings", "Seeds, as text. '-1' stands for an unseeded run and may occur several times."),
        Column("embedding_models", "strings", "Names of the embedding models. More can be added later."),
        Column("max_length", "int32", "Largest number of invocations in a run."),
        Column(
            "image_size",
            "int32",
            "Side of generated images, in pixels; null if each model uses its own size.",
            nullable=True,
        ),
        Column(
            "image_format",
            "string",
            "How images are stored. png and webp keep every pixel, jpeg does not.",
            allowed=("png", "webp", "jpeg"),
        ),
        Column("definition", "string", "The whole definition, as JSON."),
        Column(
            "definition_hash",
            "string",
            "SHA-256 of the part of the definition that must never change: everything but the embedding models.",
        ),
        Column("created_at", "timestamp", "When the experiment was registered."),
    ),
    key=("experiment",),
    partitioned_by=("experiment",),
    hot=True,
)

RUNS = Table(
    name="runs",
    doc="One row per run. A *run* starts one network from one prompt with one seed and goes on until it "
    "stops. A run *loops* when an output exactly repeats an earlier one at the same position of the "
    "network's cycle: a seeded run would go round this loop for ever.",
    columns=(
        _RUN,
        _EXPERIMENT,
        Column(
            "network", "string", "Names of the network's models, joined by '-', in the order in which they take turns."
        ),
        Column("models", "strings", "The same names as a list."),
        Column("prompt", "string", "Text that the first model is given."),
        Column("seed", "int64", "Seed of every invocation; -1 for an unseeded run, which samples afresh each time."),
        Column(
            "replicate",
            "int32",
            "Tells unseeded runs of one network and prompt apart, counted from 0; 0 for seeded runs.",
        ),
        Column("max_length", "int32", "Largest number of invocations in this run."),
        Column("length", "int32", "Number of invocations stored so far."),
        Column(
            "stop_reason",
            "string",
            "Why the run stopped; null while it is not complete. 'length': it reached max_length. 'loop': it "
            "looped. 'failed': an input or an output could not be processed.",
            nullable=True,
            allowed=("length", "loop", "failed"),
        ),
        Column(
            "loop_length",
            "int32",
            "Number of invocations once round the loop; null unless the run looped.",
            nullable=True,
        ),
        Column("failure", "string", "Why the run failed, in a sentence; null unless it failed.", nullable=True),
        Column("started_at", "timestamp", "Start of its first invocation; null before it.", nullable=True),
        Column("completed_at", "timestamp", "End of its last stored invocation; null before the first.", nullable=True),
    ),
    key=("run_id",),
    partitioned_by=("experiment",),
    references=(Reference(("experiment",), "experiments", ("experiment",)),),
    hot=True,
)

INVOCATIONS = Table(
    name="invocations",
    doc="One row per invocation. An *invocation* is one call of a model on one input, within a run. Runs of "
    "one network advance together: in each step a model is called once for the whole batch of them.",
    columns=(
        _INVOCATION,
        _RUN,
        _EXPERIMENT,
        _SEQUENCE,
        Column("model", "string", "Name of the model in the registry."),
        Column(
            "model_revision",
            "string",
            "Commit of the model's weights; for a local folder used in their place, its path and when it last "
            "changed; 'built-in' for dummies.",
        ),
        SETTINGS,
        Column("type", "string", "What the output is.", allowed=("text", "image")),
        Column("seed", "int64", "Seed that the call was given; -1 if unseeded."),
        Column(
            "input_invocation_id",
            "string",
            "Invocation whose output was the input; null for the first, whose input is the prompt.",
            nullable=True,
        ),
        Column("input_hash", "string", "Content hash of the input."),
        Column(
            "content_hash",
            "string",
            "SHA-256 of the exact output: of the bytes of a text, or of an image's decoded pixels with mode and size.",
        ),
        Column("output_text", "string", "The output, if it is text; else null.", nullable=True),
        Column(
            "output_image",
            "binary",
            "The output as an encoded image file, if it is an image; else null.",
            nullable=True,
        ),
        Column(
            "blank",
            "bool",
            "Whether the output is a text of nothing but white space. The next model is then given a neutral prompt.",
        ),
        *_TOKENS,
        Column(
            "finished",
            "bool",
            "Whether a text ended by itself, and not because it reached the largest number of tokens; null for images, and "
            "where the model does not tell.",
            nullable=True,
        ),
        Column("started_at", "timestamp", "Start of the call."),
        Column("completed_at", "timestamp", "End of the call."),
        Column("batch_size", "int32", "Number of inputs in the call."),
        Column("duration_share", "float64", "Seconds that the call took, divided by batch_size."),
        CODE,
    ),
    key=("invocation_id",),
    partitioned_by=("experiment",),
    references=(Reference(("run_id",), "runs", ("run_id",)),),
)

EMBEDDINGS = Table(
    name="embeddings",
    doc="One row per output and embedding model that reads its type: the output as a vector. The column "
    "`vector` has no fixed size. Functions that need one can use the view of one model, "
    "`embeddings_<model>`, for example `embeddings_MiniLM`.",
    columns=(
        _INVOCATION,
        _RUN,
        _EXPERIMENT,
        _SEQUENCE,
        EMBEDDER,
        Column(
            "model_revision",
            "string",
            "Commit of the embedding model's weights; for a local folder used in their place, its path and when "
            "it last changed; 'built-in' for dummies and controls.",
        ),
        SETTINGS,
        Column(
            "content_hash",
            "string",
            "Content hash of the output. Outputs with the same hash have the same vector by the same model, revision and "
            "settings, except by controls.",
        ),
        *_TOKENS,
        Column("normalised", "bool", "Whether the vector has length (L2 norm) 1."),
        Column("vector", "vector", "The vector, float32, with as many numbers as the model has dimensions."),
        Column("embedded_at", "timestamp", "When the vector was stored."),
        CODE,
    ),
    key=("invocation_id", "embedding_model"),
    partitioned_by=("experiment", "embedding_model"),
    references=(Reference(("invocation_id",), "invocations", ("invocation_id",)),),
)

PERSISTENCE_BARS = Table(
    name="persistence_bars",
    doc="One row per bar of a run's persistence diagram by one embedding model. Join all outputs (their "
    "different vectors) that are at most a distance r apart, and let r grow: a *bar* is a feature of "
    "what is joined: a connected part, a loop of outputs around a hole (not to be confused with a run "
    "that loops), or a void. Its *birth* is the distance at which it appears. Its *death* is the "
    "distance at which it is filled, or merges with an older part. (This is the Vietoris-Rips "
    "filtration.)",
    columns=(
        _EXPERIMENT,
        _RUN,
        EMBEDDER,
        Column(
            "dimension", "int32", "Homology dimension: 0 for connected parts (H0), 1 for loops (H1), 2 for voids (H2)."
        ),
        Column(
            "bar",
            "int32",
            "Number of the bar within its diagram and dimension, counted from 0, in order of birth, then death.",
        ),
        Column("birth", "float64", "Distance at which the feature appears."),
        Column(
            "death",
            "float64",
            "Distance at which it ends; infinite for the one part in H0 that never ends.",
            finite=False,
        ),
        Column(
            "birth_invocations",
            "strings",
            "Invocations whose outputs create the feature: 2 in H1, 3 in H2, none in H0. The first two are as "
            "far apart as the birth.",
        ),
        Column(
            "death_invocations",
            "strings",
            "Invocations whose outputs end the feature: 2 in H0, 3 in H1, 4 in H2, none for an infinite death. "
            "The first two are as far apart as the death.",
        ),
    ),
    key=("run_id", "embedding_model", "dimension", "bar"),
    partitioned_by=("experiment", "embedding_model"),
    references=(Reference(("run_id",), "runs", ("run_id",)),),
)

PERSISTENCE_SUMMARY = Table(
    name="persistence_summary",
    doc="One row per run, embedding model and homology dimension: how the persistence diagram was made, and "
    "its numbers of bars, entropy and lengths. The *length* of a bar is its death minus its birth.",
    columns=(
        _EXPERIMENT,
        _RUN,
        EMBEDDER,
        Column("dimension", "int32", "Homology dimension: 0 for connected parts, 1 for loops, 2 for voids."),
        Column(
            "metric",
            "string",
            "Distance between vectors, and so the unit of births and deaths: chord (Euclidean), or angle in radians.",
            allowed=("chord", "angle"),
        ),
        Column("field", "int32", "Homology has coefficients modulo this prime."),
        Column("points", "int32", "Number of vectors of the run."),
        Column("distinct_points", "int32", "Number of different vectors among them."),
        Column(
            "used_points",
            "int32",
            "Number of points that the diagram was computed from. If it is below distinct_points, these are "
            "landmarks: a sample of points that are far from each other.",
        ),
        Column(
            "error_bound",
            "float64",
            "The exact diagram is at most this far away, as bottleneck distance. 0: this is the exact diagram. "
            "Above 0: it would have taken more time or memory than allowed, so it was computed from landmarks.",
        ),
        Column("bars", "int32", "Number of bars, infinite ones included."),
        Column("finite_bars", "int32", "Number of bars with a finite death."),
        Column(
            "entropy",
            "float64",
            "Persistent entropy of the finite bars, in nats: -sum p ln p, where p is a bar's share of the total "
            "length. 0 without finite bars.",
        ),
        Column(
            "normalised_entropy",
            "float64",
            "Entropy divided by its largest possible value, ln finite_bars; 0 to 1. 0 with fewer than 2 finite bars.",
        ),
        Column("total_persistence", "float64", "Sum of the lengths of the finite bars."),
        Column("max_persistence", "float64", "Length of the longest finite bar; 0 without finite bars."),
        Column("seconds", "float64", "Seconds that the whole diagram took, all dimensions together."),
        Column("computed_at", "timestamp", "When the diagram was stored."),
        CODE,
    ),
    key=("run_id", "embedding_model", "dimension"),
    partitioned_by=("experiment", "embedding_model"),
    references=(Reference(("run_id",), "runs", ("run_id",)),),
    hot=True,
)

_CLUSTERING = Column(
    "clustering_id",
    "string",
    "Identifier of the clustering that the row belongs to. The same vectors of the same outputs give the same one.",
)
_CLUSTER = Column("cluster", "int32", "Number of the cluster, counted from 0, the largest first; -1 for outliers.")

CLUSTERINGS = Table(
    name="clusterings",
    doc="One row per embedding model: its current clustering. The vectors of all experiments are clustered "
    "together (HDBSCAN). An *outlier* is a vector that belongs to no cluster.",
    columns=(
        _CLUSTERING,
        EMBEDDER,
        Column("experiments", "strings", "Experiments whose vectors were clustered."),
        Column("vectors", "int64", "Number of vectors, one per invocation."),
        Column("distinct_vectors", "int64", "Number of different vectors among them."),
        Column("clusters", "int32", "Number of clusters. Outliers are not a cluster."),
        Column("outliers", "int64", "Number of outliers."),
        Column(
            "assigned",
            "int64",
            "Number of vectors that came later: each was given to its nearest cluster, or became an outlier.",
        ),
        Column("parameters", "string", "Parameters of the clustering as they were used, as JSON."),
        Column("computed_at", "timestamp", "When the clustering was stored, or when vectors were last assigned to it."),
        Column("seconds", "float64", "Seconds that the clustering took."),
        CODE,
    ),
    key=("embedding_model",),
    partitioned_by=("embedding_model",),
    hot=True,
)

CLUSTERS = Table(
    name="clusters",
    doc="One row per cluster of an embedding model, and one for its outliers (cluster -1).",
    columns=(
        _CLUSTERING,
        EMBEDDER,
        _CLUSTER,
        Column("size", "int64", "Number of members."),
        Column(
            "medoid_invocation_id",
            "string",
            "Invocation of the medoid: the member with the smallest sum of squared distances to all members. "
            "Null for outliers.",
            nullable=True,
        ),
        Column("medoid_text", "string", "Text of the medoid; null if it is an image, and for outliers.", nullable=True),
    ),
    key=("embedding_model", "cluster"),
    partitioned_by=("embedding_model",),
    references=(Reference(("clustering_id",), "clusterings", ("clustering_id",)),),
    hot=True,
)

CLUSTER_MEMBERS = Table(
    name="cluster_members",
    doc="One row per clustered invocation and embedding model: the cluster that it belongs to.",
    columns=(
        _CLUSTERING,
        EMBEDDER,
        _CLUSTER,
        Column(
            "assigned",
            "bool",
            "Whether the vector came after the clustering and was given to its nearest cluster, or became an outlier.",
        ),
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
