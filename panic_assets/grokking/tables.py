"""Tables of the grokking family: losses at every epoch, and one table per analysis."""

from typing import Any

from panic_assets.lake.schema import Column, Reference, Table
from panic_assets.training.tables import EPOCH, RUN

_K = Column("k", "int32", "Frequency, 1 to (p-1)/2.")
_AT = Column("computed_at", "timestamp", "When the row was computed.")
_SITE = Column(
    "site",
    "string",
    "Place in the model, always at the last position: before attention (`resid_pre`), what attention adds "
    "(`attn_out`), what the MLP adds (`mlp_out`), or the end (`resid_post`).",
    allowed=("resid_pre", "attn_out", "mlp_out", "resid_post"),
)
_GROUP = Column(
    "matrices",
    "string",
    "Group of parameters: `all`, `embedding`, `attention` or `mlp`; in grokking_trajectory also each matrix by its "
    "name.",
)
_MATRIX = Column("matrix", "string", "Matrix: W_E, W_pos, W_Q, W_K, W_V, W_O, W_in, W_out or W_U.")
_IS_RUN = Reference(("training_run",), "training_runs", ("training_run",))
_RUN_PARTITION: dict[str, Any] = {"partitioned_by": ("training_run",), "references": (_IS_RUN,)}


def _share(n: int, of: str) -> Column:
    return Column(f"pc{n}", "float64", f"Share of component {n} in {of}, 0..1; null if undefined.", nullable=True)


LOSSES = Table(
    name="grokking_losses",
    doc="One row per training run and epoch: losses and accuracies. Grokking runs train a small transformer to compute "
    "(a + b) mod p for a prime p. A loss is the mean cross-entropy of the answers, in nats.",
    columns=(
        RUN,
        EPOCH,
        Column("train_loss", "float64", "Loss on the training pairs (a, b)."),
        Column("test_loss", "float64", "Loss on the test pairs: all pairs that are not trained on."),
        Column("train_accuracy", "float64", "Share of training pairs with the right answer, 0..1."),
        Column("test_accuracy", "float64", "Share of test pairs with the right answer, 0..1."),
    ),
    key=("training_run", "epoch"),
    **_RUN_PARTITION,
)

ANALYSES = Table(
    name="grokking_analyses",
    doc="One row per analysed checkpoint. It is written last: where it exists, the checkpoint's rows in the other "
    "tables are complete.",
    columns=(
        RUN,
        EPOCH,
        Column("content_hash", "string", "SHA-256 of the checkpoint's file that was analysed."),
        Column("code_version", "string", "Version of the analysis."),
        Column("seconds", "float64", "Time that the analysis took, in seconds."),
        _AT,
    ),
    key=("training_run", "epoch"),
    **_RUN_PARTITION,
)

SPECTRA = Table(
    name="grokking_spectra",
    doc="One row per checkpoint, weight space and frequency: how strongly the weights use the frequency. A weight "
    "space is a matrix, or a product of matrices, with one row per token or per answer: W_E, W_E.W_in, and Q, K, V of "
    "each head (tokens); W_U, W_out.W_U, and O of each head (answers); QK of each head (keys as rows). A frequency k "
    "counts the cycles that a sine makes over the p tokens; k runs from 1 to (p-1)/2. Energy is the sum of squares.",
    columns=(
        RUN,
        EPOCH,
        Column("space", "string", "Weight space, for example W_E, W_out.W_U, or Q0 for head 0."),
        Column("k", "int32", "Frequency, 1 to (p-1)/2; null for a space without frequencies.", nullable=True),
        Column(
            "fraction",
            "float64",
            "Share of the frequency in the energy about the mean, 0..1; null if `k` is null.",
            nullable=True,
        ),
        Column(
            "note",
            "string",
            "Why there is no share: `no token axis` or `constant over tokens`; otherwise null.",
            nullable=True,
        ),
    ),
    key=("training_run", "epoch", "space", "k"),
    **_RUN_PARTITION,
)

DOMINANT = Table(
    name="grokking_dominant",
    doc="One row per checkpoint, frequency and part (sine or cosine): how large that part of the embedding W_E is. F "
    "is the Fourier basis over tokens, so each part is one row of the product F.W_E.",
    columns=(
        RUN,
        EPOCH,
        Column("rank", "int32", "Rank of the norm within the checkpoint; 1 is the largest."),
        _K,
        Column("part", "string", "Cosine or sine part of the frequency.", allowed=("cos", "sin")),
        Column("norm", "float64", "Euclidean norm of that row of F.W_E."),
    ),
    key=("training_run", "epoch", "rank"),
    **_RUN_PARTITION,
)

