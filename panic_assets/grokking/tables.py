"""Tables of the grokking family: losses at every epoch, and one table an analysis. Frequencies are k = 1..(p-1)/2."""

from typing import Any

from panic_assets.lake.schema import Column, Reference, Table
from panic_assets.training.tables import EPOCH, RUN

_K = Column("k", "int32", "Frequency.")
_AT = Column("computed_at", "timestamp", "When the row was made.")
_SITE = Column(
    "site",
    "string",
    "Where in the model, at the last position.",
    allowed=("resid_pre", "attn_out", "mlp_out", "resid_post"),
)
_GROUP = Column("matrices", "string", "Which parameters: all, embedding, attention, mlp, or one matrix by its name.")
_IS_RUN = Reference(("training_run",), "training_runs", ("training_run",))
_RUN_PARTITION: dict[str, Any] = {"partitioned_by": ("training_run",), "references": (_IS_RUN,)}


def _share(n: int, of: str) -> Column:
    return Column(f"pc{n}", "float64", f"Share of component {n} in {of}; null where it is undefined.", nullable=True)


LOSSES = Table(
    name="grokking_losses",
    doc="One row an epoch: losses (mean cross-entropy at the last position, in float64) and accuracies.",
    columns=(
        RUN,
        EPOCH,
        Column("train_loss", "float64", "Loss on the training pairs."),
        Column("test_loss", "float64", "Loss on the other pairs."),
        Column("train_accuracy", "float64", "Share of training pairs answered right."),
        Column("test_accuracy", "float64", "Share of the other pairs answered right."),
    ),
    key=("training_run", "epoch"),
    **_RUN_PARTITION,
)

ANALYSES = Table(
    name="grokking_analyses",
    doc="One row a checkpoint that has been analysed: says that its rows in the tables below are complete.",
    columns=(
        RUN,
        EPOCH,
        Column("content_hash", "string", "SHA-256 of the checkpoint's file."),
        Column("code_version", "string", "Version of the code that analysed it."),
        Column("seconds", "float64", "Time it took."),
        _AT,
    ),
    key=("training_run", "epoch"),
    **_RUN_PARTITION,
)

SPECTRA = Table(
    name="grokking_spectra",
    doc="One row a checkpoint, weight space and frequency: the frequency's share of the energy without the constant. "
    "Token inputs: W_E, W_E.W_in, Q, K, V of each head. Answers: W_U, W_out.W_U, O of each head. QK: keys as rows.",
    columns=(
        RUN,
        EPOCH,
        Column("space", "string", "Weight space: W_E, W_U, W_E.W_in, W_out.W_U, Q0, K0, V0, O0, QK0, ..., W_pos."),
        Column("k", "int32", "Frequency; null for a space that has none.", nullable=True),
        Column("fraction", "float64", "Share of the energy without the constant.", nullable=True),
        Column("note", "string", "Why there is no fraction: no token axis, or constant over tokens.", nullable=True),
    ),
    key=("training_run", "epoch", "space", "k"),
    **_RUN_PARTITION,
)

DOMINANT = Table(
    name="grokking_dominant",
    doc="One row a checkpoint and sine or cosine row of F.W_E: its norm, largest first.",
    columns=(
        RUN,
        EPOCH,
        Column("rank", "int32", "1 for the largest norm."),
        _K,
        Column("part", "string", "Which of the two rows of k.", allowed=("cos", "sin")),
        Column("norm", "float64", "Norm of that row of F.W_E."),
    ),
    key=("training_run", "epoch", "rank"),
    **_RUN_PARTITION,
)

NEURONS = Table(
    name="grokking_neurons",
    doc="One row a checkpoint and neuron: the frequency it computes with, and how purely.",
    columns=(
        RUN,
        EPOCH,
        Column("neuron", "int32", "Number of the neuron, from 0."),
        Column("k", "int32", "Frequency with the largest share; null for a neuron that never varies.", nullable=True),
        Column("concentration", "float64", "Share of k's 3x3 block in the activation's energy without the constant."),
    ),
    key=("training_run", "epoch", "neuron"),
    **_RUN_PARTITION,
)

