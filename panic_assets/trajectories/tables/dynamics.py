"""Tables of what was found in trajectories: motion, topology, symbols, statistics. Each claim beside its null."""

from panic_assets.lake.columns import CODE, EMBEDDER, NETWORK, OF_RUN, RUN, SEED, standing
from panic_assets.lake.schema import Column, Reference, Table

_EXPERIMENT = Column("experiment", "string", "Name of the experiment; also its partition key.")
_STEP = Column("step", "int32", "Position among the run's outputs that this model embeds, from 0.")
_DIMENSION = Column("dimension", "int32", "Homology dimension.")
_BY_MODEL = ("experiment", "embedding_model")
_OF_REPLICATES = standing("run", "null", "replicates", "experiment and model", "null values")

MOTION_STATISTICS = (
    "final_drift",
    "displacement_exponent",
    "autocorrelation_time",
    "recurrence_rate",
    "determinism",
    "laminarity",
    "trapping_time",
    "changes",
)

DRIFT_STEPS = Table(
    name="drift_steps",
    doc="One row an embedded output: how far it is from where the run started, and from the output before it.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        Column("invocation_id", "string", "UUIDv7 of the invocation."),
        Column("sequence_number", "int32", "Position in the run, from 0."),
        _STEP,
        Column("origin", "string", "What drift is measured from.", allowed=("prompt", "first output")),
        Column("drift_chord", "float64", "Euclidean distance from the origin (unit vectors: 0 same, 2 opposite)."),
        Column("drift_angle", "float64", "Angle to the origin in radians; null for a zero vector.", nullable=True),
        Column(
            "step_chord", "float64", "Euclidean distance from the output before; null for the first.", nullable=True
        ),
    ),
    key=("invocation_id", "embedding_model"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

RUN_DYNAMICS = Table(
    name="run_dynamics",
    doc="One row a run and embedding model: what its motion comes to.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        Column("outputs", "int32", "Embedded outputs."),
        Column("distinct_outputs", "int32", "Distinct vectors among them."),
        Column("final_drift", "float64", "Chord from the origin of the last output; null without one.", nullable=True),
        Column("mean_step", "float64", "Mean chord from one output to the next.", nullable=True),
        Column("displacement_exponent", "float64", "Slope of ln mean squared displacement against ln lag, lags 1 to n/4: "
               "1 free walk, 0 bounded.", nullable=True),
        Column("autocorrelation_time", "float64", "Integrated, in outputs; null for what never changes.", nullable=True),
        Column("recurrence_radius", "float64", "Distance within which two outputs count as the same place."),
        Column("recurrence_rate", "float64", "Share of pairs of outputs in the same place."),
        Column("determinism", "float64", "Share of those on diagonal lines: walked again in the same order."),
        Column("laminarity", "float64", "Share of those on vertical lines: stayed."),
        Column("trapping_time", "float64", "Mean stay, in outputs."),
        Column("mean_diagonal", "float64", "Mean length of the diagonal lines."),
        Column("longest_diagonal", "int32", "The longest one: outputs walked again in the same order."),
        Column("diagonal_entropy", "float64", "Entropy of their lengths, in nats."),
        Column("changes", "int32", "Change points of the drift."),
        Column("walk_changes", "float64", "Mean number of change points of random walks with the same step lengths."),
        Column("loop_start", "int32", "Invocation that is first repeated exactly; null when none is.", nullable=True),
        Column("loop_time", "int32", "Invocation that repeats it: the time to the first loop.", nullable=True),
        CODE,
    ),
    key=("run_id", "embedding_model"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
    hot=True,
)  # fmt: skip

DISPLACEMENTS = Table(
    name="displacements",
    doc="One row a run, embedding model and lag: how far the run is from where it was. Level: bounded; linear: a free walk.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        Column("lag", "int32", "Outputs between the two."),
        Column("displacement", "float64", "Mean squared chord between outputs that far apart."),
    ),
    key=("run_id", "embedding_model", "lag"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

CHANGE_POINTS = Table(
    name="change_points",
    doc="One row a change point: where the mean of a run's drift jumps.",
    columns=(_EXPERIMENT, RUN, EMBEDDER, _STEP),
    key=("run_id", "embedding_model", "step"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

RUN_DIVERGENCE = Table(
    name="run_divergence",
    doc="One row an embedding model, network and kind of pair: how runs come apart, and which law that follows.",
    columns=(
        _EXPERIMENT,
        EMBEDDER,
        Column("network", "string", "Network of both runs."),
        Column("pairs_of", "string", "Which runs are paired.", allowed=("same prompt", "different prompts")),
        Column("pairs", "int32", "Pairs of runs used."),
        Column("outputs", "int32", "Outputs of each that were compared."),
        Column("verdict", "string", "The law the data prefer.", allowed=("growth", "relaxation", "neither")),
        Column("rate", "float64", "Finite-time Lyapunov exponent per output; null unless growth.", nullable=True),
        Column("rate_low", "float64", "Lower end of its 95% bootstrap interval over runs.", nullable=True),
        Column("rate_high", "float64", "Upper end.", nullable=True),
        Column("tau", "float64", "Relaxation time in outputs; null unless relaxation.", nullable=True),
        Column("tau_low", "float64", "Lower end of its 95% bootstrap interval over runs.", nullable=True),
        Column("tau_high", "float64", "Upper end.", nullable=True),
        Column("growth_r2", "float64", "Variance over time that growth explains."),
        Column("relaxation_r2", "float64", "Variance over time that relaxation explains."),
        Column("growth_aic", "float64", "Akaike's criterion of growth; lower is better."),
        Column("relaxation_aic", "float64", "Akaike's criterion of relaxation."),
        Column("constant_aic", "float64", "Akaike's criterion of no change: what either must beat."),
        Column("growth_held_out", "float64", "Root mean squared error on the last quarter, fitted before it."),
        Column("relaxation_held_out", "float64", "That of relaxation."),
        Column("constant_held_out", "float64", "That of no change: what either must beat."),
        Column("first_distance", "float64", "Mean chord at the first output."),
        Column("last_distance", "float64", "Mean chord at the last."),
        CODE,
    ),
    key=("experiment", "embedding_model", "network", "pairs_of"),
    partitioned_by=_BY_MODEL,
    hot=True,
)

PROMPT_RECOVERABILITY = Table(
    name="prompt_recoverability",
    doc="One row an embedding model and step: how well the starting prompt can be told, beside shuffled prompts.",
    columns=(
        _EXPERIMENT,
        EMBEDDER,
        _STEP,
        Column("accuracy", "float64", "Share of runs given their own prompt by the nearest mean of other runs."),
        Column("chance", "float64", "Mean accuracy with prompts shuffled within networks."),
        Column("p_value", "float64", "Two-sided, among the shuffled."),
        Column(
            "adjusted_p_value", "float64", "Adjusted for all steps of the experiment and model (Benjamini-Hochberg)."
        ),
        Column("runs", "int32", "Runs classified."),
        Column("prompts", "int32", "Prompts to choose from."),
    ),
    key=("experiment", "embedding_model", "step"),
    partitioned_by=_BY_MODEL,
    hot=True,
)

DIAGRAM_DISTANCES = Table(
    name="diagram_distances",
    doc=(
        "One row a pair of runs, embedding model and dimension: how far apart their diagrams are (finite bars). A pair "
        "within an experiment is stored once; a pair of two experiments with the one that was analysed later."
    ),
    columns=(
        _EXPERIMENT,
        RUN,
        Column("other_experiment", "string", "Experiment of the other run: the same or another."),
        Column("other_run_id", "string", "UUIDv7 of the other run."),
        EMBEDDER,
        _DIMENSION,
        Column("wasserstein", "float64", "1-Wasserstein distance, euclidean ground metric."),
        Column("bottleneck", "float64", "Bottleneck distance, maximum ground metric."),
        Column("diagrams_hash", "string", "Hash of both diagrams' bars: while they stay, the row is kept."),
        Column("computed_at", "timestamp", "When it was computed."),
        CODE,
    ),
    key=("run_id", "other_run_id", "embedding_model", "dimension"),
    partitioned_by=_BY_MODEL,
    references=(
        *OF_RUN,
        Reference(("other_run_id",), "runs", ("run_id",), anywhere=True),
        Reference(("other_experiment",), "experiments", ("experiment",), anywhere=True),
    ),
)

PERSISTENCE_CURVES = Table(
    name="persistence_curves",
    doc="One row a run, embedding model, dimension and distance: its diagram as curves, which can be averaged.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        _DIMENSION,
        Column("value", "float64", "Distance at which it is read; the same for all runs of a model and dimension."),
        Column("betti", "int32", "Bars alive there: born, and not yet filled."),
        Column("landscape_1", "float64", "Largest of the tents over finite bars, half a bar's length high."),
        Column("landscape_2", "float64", "Second largest."),
        Column("landscape_3", "float64", "Third largest."),
    ),
    key=("run_id", "embedding_model", "dimension", "value"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

PERSISTENCE_IMAGES = Table(
    name="persistence_images",
    doc="One row a run, embedding model, dimension from 1 and pixel: its diagram as a picture of births and lengths.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        _DIMENSION,
        Column("birth", "float64", "Middle of the pixel."),
        Column("length", "float64", "Middle of the pixel."),
        Column("weight", "float64", "Length of the finite bars there, each spread as a Gaussian one pixel wide."),
    ),
    key=("run_id", "embedding_model", "dimension", "birth", "length"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

_CHANCE = Column(
    "null_model",
    "string",
    "What chance is: a walk with the same steps; a Gaussian with the same covariance; the same outputs in shuffled order "
    "(there, points are pairs of consecutive outputs).",
    allowed=("random walk", "gaussian", "shuffled time"),
)
_COMPARED = Column("points", "int32", "Outputs compared, from the run's start.")

TOPOLOGY_NULLS = Table(
    name="topology_nulls",
    doc="One row a run, embedding model, dimension, statistic and null: where the observed value stands among chance.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        _DIMENSION,
        Column("statistic", "string", "What is compared.", allowed=("entropy", "total_persistence", "max_persistence")),
        _CHANCE,
        _COMPARED,
        *_OF_REPLICATES,
        CODE,
    ),
    key=("run_id", "embedding_model", "dimension", "statistic", "null_model"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)  # fmt: skip

CURVE_NULLS = Table(
    name="curve_nulls",
    doc="One row a run, embedding model, dimension, null, curve and distance: the run's curve beside those of chance.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        _DIMENSION,
        _CHANCE,
        Column("curve", "string", "As in `persistence_curves`.", allowed=("betti", "landscape_1")),
        Column("value", "float64", "Distance at which it is read."),
        _COMPARED,
        Column("observed", "float64", "The run's curve there."),
        Column("null_mean", "float64", "Mean of the null curves there."),
        Column("null_low", "float64", "Below it are 2.5% of the null curves there."),
        Column("null_high", "float64", "Above it are 2.5% of the null curves there."),
        Column("replicates", "int32", "Null curves."),
        CODE,
    ),
    key=("run_id", "embedding_model", "dimension", "null_model", "curve", "value"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

LAYOUT_POINTS = Table(
    name="layout_points",
    doc="One row a point of a flat map (t-SNE), for charts: of outputs by embedding, or of runs by diagram distance.",
    columns=(
        _EXPERIMENT,
        EMBEDDER,
        Column("kind", "string", "What is laid out.", allowed=("outputs", "runs H0", "runs H1")),
        Column("item_id", "string", "invocation_id of an output, run_id of a run."),
        RUN,
        Column("x", "float64", "Position."),
        Column("y", "float64", "Position."),
        Column("trustworthiness", "float64", "Of the whole map, 0 to 1; null below 8 points.", nullable=True),
    ),
    key=("embedding_model", "kind", "item_id"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

_CLUSTER = Column("cluster", "int32", "Cluster number; outliers are held by the last cluster visited.")

CLUSTER_DWELLS = Table(
    name="cluster_dwells",
    doc="One row a stay of a run in a cluster (outliers: -1, not held here).",
    columns=(
        EMBEDDER,
        _EXPERIMENT,
        RUN,
        Column("cluster", "int32", "Cluster number; -1 is outside of all."),
        Column("start", "int32", "Step at which the stay begins."),
        Column("length", "int32", "Outputs in it."),
        Column("censored", "bool", "Cut off by an end of the run: it lasted at least so long."),
    ),
    key=("run_id", "embedding_model", "start"),
    partitioned_by=("embedding_model",),
    references=OF_RUN,
)

CLUSTER_TRANSITIONS = Table(
    name="cluster_transitions",
    doc="One row a bigram that was seen: a cluster and that of the next output, within runs only, outliers held by the "
    "last cluster. Two different ones are a move, the same twice is staying.",
    columns=(
        EMBEDDER,
        _EXPERIMENT,
        NETWORK,
        _CLUSTER,
        Column("next_cluster", "int32", "Cluster of the next output."),
        Column("moves", "int64", "How often."),
    ),
    key=("embedding_model", "experiment", "network", "cluster", "next_cluster"),
    partitioned_by=("embedding_model",),
    hot=True,
)

MARKOV_MODELS = Table(
    name="markov_models",
    doc="One row an experiment, network, embedding model and lag: a Markov state model of the cluster sequences.",
    columns=(
        EMBEDDER,
        _EXPERIMENT,
        NETWORK,
        Column("lag", "int32", "Outputs between a state and the next."),
        Column("runs", "int32", "Runs."),
        Column("states", "int32", "Clusters that all lead to each other at this lag."),
        Column("coverage", "float64", "Share of counted pairs among those states."),
        Column("entropy_rate", "float64", "Nats per step at this lag."),
        Column("timescale", "float64", "Slowest implied timescale in outputs; null when there is none.", nullable=True),
        Column("timescale_low", "float64", "Lower end of its 95% bootstrap interval over runs.", nullable=True),
        Column("timescale_high", "float64", "Upper end.", nullable=True),
        Column(
            "chapman_kolmogorov_p", "float64", "Of the Markov property from this lag; small rejects it.", nullable=True
        ),
        Column("recurrent_sets", "int32", "Sets of clusters that, once entered, were not left."),
        Column("absorbing_clusters", "int32", "Those of a single cluster."),
        CODE,
    ),
    key=("embedding_model", "experiment", "network", "lag"),
    partitioned_by=("embedding_model",),
    hot=True,
)

MODEL_EFFECTS = Table(
    name="model_effects",
    doc="One row a fixed effect of a mixed model: outcome by parts of the network and embedder, random intercepts by prompt and run.",
    columns=(
        _EXPERIMENT,
        Column("outcome", "string", "What is explained, e.g. 'entropy H1': each homology dimension for itself."),
        Column("effect", "string", "The effect; levels are compared with the first in sorted order."),
        Column("estimate", "float64", "Its size, in the outcome's units."),
        Column("low", "float64", "Lower end of the 95% interval."),
        Column("high", "float64", "Upper end."),
        Column("standard_error", "float64", "Standard error."),
        Column("p_value", "float64", "Of Student's t.", nullable=True),
        Column("rows", "int32", "Observations."),
        Column("prompts", "int32", "Prompts: groups of the random intercept."),
        Column("converged", "bool", "Whether the optimiser did; if not, this is no finding."),
        CODE,
    ),
    key=("experiment", "outcome", "effect"),
    partitioned_by=("experiment",),
    hot=True,
)

MODEL_TERMS = Table(
    name="model_terms",
    doc="One row a term of a mixed model: its likelihood-ratio test.",
    columns=(
        _EXPERIMENT,
        Column("outcome", "string", "What is explained."),
        Column("term", "string", "The whole term, e.g. 'generator' or 'captioner:embedding_model'."),
        Column("chi2", "float64", "Twice the difference of log likelihoods."),
        Column("degrees", "int32", "Degrees of freedom."),
        Column("p_value", "float64", "Of the chi-squared distribution."),
        Column("adjusted_p_value", "float64", "Adjusted for all terms of the experiment (Benjamini-Hochberg)."),
    ),
    key=("experiment", "outcome", "term"),
    partitioned_by=("experiment",),
    hot=True,
)

NULL_TESTS = Table(
    name="null_tests",
    doc="One row an embedding model, measure and null: whether the runs of an experiment, all together, differ from chance.",
    columns=(
        _EXPERIMENT,
        EMBEDDER,
        Column("statistic", "string", "As in motion_nulls, or in topology_nulls with the dimension: 'entropy H1'."),
        Column("null_model", "string", "What chance is, as there."),
        Column("runs", "int32", "Runs that were compared with chance."),
        Column("observed", "float64", "Mean over the runs."),
        Column("null_mean", "float64", "Mean over all null values of all runs."),
        Column("mean_percentile", "float64", "Mean over the runs of where each stands; 50 is chance."),
        Column("replicates", "int32", "Null values of each run."),
        Column("p_value", "float64", "Two-sided, of the mean percentile (pooled over the runs)."),
        Column("adjusted_p_value", "float64", "Adjusted for all rows of the experiment (Benjamini-Hochberg)."),
    ),
    key=("experiment", "embedding_model", "statistic", "null_model"),
    partitioned_by=("experiment",),
    hot=True,
)

CONTRASTS = Table(
    name="contrasts",
    doc="One row an outcome and pair: two networks as one embedding model sees them, or an embedding model against a "
    "control on the same runs. Permutations within prompts or runs, bootstrap over runs.",
    columns=(
        _EXPERIMENT,
        Column("outcome", "string", "What is compared, as in model_effects."),
        Column("factor", "string", "What differs.", allowed=("network", "embedding_model")),
        Column("measured_by", "string", "Embedding model of the first; 'run' where none is concerned."),
        Column("level", "string", "The first: a network, or an embedding model."),
        Column("other_level", "string", "The other: a network, or a control."),
        Column("runs", "int32", "Runs of the first that have the outcome."),
        Column("other_runs", "int32", "Runs of the other."),
        Column("mean", "float64", "Mean outcome of the first."),
        Column("other_mean", "float64", "Mean outcome of the other."),
        Column("difference", "float64", "First minus other."),
        Column("low", "float64", "Lower end of its 95% bootstrap interval over runs."),
        Column("high", "float64", "Upper end."),
        Column(
            "hedges_g", "float64", "The difference in pooled standard deviations; null without spread.", nullable=True
        ),
        Column("cliffs_delta", "float64", "P(first > other) - P(first < other)."),
        Column("p_value", "float64", "Of exchanging labels within prompts (networks) or runs (controls)."),
        Column("adjusted_p_value", "float64", "Adjusted for all contrasts of the experiment (Benjamini-Hochberg)."),
        Column("permutations", "int32", "Permutations made."),
        SEED,
        CODE,
    ),
    key=("experiment", "outcome", "factor", "measured_by", "level", "other_level"),
    partitioned_by=("experiment",),
    hot=True,
)

MOTION_NULLS = Table(
    name="motion_nulls",
    doc="One row a run, embedding model, statistic and null: where its motion stands among chance.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        Column("statistic", "string", "What is compared, as in run_dynamics.", allowed=MOTION_STATISTICS),
        Column("null_model", "string", "What chance is: a walk with the same steps; the same outputs in shuffled order.",
               allowed=("random walk", "shuffled time")),
        Column("points", "int32", "Outputs compared, from the run's start."),
        *_OF_REPLICATES,
        SEED,
        CODE,
    ),
    key=("run_id", "embedding_model", "statistic", "null_model"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)  # fmt: skip

MODEL_VARIANCES = Table(
    name="model_variances",
    doc="One row a source of variance that a mixed model's effects leave: what prompts, and runs of one prompt, differ by.",
    columns=(
        _EXPERIMENT,
        Column("outcome", "string", "What is explained."),
        Column("source", "string", "Residual: between runs (seeds), or within a run between embedding models where 'run' is "
               "a source too.", allowed=("prompt", "run", "residual")),
        Column("deviation", "float64", "Standard deviation, in the outcome's units."),
        Column("share", "float64", "Share of the variance that the effects leave."),
    ),
    key=("experiment", "outcome", "source"),
    partitioned_by=("experiment",),
    hot=True,
)  # fmt: skip

FINDINGS = Table(
    name="findings",
    doc="One row a sentence: what the models found, and what is wrong with them.",
    columns=(
        _EXPERIMENT,
        Column("outcome", "string", "What it is about."),
        Column("position", "int32", "Order within the outcome."),
        Column("sentence", "string", "The finding, or the problem."),
    ),
    key=("experiment", "outcome", "position"),
    partitioned_by=("experiment",),
    hot=True,
)

TABLES = (
    DRIFT_STEPS,
    RUN_DYNAMICS,
    DISPLACEMENTS,
    CHANGE_POINTS,
    RUN_DIVERGENCE,
    PROMPT_RECOVERABILITY,
    DIAGRAM_DISTANCES,
    PERSISTENCE_CURVES,
    PERSISTENCE_IMAGES,
    TOPOLOGY_NULLS,
    CURVE_NULLS,
    LAYOUT_POINTS,
    CLUSTER_DWELLS,
    CLUSTER_TRANSITIONS,
    MARKOV_MODELS,
    MODEL_EFFECTS,
    MODEL_TERMS,
    MODEL_VARIANCES,
    CONTRASTS,
    NULL_TESTS,
    MOTION_NULLS,
    FINDINGS,
)