NEURONS = Table(
    name="grokking_neurons",
    doc="One row per checkpoint and neuron of the MLP: its main frequency, and how far its activation consists of that "
    "frequency alone.",
    columns=(
        RUN,
        EPOCH,
        Column("neuron", "int32", "Number of the neuron, from 0."),
        Column(
            "k",
            "int32",
            "Frequency with the largest share; null for a neuron with a constant activation.",
            nullable=True,
        ),
        Column(
            "concentration",
            "float64",
            "Share of frequency `k` in the energy of the activation over all pairs (a, b), about its mean; 0..1.",
        ),
    ),
    key=("training_run", "epoch", "neuron"),
    **_RUN_PARTITION,
)

RINGS = Table(
    name="grokking_rings",
    doc="One row per checkpoint, site and frequency: how well the answers form a circle. The centroid of an answer is "
    "the mean of the activations at a site over all pairs with that answer. The ring of a frequency is the centroids "
    "projected on the plane of that frequency. Only frequencies with 5% of the centroids' variance or more have a row.",
    columns=(
        RUN,
        EPOCH,
        _SITE,
        _K,
        Column("share", "float64", "Share of the frequency in the variance of the centroids, 0..1."),
        Column("circularity", "float64", "1 - `residual` / `radius`, but not below 0; 1 is a perfect circle."),
        Column("radius", "float64", "Radius of the least-squares circle through the ring, in units of activation."),
        Column("residual", "float64", "Root mean square distance of the centroids from that circle."),
    ),
    key=("training_run", "epoch", "site", "k"),
    **_RUN_PARTITION,
)

CLASS_PCA = Table(
    name="grokking_class_pca",
    doc="One row per checkpoint and site: how the variance of the answers' centroids is divided among their principal "
    "components. A component is a direction of largest variance; component 1 has the most. With m equally strong "
    "frequencies, each component has a share of 1/(2m).",
    columns=(
        RUN,
        EPOCH,
        _SITE,
        Column("defined", "bool", "Whether the centroids differ at all; if not, the shares are null."),
        *(_share(n, "the variance of the centroids") for n in (1, 2, 3)),
        Column("remainder", "float64", "Share of all other components, 0..1; null if undefined.", nullable=True),
    ),
    key=("training_run", "epoch", "site"),
    **_RUN_PARTITION,
)

CENTROIDS = Table(
    name="grokking_centroids",
    doc="One row per checkpoint, site and answer: the coordinates of the answer's centroid on the first three "
    "components of that checkpoint and site. There are no rows where all centroids coincide. The sign of a component "
    "has no meaning and may change between checkpoints.",
    columns=(
        RUN,
        EPOCH,
        _SITE,
        Column("answer", "int32", "The answer c = (a + b) mod p."),
        *(Column(f"pc{n}", "float64", f"Coordinate on component {n}.") for n in (1, 2, 3)),
    ),
    key=("training_run", "epoch", "site", "answer"),
    **_RUN_PARTITION,
)

ADOPTIONS = Table(
    name="grokking_adoptions",
    doc="One row per training run, weight space and frequency that ever reached the threshold. A frequency is adopted "
    "if its share stays at or above the threshold until the last checkpoint, and abandoned if it is below it there.",
    columns=(
        RUN,
        Column("space", "string", "Weight space, as in grokking_spectra."),
        _K,
        Column(
            "adopted_at",
            "int64",
            "First epoch from which the share stays at or above the threshold; null if abandoned.",
            nullable=True,
        ),
        Column("abandoned_at", "int64", "Last epoch at or above the threshold; null if adopted.", nullable=True),
        Column(
            "threshold", "float64", "Share from which a frequency counts: 0.05, or twice an even share if that is more."
        ),
        _AT,
    ),
    key=("training_run", "space", "k"),
    **_RUN_PARTITION,
)