RINGS = Table(
    name="grokking_rings",
    doc="One row a checkpoint, site and frequency with 5% of the variance or more: the answers' ring in its own plane.",
    columns=(
        RUN,
        EPOCH,
        _SITE,
        _K,
        Column("share", "float64", "Share of k in the variance of the answers' centroids."),
        Column("circularity", "float64", "1 - rms(r - radius) / radius of the least-squares circle, at least 0."),
        Column("radius", "float64", "Radius of that circle."),
        Column("residual", "float64", "rms(r - radius)."),
    ),
    key=("training_run", "epoch", "site", "k"),
    **_RUN_PARTITION,
)

CLASS_PCA = Table(
    name="grokking_class_pca",
    doc="One row a checkpoint and site: how the variance of the answers' centroids is spread over components. "
    "m equal frequencies give 1/(2m) each. Undefined (null) where all centroids coincide.",
    columns=(
        RUN,
        EPOCH,
        _SITE,
        Column("defined", "bool", "Whether the centroids differ at all."),
        *(_share(n, "the variance of the centroids") for n in (1, 2, 3)),
        Column("remainder", "float64", "Share of all other components.", nullable=True),
    ),
    key=("training_run", "epoch", "site"),
    **_RUN_PARTITION,
)

CENTROIDS = Table(
    name="grokking_centroids",
    doc="One row a checkpoint, site and answer: where the answer's centroid lies on the site's first three components of "
    "that checkpoint. No rows where all centroids coincide. Signs are free: they may turn between checkpoints.",
    columns=(
        RUN,
        EPOCH,
        _SITE,
        Column("answer", "int32", "The answer c = (a + b) mod p."),
        *(Column(f"pc{n}", "float64", f"Score on component {n}.") for n in (1, 2, 3)),
    ),
    key=("training_run", "epoch", "site", "answer"),
    **_RUN_PARTITION,
)

ADOPTIONS = Table(
    name="grokking_adoptions",
    doc="One row a weight space and frequency that ever reached the threshold: since when it stays, or when it went.",
    columns=(
        RUN,
        Column("space", "string", "Weight space."),
        _K,
        Column("adopted_at", "int64", "Epoch from which it stays at or above the threshold.", nullable=True),
        Column("abandoned_at", "int64", "Last epoch at or above it, if it no longer is.", nullable=True),
        Column("threshold", "float64", "Share that counts as adopted."),
        _AT,
    ),
    key=("training_run", "space", "k"),
    **_RUN_PARTITION,
)

NEURON_PATHS = Table(
    name="grokking_neuron_paths",
    doc="One row a neuron: the frequencies it had, when, how purely. The counts hang on the threshold: see "
    "grokking_sensitivity.",
    columns=(
        RUN,
        Column("neuron", "int32", "Number of the neuron, from 0."),
        Column("stops", "strings", "k@epoch (concentration), in order."),
        Column("switches", "int32", "Changes from one frequency to another."),
        Column("commitment", "int64", "Epoch since which it stays with its final frequency.", nullable=True),
        Column("homeless", "bool", "Whether it ends without a frequency."),
        Column("threshold", "float64", "Concentration from which a neuron has a frequency."),
        Column("hysteresis", "float64", "How far below that it may fall and keep it."),
        _AT,
    ),
    key=("training_run", "neuron"),
    **_RUN_PARTITION,
)

SENSITIVITY = Table(
    name="grokking_sensitivity",
    doc="One row a threshold: how many neurons switched frequency if that is the threshold.",
    columns=(
        RUN,
        Column("threshold", "float64", "Concentration from which a neuron has a frequency."),
        Column("switched", "int32", "Neurons that changed frequency at least once."),
        Column("homed", "int32", "Neurons that ever had one."),
        Column("neurons", "int32", "Neurons there are."),
        _AT,
    ),
    key=("training_run", "threshold"),
    **_RUN_PARTITION,
)

ABANDONED = Table(
    name="grokking_abandoned",
    doc="One row a frequency that neurons took up and that none holds at the end.",
    columns=(
        RUN,
        _K,
        Column("first_epoch", "int64", "First epoch at which a neuron held it."),
        Column("last_epoch", "int64", "Last such epoch."),
        Column("most_neurons", "int32", "Most neurons that held it at once."),
        Column("threshold", "float64", "Concentration from which a neuron holds a frequency."),
        _AT,
    ),
    key=("training_run", "k"),
    **_RUN_PARTITION,
)

