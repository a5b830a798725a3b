"""What was found in trajectories: how runs move, the shape of their outputs, their cluster sequences, and statistics.

Whatever claims something stands beside its null: the same number where only chance was at work.
"""

from panic_assets.lake.columns import CODE, EMBEDDER, NETWORK, OF_RUN, RUN, SEED, standing
from panic_assets.lake.schema import Column, Reference, Table

_EXPERIMENT = Column("experiment", "string", "Name of the experiment.")
_STEP = Column(
    "step", "int32", "Position of the output among the outputs of its run that this model embeds, counted from 0."
)
_DIMENSION = Column("dimension", "int32", "Homology dimension: 0 for connected parts, 1 for loops, 2 for voids.")
_BY_MODEL = ("experiment", "embedding_model")
_OF_REPLICATES = standing("the run", "replicates", "one experiment and embedding model")

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
    doc="One row per output and embedding model: how far the run has moved there. *Drift* is the distance "
    "from the run's origin: its prompt if the model embeds text, else its first output. A *chord* is the "
    "Euclidean distance between two vectors; between vectors of length 1 it goes from 0 (the same) to 2 "
    "(opposite).",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        Column("invocation_id", "string", "UUIDv7 of the invocation that gave the output."),
        Column("sequence_number", "int32", "Position of the invocation in its run, counted from 0."),
        _STEP,
        Column("origin", "string", "What the drift is measured from.", allowed=("prompt", "first output")),
        Column("drift_chord", "float64", "Drift as a chord."),
        Column(
            "drift_angle",
            "float64",
            "Drift as an angle, in radians, 0 to pi; null if the output or the origin is the zero vector.",
            nullable=True,
        ),
        Column("step_chord", "float64", "Chord from the previous output; null for the first output.", nullable=True),
    ),
    key=("invocation_id", "embedding_model"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

RUN_DYNAMICS = Table(
    name="run_dynamics",
    doc="One row per run and embedding model: a summary of how the run moves. Two outputs *recur* if they "
    "count as the same place, that is, if they are at most `recurrence_radius` apart. Recurrence is "
    "measured on the first 2,000 outputs; its lines are at least two outputs long.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        Column("outputs", "int32", "Number of outputs of the run that this model embeds."),
        Column("distinct_outputs", "int32", "Number of different vectors among them."),
        Column("final_drift", "float64", "Drift of the last output, as a chord.", nullable=True),
        Column(
            "mean_step", "float64", "Mean chord from one output to the next; null for a single output.", nullable=True
        ),
        Column(
            "displacement_exponent",
            "float64",
            "Slope of ln displacement against ln lag, for lags up to a quarter of the run (see `displacements`). "
            ""
            "A free random walk has 1, a run that stays within bounds has 0. Null for fewer than 12 outputs, or "
            "where a displacement is 0.",
            nullable=True,
        ),
        Column(
            "autocorrelation_time",
            "float64",
            "Integrated autocorrelation time, in outputs: the run holds about `outputs` divided by this many "
            "independent outputs. Null for a run that never changes, or has a single output.",
            nullable=True,
        ),
        Column(
            "recurrence_radius",
            "float64",
            "Chord up to which two outputs recur: a tenth of the outputs' mean distance from their mean.",
        ),
        Column("recurrence_rate", "float64", "Share of pairs of outputs that recur, 0 to 1."),
        Column(
            "determinism",
            "float64",
            "Share of recurring pairs that lie on diagonal lines, 0 to 1: the run passes the same places again "
            "in the same order.",
        ),
        Column(
            "laminarity",
            "float64",
            "Share of recurring pairs that lie on vertical lines, 0 to 1: the run stays in one place.",
        ),
        Column(
            "trapping_time",
            "float64",
            "Mean length of the vertical lines, in outputs: how long the run stays in one place. 0 without such lines.",
        ),
        Column("mean_diagonal", "float64", "Mean length of the diagonal lines, in outputs. 0 without such lines."),
        Column(
            "longest_diagonal",
            "int32",
            "Length of the longest stretch that the run repeats in the same order, in outputs. 0 if nothing recurs.",
        ),
        Column("diagonal_entropy", "float64", "Shannon entropy of the lengths of the diagonal lines, in nats."),
        Column("changes", "int32", "Number of change points of the drift (see `change_points`)."),
        Column(
            "walk_changes",
            "float64",
            "Mean number of change points in 20 random walks of the same steps: what chance gives.",
        ),
        Column(
            "loop_start",
            "int32",
            "Sequence number of the output that the run's first exact repeat repeats; null if it never repeats "
            "exactly. A repeat counts only at the same position in the network's cycle.",
            nullable=True,
        ),
        Column(
            "loop_time",
            "int32",
            "Sequence number of that first exact repeat, hence the time to the first loop, in invocations; null "
            "if there is no exact repeat.",
            nullable=True,
        ),
        CODE,
    ),
    key=("run_id", "embedding_model"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
    hot=True,
)

DISPLACEMENTS = Table(
    name="displacements",
    doc="One row per run, embedding model and lag: how far the run moves within that many outputs. A *lag* "
    "is the number of outputs from one output to a later one. In a free random walk the displacement "
    "grows linearly with the lag; in a run that stays within bounds it levels off.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        Column("lag", "int32", "Lag, in outputs, from 1 up to a quarter of the run."),
        Column(
            "displacement",
            "float64",
            "Mean squared displacement: the mean of the squared chord between outputs that far apart.",
        ),
    ),
    key=("run_id", "embedding_model", "lag"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

CHANGE_POINTS = Table(
    name="change_points",
    doc="One row per change point. A *change point* is a step at which the mean of a run's drift jumps to a "
    "new level and stays there for at least 5 outputs. Drift that wanders has change points too: compare "
    "with `walk_changes` in `run_dynamics`.",
    columns=(_EXPERIMENT, RUN, EMBEDDER, _STEP),
    key=("run_id", "embedding_model", "step"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

RUN_DIVERGENCE = Table(
    name="run_divergence",
    doc="One row per embedding model, network and kind of pair: how the distance d between two runs changes "
    "with the output t. Three laws are fitted to the mean distance over pairs: *growth*, d = d0 exp(rate "
    "t); *relaxation*, d = dinf - (dinf - d0) exp(-t / tau); and *diffusion*, as of free walks, where d^2 grows along a "
    "line once steps have forgotten their direction. Each must also beat a constant distance. A control shows diffusion "
    "or nothing: growth or relaxation of a control says that such verdicts cannot be believed here.",
    columns=(
        _EXPERIMENT,
        EMBEDDER,
        Column("network", "string", "Network of both runs of a pair."),
        Column(
            "pairs_of",
            "string",
            "Whether the two runs of a pair start from the same prompt.",
            allowed=("same prompt", "different prompts"),
        ),
        Column("pairs", "int32", "Number of pairs of runs used."),
        Column("outputs", "int32", "Number of outputs of each run that were compared, from its start."),
        Column(
            "verdict",
            "string",
            "The law that the data prefer; 'neither' if they prefer none or do not decide.",
            allowed=("growth", "relaxation", "diffusion", "neither"),
        ),
        Column(
            "rate",
            "float64",
            "Finite-time Lyapunov exponent: the rate of the growth law, per output. Null unless the verdict is growth.",
            nullable=True,
        ),
        Column(
            "rate_low",
            "float64",
            "Lower end of the rate's 95% interval, by leaving out one run at a time. Null without a rate, or where fewer than "
            "3 runs can each be left out.",
            nullable=True,
        ),
        Column("rate_high", "float64", "Upper end of that interval.", nullable=True),
        Column(
            "tau",
            "float64",
            "Time constant of the relaxation law, in outputs. Null unless the verdict is relaxation.",
            nullable=True,
        ),
        Column(
            "tau_low",
            "float64",
            "Lower end of tau's 95% interval, by leaving out one run at a time. Null without tau, or where fewer than 3 runs "
            "can each be left out.",
            nullable=True,
        ),
        Column("tau_high", "float64", "Upper end of that interval.", nullable=True),
        Column(
            "growth_r2",
            "float64",
            "Share of the variance of the mean distance over time that growth explains; at most 1.",
        ),
        Column("relaxation_r2", "float64", "Share of that variance that relaxation explains; at most 1."),
        Column("diffusion_r2", "float64", "Share of that variance that diffusion explains; at most 1."),
        Column("growth_aic", "float64", "Akaike's information criterion (AIC) of growth. The lower the better."),
        Column("relaxation_aic", "float64", "AIC of relaxation."),
        Column("diffusion_aic", "float64", "AIC of diffusion."),
        Column("constant_aic", "float64", "AIC of a constant distance. A law must be at least 2 below it."),
        Column(
            "growth_held_out",
            "float64",
            "Error of growth on held-out data: fitted to the first three quarters of the outputs, its root mean "
            "squared error on the last quarter, in chords.",
        ),
        Column("relaxation_held_out", "float64", "The same error of relaxation."),
        Column("diffusion_held_out", "float64", "The same error of diffusion."),
        Column("constant_held_out", "float64", "The same error of a constant distance. A law must be below it."),
        Column("first_distance", "float64", "Mean chord between the two runs of a pair at their first output."),
        Column("last_distance", "float64", "Mean chord between them at the last output that was compared."),
        CODE,
    ),
    key=("experiment", "embedding_model", "network", "pairs_of"),
    partitioned_by=_BY_MODEL,
    hot=True,
)

PROMPT_RECOVERABILITY = Table(
    name="prompt_recoverability",
    doc="One row per embedding model and step: how well a run's starting prompt can be guessed from its "
    "output at that step. The guess is the prompt whose other runs have the nearest mean vector. Only "
    "prompts with at least 2 runs take part.",
    columns=(
        _EXPERIMENT,
        EMBEDDER,
        _STEP,
        Column("accuracy", "float64", "Share of runs whose prompt is guessed correctly, 0 to 1."),
        Column("chance", "float64", "Mean accuracy after the prompts were shuffled among the runs of each network."),
        Column("p_value", "float64", "Two-sided p-value of the accuracy among those of the shuffled prompts."),
        Column(
            "adjusted_p_value",
            "float64",
            "The p-value, adjusted because all steps of one experiment and embedding model are tested together "
            "(Benjamini-Hochberg).",
        ),
        Column("runs", "int32", "Number of runs whose prompt was guessed."),
        Column("prompts", "int32", "Number of prompts to choose from."),
    ),
    key=("experiment", "embedding_model", "step"),
    partitioned_by=_BY_MODEL,
    hot=True,
)

DIAGRAM_DISTANCES = Table(
    name="diagram_distances",
    doc="One row per pair of runs, embedding model and dimension: how far apart the finite bars of their "
    "persistence diagrams are (see `persistence_bars`). A sample of runs is compared. A pair within one "
    "experiment is stored once. A pair from two experiments is stored with the experiment that was "
    "analysed later.",
    columns=(
        _EXPERIMENT,
        RUN,
        Column("other_experiment", "string", "Experiment of the other run; it may be the same one."),
        Column("other_run_id", "string", "UUIDv7 of the other run."),
        EMBEDDER,
        _DIMENSION,
        Column(
            "wasserstein",
            "float64",
            "1-Wasserstein distance, with Euclidean distance between points of the diagrams; in the unit of the bars.",
        ),
        Column(
            "bottleneck",
            "float64",
            "Bottleneck distance, with the maximum norm between points of the diagrams; in the unit of the bars.",
        ),
        Column("diagrams_hash", "string", "Hash of the bars of both diagrams. The row is kept until they change."),
        Column("computed_at", "timestamp", "When the distance was computed."),
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
    doc="One row per run, embedding model, dimension and distance: a persistence diagram as curves. Unlike "
    "diagrams, curves can be averaged and compared point by point. The *Betti curve* counts bars; the "
    "*landscapes* are envelopes of them: a finite bar is a tent over the distances where it is alive, "
    "half as high as the bar is long.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        _DIMENSION,
        Column(
            "value",
            "float64",
            "Distance at which the curves are read. It takes the same 64 values for all runs of one experiment, "
            "model and dimension.",
        ),
        Column(
            "betti", "int32", "Betti curve: number of bars that are born at or below this distance and die above it."
        ),
        Column(
            "landscape_1", "float64", "First landscape: height of the highest tent at this distance, 0 without one."
        ),
        Column("landscape_2", "float64", "Second landscape: height of the second highest tent."),
        Column("landscape_3", "float64", "Third landscape: height of the third highest tent."),
    ),
    key=("run_id", "embedding_model", "dimension", "value"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

PERSISTENCE_IMAGES = Table(
    name="persistence_images",
    doc="One row per run, embedding model, dimension (1 or higher) and pixel: a persistence diagram as a "
    "picture of 16 by 16 pixels, with births on one axis and lengths of bars on the other.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        _DIMENSION,
        Column("birth", "float64", "Birth at the middle of the pixel."),
        Column("length", "float64", "Length of a bar (death minus birth) at the middle of the pixel."),
        Column(
            "weight",
            "float64",
            "Sum of the lengths of the finite bars here. Each bar is spread as a Gaussian with a standard "
            "deviation of one pixel.",
        ),
    ),
    key=("run_id", "embedding_model", "dimension", "birth", "length"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

_CHANCE = Column(
    "null_model",
    "string",
    "What chance is. 'random walk': the same steps in random order, each forwards or backwards. 'gaussian': independent points "
    "with the same mean "
    "and covariance. 'shuffled time': the same outputs in random order; a diagram does not depend on the "
    "order of single "
    "outputs, so here its points are pairs of consecutive outputs.",
    allowed=("random walk", "gaussian", "shuffled time"),
)
_COMPARED = Column("points", "int32", "Number of outputs of the run that were compared, from its start.")

TOPOLOGY_NULLS = Table(
    name="topology_nulls",
    doc="One row per run, embedding model, dimension, statistic and null model: where the run's persistence "
    "diagram stands among those of chance. A *null model* says what chance is. A *replicate* is one "
    "cloud of points drawn from it.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        _DIMENSION,
        Column(
            "statistic",
            "string",
            "The statistic that is compared, as in `persistence_summary`.",
            allowed=("entropy", "total_persistence", "max_persistence"),
        ),
        _CHANCE,
        _COMPARED,
        *_OF_REPLICATES,
        CODE,
    ),
    key=("run_id", "embedding_model", "dimension", "statistic", "null_model"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

CURVE_NULLS = Table(
    name="curve_nulls",
    doc="One row per run, embedding model, dimension, null model, curve and distance: the run's curve beside "
    "the curves of chance.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        _DIMENSION,
        _CHANCE,
        Column(
            "curve",
            "string",
            "The curve that is compared, as in `persistence_curves`.",
            allowed=("betti", "landscape_1"),
        ),
        Column("value", "float64", "Distance at which the curves are read."),
        _COMPARED,
        Column("observed", "float64", "Value of the run's curve at this distance."),
        Column("null_mean", "float64", "Mean of the replicates' curves at this distance."),
        Column("null_low", "float64", "Value that 2.5% of the replicates' curves are below at this distance."),
        Column("null_high", "float64", "Value that 2.5% of the replicates' curves are above at this distance."),
        Column("replicates", "int32", "Number of replicates."),
        CODE,
    ),
    key=("run_id", "embedding_model", "dimension", "null_model", "curve", "value"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

LAYOUT_POINTS = Table(
    name="layout_points",
    doc="One row per point of a flat map (t-SNE). A map shows either outputs, placed by their embeddings, or "
    "runs, placed by the distances between their diagrams. Maps are for charts, not for claims: sizes "
    "and distances of groups mean nothing in them.",
    columns=(
        _EXPERIMENT,
        EMBEDDER,
        Column(
            "kind",
            "string",
            "What the map shows. 'H0' and 'H1' are the homology dimension of the diagrams.",
            allowed=("outputs", "runs H0", "runs H1"),
        ),
        Column("item_id", "string", "The invocation_id of an output, or the run_id of a run."),
        RUN,
        Column("x", "float64", "Horizontal position, without a unit."),
        Column("y", "float64", "Vertical position, without a unit."),
        Column(
            "trustworthiness",
            "float64",
            "How far the whole map can be trusted, 0 to 1: 1 if points that are near on it are near in truth. "
            "Null for fewer than 8 points.",
            nullable=True,
        ),
    ),
    key=("embedding_model", "kind", "item_id"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

_CLUSTER = Column("cluster", "int32", "Number of the cluster. An outlier counts as the last cluster visited.")

CLUSTER_DWELLS = Table(
    name="cluster_dwells",
    doc="One row per stay of a run in a cluster. A *stay* is a stretch of consecutive outputs in the same "
    "cluster. Outliers have stays of their own here, with cluster -1.",
    columns=(
        EMBEDDER,
        _EXPERIMENT,
        RUN,
        Column("cluster", "int32", "Number of the cluster; -1 for outliers."),
        Column("start", "int32", "Step of the first output of the stay."),
        Column("length", "int32", "Length of the stay, in outputs."),
        Column(
            "censored",
            "bool",
            "Whether the start or the end of the run cuts the stay off. If so, it lasted at least `length` outputs.",
        ),
    ),
    key=("run_id", "embedding_model", "start"),
    partitioned_by=("embedding_model",),
    references=OF_RUN,
)

CLUSTER_TRANSITIONS = Table(
    name="cluster_transitions",
    doc="One row per pair of clusters in which two consecutive outputs of a run were seen. The same cluster "
    "twice means that the run stayed; two clusters mean that it moved. Outliers count as the last "
    "cluster visited.",
    columns=(
        EMBEDDER,
        _EXPERIMENT,
        NETWORK,
        _CLUSTER,
        Column("next_cluster", "int32", "Number of the cluster of the next output."),
        Column("moves", "int64", "How often this pair was seen."),
    ),
    key=("embedding_model", "experiment", "network", "cluster", "next_cluster"),
    partitioned_by=("embedding_model",),
    hot=True,
)

MARKOV_MODELS = Table(
    name="markov_models",
    doc="One row per experiment, network, embedding model and lag: a Markov state model of the cluster "
    "sequences. It describes a run by the probability of each next cluster, given the cluster now. Its "
    "states are the most visited set of clusters that all lead to each other.",
    columns=(
        EMBEDDER,
        _EXPERIMENT,
        NETWORK,
        Column("lag", "int32", "Lag, in outputs, between a cluster and the next one."),
        Column("runs", "int32", "Number of runs."),
        Column("states", "int32", "Number of states."),
        Column("coverage", "float64", "Share of all pairs of clusters at this lag that are pairs of states, 0 to 1."),
        Column(
            "entropy_rate",
            "float64",
            "How unpredictable the next state is, in nats per lag: 0 for a fixed cycle, ln s for s states drawn "
            "at random.",
        ),
        Column(
            "timescale",
            "float64",
            "Slowest implied timescale, in outputs: how long the model remembers its state. Null with a single "
            "state, or if it never forgets.",
            nullable=True,
        ),
        Column(
            "timescale_low",
            "float64",
            "Lower end of the timescale's 95% interval, from bootstrap samples of runs. Null if at most half of "
            "the samples have a timescale.",
            nullable=True,
        ),
        Column("timescale_high", "float64", "Upper end of that interval.", nullable=True),
        Column(
            "chapman_kolmogorov_p",
            "float64",
            "p-value of the Chapman-Kolmogorov test, among runs simulated from the model. A small one says that the next "
            "cluster depends on more than the cluster now. Null if the test cannot be made.",
            nullable=True,
        ),
        Column(
            "recurrent_sets",
            "int32",
            "Number of recurrent sets: sets of clusters that were never left once they were entered.",
        ),
        Column("absorbing_clusters", "int32", "Number of recurrent sets of a single cluster."),
        CODE,
    ),
    key=("embedding_model", "experiment", "network", "lag"),
    partitioned_by=("embedding_model",),
    hot=True,
)

MODEL_EFFECTS = Table(
    name="model_effects",
    doc="One row per fixed effect of a mixed model. There is one model per outcome. It explains the outcome "
    "by generator, captioner (or else network) and embedding model, alone and in pairs. What varies at random is named "
    "in `model_variances`. A model whose likelihood, errors or tests are not finite numbers has no rows: `findings` says so.",
    columns=(
        _EXPERIMENT,
        Column(
            "outcome",
            "string",
            "The quantity that is explained, for example 'entropy H1' (H1 is homology dimension 1).",
        ),
        Column(
            "effect",
            "string",
            "Name of the effect. A level of a factor is compared with the factor's first level in sorted order.",
        ),
        Column("estimate", "float64", "Size of the effect, in the unit of the outcome."),
        Column("low", "float64", "Lower end of its 95% interval."),
        Column("high", "float64", "Upper end of its 95% interval."),
        Column("standard_error", "float64", "Its standard error, in the unit of the outcome."),
        Column(
            "degrees",
            "float64",
            "Degrees of freedom of its error (Satterthwaite): few if the error rests on few prompts.",
        ),
        Column("p_value", "float64", "p-value of Student's t test that the effect is 0."),
        Column("rows", "int32", "Number of rows that the model was fitted to."),
        Column("prompts", "int32", "Number of prompts, each with its random intercept."),
        CODE,
    ),
    key=("experiment", "outcome", "effect"),
    partitioned_by=("experiment",),
    hot=True,
)

MODEL_TERMS = Table(
    name="model_terms",
    doc="One row per term of a mixed model: an F test of whether the whole term matters, given all terms that do not "
    "contain it. A *term* is a factor or a combination of two, with all of its effects.",
    columns=(
        _EXPERIMENT,
        Column("outcome", "string", "The quantity that is explained, as in `model_effects`."),
        Column("term", "string", "Name of the term, for example 'generator' or 'captioner:embedding_model'."),
        Column("f", "float64", "F statistic: how far the term's effects are from 0, beside their standard errors."),
        Column("degrees", "int32", "Degrees of freedom of the term: how many effects it has."),
        Column(
            "residual_degrees",
            "float64",
            "Degrees of freedom of what the term is compared with (Satterthwaite): few if it rests on few prompts.",
        ),
        Column("p_value", "float64", "p-value from the F distribution."),
        Column(
            "adjusted_p_value",
            "float64",
            "The p-value, adjusted because all terms of one experiment are tested together (Benjamini-Hochberg).",
        ),
    ),
    key=("experiment", "outcome", "term"),
    partitioned_by=("experiment",),
    hot=True,
)

NULL_TESTS = Table(
    name="null_tests",
    doc="One row per embedding model, statistic and null model: whether all runs of an experiment together "
    "differ from chance. It pools the rows of `motion_nulls` and `topology_nulls`.",
    columns=(
        _EXPERIMENT,
        EMBEDDER,
        Column(
            "statistic",
            "string",
            "The statistic, as in `motion_nulls`, or as in `topology_nulls` followed by the homology dimension: "
            "'entropy H1'.",
        ),
        Column("null_model", "string", "What chance is, as in those tables."),
        Column("runs", "int32", "Number of runs that were compared with chance."),
        Column("observed", "float64", "Mean of the statistic over the runs."),
        Column("null_mean", "float64", "Mean of the statistic over all replicates of all runs."),
        Column(
            "mean_percentile",
            "float64",
            "Mean of the runs' percentiles among their own replicates, 0 to 100. Chance gives 50.",
        ),
        Column("replicates", "int32", "Smallest number of replicates that any of these runs was compared with."),
        Column("p_value", "float64", "Two-sided p-value of the mean percentile."),
        Column(
            "adjusted_p_value",
            "float64",
            "The p-value, adjusted because all rows of one experiment are tested together (Benjamini-Hochberg).",
        ),
    ),
    key=("experiment", "embedding_model", "statistic", "null_model"),
    partitioned_by=("experiment",),
    hot=True,
)

CONTRASTS = Table(
    name="contrasts",
    doc="One row per outcome and pair of levels. The levels are two networks, seen by the same embedding "
    "model, or an embedding model and a control on the same runs. A *control* is an embedding model "
    "whose vectors do not depend on content: a random walk. Only prompts (networks) or runs (controls) with "
    "both levels take part. The row is about other runs of these prompts; how much prompts differ does not enter it.",
    columns=(
        _EXPERIMENT,
        Column("outcome", "string", "The quantity that is compared, as in `model_effects`."),
        Column("factor", "string", "What the two levels differ in.", allowed=("network", "embedding_model")),
        Column(
            "measured_by",
            "string",
            "Embedding model that measured the outcome of the first level; 'run' if the outcome needs none (run "
            "length, loop length).",
        ),
        Column("level", "string", "First level: a network, or an embedding model."),
        Column("other_level", "string", "Other level: a network, or a control."),
        Column("runs", "int32", "Number of runs of the first level that are compared."),
        Column("other_runs", "int32", "Number of runs of the other level that are."),
        Column("mean", "float64", "Mean outcome of the first level."),
        Column("other_mean", "float64", "Mean outcome of the other level."),
        Column(
            "difference",
            "float64",
            "Mean difference, first level minus other, within prompts (networks) or runs (controls). If the levels have n "
            "and m runs of a prompt, it weighs n m / (n + m).",
        ),
        Column(
            "low",
            "float64",
            "Lower end of the difference's 95% interval, by Student's t: from how runs of one prompt and network vary, or "
            "from how the differences of pairs vary. Null if there are neither two such runs of each level, nor two pairs.",
            nullable=True,
        ),
        Column("high", "float64", "Upper end of that interval.", nullable=True),
        Column(
            "hedges_g",
            "float64",
            "Hedges' g: the difference in standard deviations between runs of one prompt and network. Null if there are "
            "no two such runs, or they do not vary.",
            nullable=True,
        ),
        Column("cliffs_delta", "float64", "Cliff's delta, P(first > other) - P(first < other), from -1 to 1."),
        Column(
            "p_value",
            "float64",
            "p-value of a permutation test that exchanges the levels within prompts (networks) or within runs "
            "(controls).",
        ),
        Column(
            "adjusted_p_value",
            "float64",
            "The p-value, adjusted because all contrasts of one experiment are tested together (Benjamini-Hochberg).",
        ),
        Column("permutations", "int32", "Number of permutations in the test."),
        SEED,
        CODE,
    ),
    key=("experiment", "outcome", "factor", "measured_by", "level", "other_level"),
    partitioned_by=("experiment",),
    hot=True,
)

MOTION_NULLS = Table(
    name="motion_nulls",
    doc="One row per run, embedding model, statistic and null model: where the run's motion stands among "
    "that of chance.",
    columns=(
        _EXPERIMENT,
        RUN,
        EMBEDDER,
        Column(
            "statistic", "string", "The statistic that is compared, as in `run_dynamics`.", allowed=MOTION_STATISTICS
        ),
        Column(
            "null_model",
            "string",
            "What chance is. 'random walk': the same steps in random order, each forwards or backwards. "
            "'shuffled time': the same outputs in random order.",
            allowed=("random walk", "shuffled time"),
        ),
        Column("points", "int32", "Number of outputs of the run that were compared, from its start."),
        *_OF_REPLICATES,
        SEED,
        CODE,
    ),
    key=("run_id", "embedding_model", "statistic", "null_model"),
    partitioned_by=_BY_MODEL,
    references=OF_RUN,
)

_SOURCES = (
    "prompt",
    "prompt x network",
    "prompt x generator",
    "prompt x captioner",
    "prompt x embedding_model",
    "prompt x network x embedding_model",
    "prompt x generator x embedding_model",
    "prompt x captioner x embedding_model",
    "run",
    "residual",
)

MODEL_VARIANCES = Table(
    name="model_variances",
    doc="One row per source of variance in a mixed model: how much outcomes vary for reasons other than the effects. "
    "Prompts vary, and so may each factor, each pair of factors and each network from prompt to prompt. A test of an "
    "effect compares it with how much it differs between prompts. Runs are a source if several embedding models measure "
    "each of them. The shape of the panel decides what else is left out: a source that groups the rows as an earlier one "
    "does, and a source with a level for each row, which is the residual.",
    columns=(
        _EXPERIMENT,
        Column("outcome", "string", "The quantity that is explained, as in `model_effects`."),
        Column(
            "source",
            "string",
            "What varies. 'prompt': between prompts. 'prompt x network': between networks, in another way for each "
            "prompt; likewise for other factors. 'run': between runs of one prompt and network. 'residual': the rest, "
            "which is between runs if the outcome has no source 'run'.",
            allowed=_SOURCES,
        ),
        Column("deviation", "float64", "Standard deviation, in the unit of the outcome."),
        Column("share", "float64", "Share of the variance that the effects leave, 0 to 1."),
    ),
    key=("experiment", "outcome", "source"),
    partitioned_by=("experiment",),
    hot=True,
)

FINDINGS = Table(
    name="findings",
    doc="One row per sentence: what a mixed model found about an outcome, or what is wrong with that model.",
    columns=(
        _EXPERIMENT,
        Column("outcome", "string", "The quantity that the sentence is about, as in `model_effects`."),
        Column("position", "int32", "Position of the sentence among those about the outcome, counted from 0."),
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