NEURON_PATHS = Table(
    name="grokking_neuron_paths",
    doc="One row per training run and neuron: which frequencies the neuron had, and when. A neuron takes up a "
    "frequency when its concentration on it reaches the threshold. The counts depend on the threshold; "
    "grokking_sensitivity shows how much.",
    columns=(
        RUN,
        Column("neuron", "int32", "Number of the neuron, from 0."),
        Column(
            "stops",
            "strings",
            "Frequencies in order, as `k@epoch (highest concentration)`, for example `17@4000 (0.93)`.",
        ),
        Column("switches", "int32", "Number of changes from one frequency to another."),
        Column(
            "commitment",
            "int64",
            "Epoch since which the neuron keeps its final frequency; null if homeless.",
            nullable=True,
        ),
        Column("homeless", "bool", "Whether the neuron has no frequency at the last checkpoint."),
        Column("threshold", "float64", "Concentration at which a neuron takes up a frequency."),
        Column(
            "hysteresis",
            "float64",
            "How far the concentration may fall below the threshold before the frequency is lost.",
        ),
        _AT,
    ),
    key=("training_run", "neuron"),
    **_RUN_PARTITION,
)

SENSITIVITY = Table(
    name="grokking_sensitivity",
    doc="One row per training run and threshold: how many neurons changed their frequency if that threshold is used, "
    "without hysteresis.",
    columns=(
        RUN,
        Column("threshold", "float64", "Concentration at which a neuron takes up a frequency."),
        Column("switched", "int32", "Number of neurons that changed frequency at least once."),
        Column("homed", "int32", "Number of neurons that ever had a frequency."),
        Column("neurons", "int32", "Number of all neurons."),
        _AT,
    ),
    key=("training_run", "threshold"),
    **_RUN_PARTITION,
)

ABANDONED = Table(
    name="grokking_abandoned",
    doc="One row per training run and frequency that neurons had at some time and that none has at the last checkpoint.",
    columns=(
        RUN,
        _K,
        Column("first_epoch", "int64", "First epoch at which a neuron had the frequency."),
        Column("last_epoch", "int64", "Last epoch at which a neuron had the frequency."),
        Column("most_neurons", "int32", "Largest number of neurons that had it at the same epoch."),
        Column("threshold", "float64", "Concentration from which a neuron has a frequency."),
        _AT,
    ),
    key=("training_run", "k"),
    **_RUN_PARTITION,
)

TRAJECTORY = Table(
    name="grokking_trajectory",
    doc="One row per training run, group of parameters and checkpoint: the path of the weights through parameter "
    "space, on its first three principal components.",
    columns=(
        RUN,
        _GROUP,
        EPOCH,
        Column("pc1", "float64", "Coordinate on component 1 of the path."),
        Column("pc2", "float64", "Coordinate on component 2 of the path."),
        Column("pc3", "float64", "Coordinate on component 3 of the path."),
        Column(
            "velocity",
            "float64",
            "Distance per epoch travelled since the checkpoint before; null for the first one.",
            nullable=True,
        ),
    ),
    key=("training_run", "matrices", "epoch"),
    **_RUN_PARTITION,
)

PRODUCTS = Table(
    name="grokking_products",
    doc="One row per training run, matrix and pair of checkpoints: the inner product of the matrix at both epochs. "
    "With g for the product, the squared distance between epochs i and j is g(i, i) - 2 g(i, j) + g(j, j). Each pair "
    "is stored in one order only.",
    columns=(
        RUN,
        _MATRIX,
        EPOCH,
        Column("content_hash", "string", "SHA-256 of the file of the checkpoint at `epoch`."),
        Column("other_epoch", "int64", "Epoch of the other checkpoint, which was added earlier or is the same."),
        Column("product", "float64", "Inner product over all weights of the matrix."),
    ),
    key=("training_run", "matrix", "epoch", "other_epoch"),
    **_RUN_PARTITION,
)

_BASIS = Column(
    "basis",
    "string",
    "Components used: the checkpoint's own, or those of the last checkpoint (`final`).",
    allowed=("own", "final"),
)
_BASIS_PARTITION: dict[str, Any] = {"partitioned_by": ("training_run", "basis"), "references": (_IS_RUN,)}

ROW_PCA = Table(
    name="grokking_row_pca",
    doc="One row per checkpoint, matrix and basis: how the variance of the matrix's rows is divided among components. "
    "The rows are tokens, answers, positions, neurons or residual directions. The basis is the set of components used.",
    columns=(
        RUN,
        EPOCH,
        _MATRIX,
        _BASIS,
        *(_share(n, "the variance of the rows") for n in (1, 2, 3)),
    ),
    key=("training_run", "epoch", "matrix", "basis"),
    **_BASIS_PARTITION,
)