TRAJECTORY = Table(
    name="grokking_trajectory",
    doc="One row a group of parameters and checkpoint: the path through parameter space in its first components.",
    columns=(
        RUN,
        _GROUP,
        EPOCH,
        Column("pc1", "float64", "Score on component 1."),
        Column("pc2", "float64", "Score on component 2."),
        Column("pc3", "float64", "Score on component 3."),
        Column("velocity", "float64", "Distance per epoch since the checkpoint before.", nullable=True),
    ),
    key=("training_run", "matrices", "epoch"),
    **_RUN_PARTITION,
)

PRODUCTS = Table(
    name="grokking_products",
    doc="One row a matrix and pair of checkpoints: the inner product of its weights (p). The squared distance between "
    "epochs i and j is p(i, i) - 2 p(i, j) + p(j, j). Of each pair one order is there.",
    columns=(
        RUN,
        Column("matrix", "string", "Which of the nine matrices."),
        EPOCH,
        Column("content_hash", "string", "SHA-256 of that checkpoint's file."),
        Column("other_epoch", "int64", "Epoch of a checkpoint that came in before, or its own."),
        Column("product", "float64", "Inner product of all weights of the matrix."),
    ),
    key=("training_run", "matrix", "epoch", "other_epoch"),
    **_RUN_PARTITION,
)

_BASIS = Column("basis", "string", "Whose components: its own, or the last checkpoint's.", allowed=("own", "final"))
_BASIS_PARTITION: dict[str, Any] = {"partitioned_by": ("training_run", "basis"), "references": (_IS_RUN,)}

ROW_PCA = Table(
    name="grokking_row_pca",
    doc="One row a checkpoint and matrix: how its rows (tokens, answers, neurons, residual directions) are spread over "
    "components, in its own basis and in the fixed basis of the last checkpoint.",
    columns=(
        RUN,
        EPOCH,
        Column("matrix", "string", "Which of the nine matrices."),
        _BASIS,
        *(_share(n, "the variance of the rows") for n in (1, 2, 3)),
    ),
    key=("training_run", "epoch", "matrix", "basis"),
    **_BASIS_PARTITION,
)

ROW_SCORES = Table(
    name="grokking_row_scores",
    doc="One row a checkpoint, matrix, basis and row of the matrix: where it lies on the first three components. In the "
    "basis `own`, a component's largest score is positive.",
    columns=(
        RUN,
        EPOCH,
        Column("matrix", "string", "Which of the nine matrices."),
        _BASIS,
        Column("item", "int32", "Number of the row: token, answer, position, neuron or residual direction, from 0."),
        *(Column(f"pc{n}", "float64", f"Score on component {n}.") for n in (1, 2, 3)),
    ),
    key=("training_run", "epoch", "matrix", "basis", "item"),
    **_BASIS_PARTITION,
)

LISSAJOUS = Table(
    name="grokking_lissajous",
    doc="One row a statistic of the path and null: the value never without where it stands among random walks.",
    columns=(
        RUN,
        _GROUP,
        Column(
            "statistic",
            "string",
            "share_pcN; and for components a, b: loop_pcab (largest loop over hull), crossings_pcab, area_pcab "
            "(absolute signed area over hull).",
        ),
        Column("value", "float64", "The path's."),
        Column("null_model", "string", "Random walks matched in what.", allowed=("even", "lengths", "autocorrelation")),
        Column("median", "float64", "Median of the walks."),
        Column("percentile", "float64", "Share of walks below, in percent; ties count half."),
        Column("draws", "int32", "How many walks."),
        Column("points", "int32", "In how many checkpoints the path and the walks were looked at: all, up to 64."),
        _AT,
    ),
    key=("training_run", "matrices", "statistic", "null_model"),
    **_RUN_PARTITION,
)

TONES = Table(
    name="grokking_tones",
    doc="One row a site and component of the answers' ring at the last checkpoint: its dominant integer frequency.",
    columns=(
        RUN,
        EPOCH,
        _SITE,
        Column("component", "int32", "Principal component, from 1."),
        _K,
        Column("ratio_to_next", "string", "Its frequency to that of the next component, reduced.", nullable=True),
        Column("amplitude", "float64", "Amplitude of that frequency."),
        Column("phase", "float64", "Phase, in radians."),
        Column("r2", "float64", "Share of the component's variance that it explains."),
        _AT,
    ),
    key=("training_run", "epoch", "site", "component"),
    **_RUN_PARTITION,
)