ROW_SCORES = Table(
    name="grokking_row_scores",
    doc="One row per checkpoint, matrix, basis and row of the matrix: the coordinates of the row on the first three "
    "components. In the basis `own`, the largest coordinate of each component is positive.",
    columns=(
        RUN,
        EPOCH,
        _MATRIX,
        _BASIS,
        Column("item", "int32", "Number of the row, from 0: a token, answer, position, neuron or residual direction."),
        *(Column(f"pc{n}", "float64", f"Coordinate on component {n}.") for n in (1, 2, 3)),
    ),
    key=("training_run", "epoch", "matrix", "basis", "item"),
    **_BASIS_PARTITION,
)

LISSAJOUS = Table(
    name="grokking_lissajous",
    doc="One row per training run, group of parameters, statistic and null model: whether the path through parameter "
    "space looks like a Lissajous figure (a curve of two oscillations with a ratio of frequencies) more than random "
    "walks do. Random walks also make loops, so judge a value by its percentile.",
    columns=(
        RUN,
        _GROUP,
        Column(
            "statistic",
            "string",
            "`share_pcN`: share of component N in the variance. For components a and b: `loop_pcab` (area of the "
            "largest loop), `crossings_pcab` (number of self-crossings), `area_pcab` (absolute signed area). Areas "
            "are divided by the area of the convex hull.",
        ),
        Column("value", "float64", "Value of the statistic for the path."),
        Column(
            "null_model",
            "string",
            "Random walks compared with: with equal steps (`even`), with the path's own step lengths (`lengths`), or "
            "also with the path's correlation between steps (`autocorrelation`).",
            allowed=("even", "lengths", "autocorrelation"),
        ),
        Column("median", "float64", "Median of the statistic over the walks."),
        Column("percentile", "float64", "Percentage of walks with a lower value, 0..100; ties count half."),
        Column("draws", "int32", "Number of walks."),
        Column(
            "points",
            "int32",
            "Number of checkpoints used, for the path and the walks alike: all, but 64 if there are more.",
        ),
        _AT,
    ),
    key=("training_run", "matrices", "statistic", "null_model"),
    **_RUN_PARTITION,
)

TONES = Table(
    name="grokking_tones",
    doc="One row per training run, site and component of the answers' centroids at the last checkpoint: its tone. The "
    "tone is the one cosine over the answers c that fits the component best: amplitude cos(2 pi k c / p + phase).",
    columns=(
        RUN,
        EPOCH,
        _SITE,
        Column("component", "int32", "Principal component, from 1."),
        _K,
        Column(
            "ratio_to_next",
            "string",
            "Ratio of its frequency to that of the next component, in lowest terms, as `3:2`; null if there is none.",
            nullable=True,
        ),
        Column("amplitude", "float64", "Amplitude of the cosine."),
        Column("phase", "float64", "Phase of the cosine, in radians."),
        Column("r2", "float64", "Share of the component's variance that the tone explains, 0..1."),
        _AT,
    ),
    key=("training_run", "epoch", "site", "component"),
    **_RUN_PARTITION,
)

RATIOS = Table(
    name="grokking_ratios",
    doc="One row per training run, group of parameters and pair of components of the path: the ratio of their main "
    "frequencies. The components of a plain random walk have the ratio first : second, so that ratio shows nothing.",
    columns=(
        RUN,
        _GROUP,
        Column("first", "int32", "First component of the pair, from 1."),
        Column("second", "int32", "Second component of the pair."),
        Column("cycles_first", "float64", "Cycles of the first component over the run."),
        Column("cycles_second", "float64", "Cycles of the second component over the run."),
        Column("ratio", "float64", "`cycles_first` divided by `cycles_second`."),
        Column(
            "rational",
            "string",
            "Simplest fraction within 0.001 of the ratio, as `3:2`, or `no rational within q <= 50`.",
        ),
        Column(
            "chance",
            "float64",
            "Share of all ratios that lie as close to a fraction at least as simple, 0..1; null without a fraction.",
            nullable=True,
        ),
        Column("of_a_walk", "float64", "Ratio that a plain random walk would have: first / second."),
        _AT,
    ),
    key=("training_run", "matrices", "first", "second"),
    **_RUN_PARTITION,
)

CIRCLE = Table(
    name="grokking_circle",
    doc="One row per training run: the circle test. It asks whether, at the first epoch with a training loss of 1e-6 "
    "or less, the answers form a circle at some site and the path through parameter space turns. `supported` needs a "
    "circularity of 0.9 or more and a percentile of 5 or less.",
    columns=(
        RUN,
        Column(
            "verdict",
            "string",
            "Result of the test; `undetermined` if the data cannot decide.",
            allowed=("supported", "not supported", "undetermined"),
        ),
        Column("reason", "string", "Why the test gives this verdict."),
        Column("epoch", "int64", "First epoch with that training loss; null if never reached.", nullable=True),
        Column(
            "checkpoint", "int64", "Epoch of the checkpoint nearest to `epoch`; null if never reached.", nullable=True
        ),
        Column("circularity", "string", "Circularity of each site at that checkpoint, as JSON."),
        Column(
            "distance_pc1",
            "int64",
            "Epochs from `epoch` to the nearest turning point of component 1; null if it has none.",
            nullable=True,
        ),
        Column(
            "distance_pc2",
            "int64",
            "Epochs from `epoch` to the nearest turning point of component 2; null if it has none.",
            nullable=True,
        ),
        Column(
            "distance_pc3",
            "int64",
            "Epochs from `epoch` to the nearest turning point of component 3; null if it has none.",
            nullable=True,
        ),
        Column(
            "percentile",
            "float64",
            "Percentage of matched random walks that turn as close to `epoch`, or of the path's epochs that lie as "
            "close to a turning point, whichever is larger; null if the test could not be made.",
            nullable=True,
        ),
        _AT,
    ),
    key=("training_run",),
    **_RUN_PARTITION,
)

OUTCOMES = Table(
    name="grokking_outcomes",
    doc="One row per training run: how it ended, how well its frequencies separate the answers, and how it compares "
    "with its base run (the first run of its sweep, or its parent). Outcomes, in this order: `no second descent` (the "
    "test loss never falls to 20% of its peak), `rebound` (it ends at 10 times its lowest value or more, above 1e-5), "
    "`degraded` (it ends above 1e-5), `late` (onset after epoch 12,000), `healthy` (all others).",
    columns=(
        RUN,
        Column(
            "outcome",
            "string",
            "Outcome of the run.",
            allowed=("healthy", "late", "degraded", "rebound", "no second descent"),
        ),
        Column(
            "onset",
            "int64",
            "First epoch after the peak at which the test loss is 20% of the peak or less; null if never.",
            nullable=True,
        ),
        Column("final_loss", "float64", "Test loss at the last epoch."),
        Column("lowest_loss", "float64", "Lowest test loss of the run."),
        Column(
            "rebound", "float64", "`final_loss` divided by `lowest_loss`; infinite if the lowest is 0.", finite=False
        ),
        Column("final_accuracy", "float64", "Test accuracy at the last epoch, 0..1."),
        Column("frequencies", "strings", "Frequencies that W_E has adopted, as text."),
        Column(
            "separation",
            "float64",
            "Smallest distance between two answers when each is placed on one unit circle per frequency; null without "
            "any.",
            nullable=True,
        ),
        Column(
            "closest",
            "int64",
            "Difference c - c' of two answers at that distance; null without frequencies.",
            nullable=True,
        ),
        Column(
            "aliasing_risk",
            "float64",
            "Share of random frequency sets of that size with a larger separation, 0..1; near 1 is bad.",
            nullable=True,
        ),
        Column("base_run", "string", "Run that it is compared with; null if there is none.", nullable=True),
        Column(
            "onset_shift",
            "int64",
            "`onset` minus the onset of the base run, in epochs; null if either is missing.",
            nullable=True,
        ),
        Column(
            "loss_ratio",
            "float64",
            "log10 of `final_loss` divided by that of the base run; null without a base run or with a loss of 0.",
            nullable=True,
        ),
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

PER_CHECKPOINT: dict[str, dict[str, str]] = {
    "grokking_spectra": {},
    "grokking_dominant": {},
    "grokking_neurons": {},
    "grokking_rings": {},
    "grokking_class_pca": {},
    "grokking_centroids": {},
    "grokking_row_pca": {"basis": "own"},
    "grokking_row_scores": {"basis": "own"},
}
"""Tables with rows per checkpoint, and the rest of their partition key beside the run."""