RATIOS = Table(
    name="grokking_ratios",
    doc="One row a group of parameters and pair of components of the path: the ratio of their dominant frequencies. A "
    "plain random walk has first : second, which is no finding.",
    columns=(
        RUN,
        _GROUP,
        Column("first", "int32", "Principal component, from 1."),
        Column("second", "int32", "Another one."),
        Column("cycles_first", "float64", "Cycles of the first over the run."),
        Column("cycles_second", "float64", "Cycles of the second."),
        Column("ratio", "float64", "First over second."),
        Column("rational", "string", "The simplest fraction within 0.001, or `no rational within q <= 50`."),
        Column("chance", "float64", "Share of all ratios as near to a fraction as simple.", nullable=True),
        Column("of_a_walk", "float64", "The ratio that the components of a plain random walk have."),
        _AT,
    ),
    key=("training_run", "matrices", "first", "second"),
    **_RUN_PARTITION,
)

CIRCLE = Table(
    name="grokking_circle",
    doc="One row a run: the circle hypothesis as a test, at the first epoch with a train loss of 1e-6 or less.",
    columns=(
        RUN,
        Column("verdict", "string", "What the test says.", allowed=("supported", "not supported", "undetermined")),
        Column("reason", "string", "Why, in words."),
        Column("epoch", "int64", "First epoch with that train loss.", nullable=True),
        Column("checkpoint", "int64", "Checkpoint nearest to it.", nullable=True),
        Column("circularity", "string", "Circularity by site there, as JSON."),
        Column("distance_pc1", "int64", "Epochs to the nearest turning point of component 1.", nullable=True),
        Column("distance_pc2", "int64", "The same for component 2.", nullable=True),
        Column("distance_pc3", "int64", "The same for component 3.", nullable=True),
        Column(
            "percentile",
            "float64",
            "Matched walks that turn as near, or other epochs of the path as near to a turn (the larger), in percent.",
            nullable=True,
        ),
        _AT,
    ),
    key=("training_run",),
    **_RUN_PARTITION,
)

OUTCOMES = Table(
    name="grokking_outcomes",
    doc="One row a run: how it ended, how far apart its frequencies keep the answers, and how it compares with the "
    "base run of its sweep or with its parent.",
    columns=(
        RUN,
        Column(
            "outcome",
            "string",
            "How it ended.",
            allowed=("healthy", "late", "degraded", "rebound", "no second descent"),
        ),
        Column("onset", "int64", "First epoch after the peak at which 80% of the test loss is gone.", nullable=True),
        Column("final_loss", "float64", "Test loss at the end."),
        Column("lowest_loss", "float64", "Lowest test loss."),
        Column("rebound", "float64", "Final over lowest.", finite=False),
        Column("final_accuracy", "float64", "Test accuracy at the end."),
        Column("frequencies", "strings", "Frequencies W_E has adopted at the end, as text."),
        Column("separation", "float64", "d(F): least distance between two answers on their circles.", nullable=True),
        Column("closest", "int64", "How far apart the answers are that come nearest.", nullable=True),
        Column("aliasing_risk", "float64", "Share of random frequency sets of that size with larger d.", nullable=True),
        Column("base_run", "string", "Run it is compared with.", nullable=True),
        Column("onset_shift", "int64", "Onset less the base run's, in epochs.", nullable=True),
        Column("loss_ratio", "float64", "log10 of final test loss over the base run's.", nullable=True),
        _AT,
    ),
    key=("training_run",),
    hot=True,
    **_RUN_PARTITION,
)

TABLES = (
    LOSSES,
    ANALYSES,
    SPECTRA,
    DOMINANT,
    NEURONS,
    RINGS,
    CLASS_PCA,
    CENTROIDS,
    ADOPTIONS,
    NEURON_PATHS,
    SENSITIVITY,
    ABANDONED,
    TRAJECTORY,
    PRODUCTS,
    ROW_PCA,
    ROW_SCORES,
    LISSAJOUS,
    TONES,
    RATIOS,
    CIRCLE,
    OUTCOMES,
)
