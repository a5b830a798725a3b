"""Tables of the fine-tunes family: suites, pictures, measures, averages, reports, captions, A/B tests."""

from panic_assets.lake.schema import Column, Reference, Table
from panic_assets.training.tables import EPOCH, RUN

_AT = Column("computed_at", "timestamp", "When the row was made.")
_IS_RUN = Reference(("training_run",), "training_runs", ("training_run",))
_CHECKPOINT = Column(
    "checkpoint", "string", "Epoch and start of the checkpoint's hash: names one version of one epoch."
)
_CHECKPOINT_HASH = Column("checkpoint_hash", "string", "SHA-256 of the checkpoint that drew the picture.")
_SUITE = Column("suite_hash", "string", "SHA-256 of the suite version; only rows of one version are comparable.")
_PROMPT = Column("prompt", "string", "Id of the prompt in its suite.")
_SEED = Column("seed", "int64", "Seed of the cell.")
_IMAGE_HASH = Column("image_hash", "string", "SHA-256 of the picture's bytes: what was measured.")
_METRIC_VERSION = Column("metric_version", "string", "Version of the measures.")
_LEVEL = Column("level", "string", "Depth level: its first so many prompts, the same at every epoch.")
_IS_CELL = Reference(
    ("training_run", "checkpoint", "prompt", "seed", "image_hash"),
    "test_images",
    ("training_run", "checkpoint", "prompt", "seed", "image_hash"),
)

PROMPT_SUITES = Table(
    name="prompt_suites",
    doc="One row a version of a prompt suite that a run is tested with. The newest is `active`.",
    columns=(
        RUN,
        Column("suite", "string", "Name of the suite."),
        Column("version", "int32", "Version number in the file."),
        _SUITE,
        Column("active", "bool", "Whether new cells are drawn from it."),
        Column("prompts", "int32", "How many prompts it has."),
        Column("cells", "int32", "How many prompts times seeds."),
        Column("definition", "string", "The whole suite, as JSON."),
        Column("registered_at", "timestamp", "When it was registered."),
    ),
    key=("training_run", "suite_hash"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
    hot=True,
)

TEST_IMAGES = Table(
    name="test_images",
    doc="One row a cell: the picture one checkpoint drew for one prompt and seed, or that was drawn elsewhere.",
    columns=(
        RUN,
        _CHECKPOINT,
        EPOCH,
        _CHECKPOINT_HASH,
        _SUITE,
        _PROMPT,
        _SEED,
        Column("image", "binary", "The picture, as PNG (ingested ones as they were)."),
        _IMAGE_HASH,
        Column("source", "string", "Where it came from.", allowed=("drawn", "ingested")),
        Column("origin", "string", "Base model it was drawn with, or the file it was read from."),
        Column("draw_version", "string", "Version of the drawing code."),
        Column("drawn_at", "timestamp", "When it was drawn or read."),
    ),
    key=("training_run", "checkpoint", "suite_hash", "prompt", "seed"),
    partitioned_by=("training_run", "checkpoint"),
    references=(_IS_RUN,),
)

_SCORE = "0..100, null where it was not asked for or cannot be told."
PROMPT_TEST_RESULTS = Table(
    name="prompt_test_results",
    doc="One row a cell: what its picture scores. Averages are means of prompt means over one suite version.",
    columns=(
        RUN,
        _CHECKPOINT,
        EPOCH,
        _CHECKPOINT_HASH,
        _SUITE,
        _PROMPT,
        Column("category", "string", "Category of the prompt."),
        _SEED,
        _IMAGE_HASH,
        Column("colour", "float64", f"Mean of the regions' scores, {_SCORE}", nullable=True),
        Column("mark", "float64", "The same as the studio's 0..10.", nullable=True),
        Column("background", "float64", f"Background score, {_SCORE}", nullable=True),
        Column("hair", "float64", f"Hair score, {_SCORE}", nullable=True),
        Column("skin", "float64", f"Skin score, {_SCORE}", nullable=True),
        Column("clothes", "float64", f"Clothes score, {_SCORE}", nullable=True),
        Column("grid", "float64", "Alignment to the pixel grid beyond chance, 0..100.", nullable=True),
        Column("palette_size", "int32", "Colours that hold 99% of the picture."),
        Column("sharpness", "float64", "Share of edges' contrast crossed in one pixel, 0..100.", nullable=True),
        Column("palette", "strings", "Dominant colours, largest first, as `#rrggbb share`."),
        Column("accessories", "float64", "Share of expected accessories seen, of those decided.", nullable=True),
        Column("expression", "float64", "100 when the expected expression is seen, 0 when not.", nullable=True),
        Column("alignment", "float64", "100 x cosine of picture and prompt; depends on the model.", nullable=True),
        _METRIC_VERSION,
        _AT,
    ),
    key=("training_run", "checkpoint", "suite_hash", "prompt", "seed"),
    partitioned_by=("training_run", "checkpoint"),
    references=(_IS_CELL,),
)

IMAGE_METRICS = Table(
    name="image_metrics",
    doc="One row a region of a picture: what colour was asked for, and what is there.",
    columns=(
        RUN,
        _CHECKPOINT,
        EPOCH,
        _CHECKPOINT_HASH,
        _SUITE,
        _PROMPT,
        _SEED,
        _IMAGE_HASH,
        Column("region", "string", "Which region.", allowed=("background", "skin", "hair", "clothes")),
        Column(
            "status",
            "string",
            "Whether it was scored: `not found` was asked for and not drawn (score 0).",
            allowed=("measured", "not specified", "not found", "cannot tell"),
        ),
        Column("expected", "string", "Colour the prompt asks for, `#rrggbb`.", nullable=True),
        Column("score", "float64", "Share of its pixels within CIEDE2000 10 of that colour, 0..100.", nullable=True),
        Column("curve", "vector", "The same share, 0..1, within CIEDE2000 0, 1, ..., 20; empty without a colour."),
        Column("drawn", "string", "Its dominant colour, `#rrggbb`.", nullable=True),
        Column("area", "float64", "Share of the picture."),
        Column("two_toned", "bool", "Two tones, each over 20%, more than 15 apart.", nullable=True),
        Column("tone_larger", "float64", "Share of the larger tone.", nullable=True),
        Column("tone_smaller", "float64", "Share of the smaller tone.", nullable=True),
        Column("tone_apart", "float64", "CIEDE2000 between the tones.", nullable=True),
        Column("spread", "float64", "RMS CIELAB distance from the region's mean colour.", nullable=True),
        Column("purity", "float64", "100 - spread, at least 0.", nullable=True),
        Column("colours", "int32", "Colours left when channels are snapped to multiples of 32.", nullable=True),
        _METRIC_VERSION,
        _AT,
    ),
    key=("training_run", "checkpoint", "suite_hash", "prompt", "seed", "region"),
    partitioned_by=("training_run", "checkpoint"),
    references=(_IS_CELL,),
)

ATTRIBUTE_ANSWERS = Table(
    name="attribute_answers",
    doc="One row an accessory or expression asked for: whether a model sees it. Empty without a configured detector.",
    columns=(
        RUN,
        _CHECKPOINT,
        EPOCH,
        _CHECKPOINT_HASH,
        _SUITE,
        _PROMPT,
        _SEED,
        _IMAGE_HASH,
        Column("kind", "string", "What is asked about.", allowed=("accessory", "expression", "prompt")),
        Column("name", "string", "Which one (empty for the prompt as a whole)."),
        Column("verdict", "string", "The answer.", allowed=("yes", "no", "cannot tell")),
        Column(
            "confidence",
            "float64",
            "How sure, 0..1; for `prompt` the alignment, 0..100, none without a space for it.",
            nullable=True,
        ),
        Column("detector", "string", "Models that looked, with the version of the questions."),
        _AT,
    ),
    key=("training_run", "checkpoint", "suite_hash", "prompt", "seed", "kind", "name"),
    partitioned_by=("training_run", "checkpoint"),
    references=(_IS_CELL,),
)

EPOCH_AVERAGES = Table(
    name="epoch_averages",
    doc="One row a metric of an epoch at a level: mean of prompt means, with a bootstrap interval over prompts.",
    columns=(
        RUN,
        _SUITE,
        _LEVEL,
        Column("metric", "string", "Column of prompt_test_results that is averaged."),
        EPOCH,
        Column("mean", "float64", "Mean of prompt means."),
        Column("low", "float64", "Lower end of the 95% interval; null with one prompt.", nullable=True),
        Column("high", "float64", "Upper end.", nullable=True),
        Column("prompts", "int32", "Prompts in it, the same at every epoch of the level."),
        Column("cells", "int32", "Cells in it."),
        _AT,
    ),
    key=("training_run", "level", "metric", "epoch"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

EPOCH_CHOICES = Table(
    name="epoch_choices",
    doc="One row a level: which epoch is best on shared prompts, how surely, and whether it leads beyond noise.",
    columns=(
        RUN,
        _SUITE,
        _LEVEL,
        Column("metric", "string", "What epochs are chosen by."),
        Column("epochs", "int32", "Epochs tested at this level."),
        Column("best_epoch", "int64", "Highest mean; null with one epoch.", nullable=True),
        Column("confidence", "float64", "Share of bootstrap resamples that choose it.", nullable=True),
        Column("shares", "string", "The share of every epoch, as JSON.", nullable=True),
        Column("p", "float64", "Permutation p-value that no epoch leads.", nullable=True),
        Column("marked", "bool", "Whether the best leads beyond noise (p at most .05)."),
        Column("last_epoch", "int64", "Last epoch of the level.", nullable=True),
        Column(
            "last_below", "float64", "How far the last lies below the best; null when it is the best.", nullable=True
        ),
        Column("last_below_low", "float64", "Lower end of its 95% interval.", nullable=True),
        Column("last_below_high", "float64", "Upper end.", nullable=True),
        Column("inflection_epoch", "int64", "Where two joined lines fit best.", nullable=True),
        Column("inflection_p", "float64", "Permutation p-value of a turn.", nullable=True),
        Column("inflection_marked", "bool", "Whether the turn is more than noise."),
        Column("prompts", "int32", "Prompts compared."),
        Column("cells", "int32", "Cells compared."),
        Column("deciding", "bool", "Whether the recommendation stands on this level."),
        Column("recommendation", "string", "`continue`, or `stop, epoch X is best`. Advice.", nullable=True),
        _AT,
    ),
    key=("training_run", "level", "metric"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
    hot=True,
)

WEAK_AREAS = Table(
    name="weak_areas",
    doc="One row an attribute compared with the others of its measure; `weak` ones are named beyond noise.",
    columns=(
        RUN,
        Column("scope", "string", "`all epochs`, or one."),
        Column("epoch", "int64", "The epoch, when it is one.", nullable=True),
        Column("measure", "string", "What is scored: a region, accessory, expression."),
        Column("value", "string", "Which value of it, e.g. the colour's everyday name."),
        Column("mean", "float64", "Mean score of its cells."),
        Column("others", "float64", "Mean score of the cells it is paired with."),
        Column("difference", "float64", "Mean paired difference; negative is worse."),
        Column("low", "float64", "Lower end of its 95% bootstrap interval."),
        Column("high", "float64", "Upper end."),
        Column("p", "float64", "One-sided p-value of a gap larger than 5 points."),
        Column("q", "float64", "Benjamini-Hochberg over the attributes tested together."),
        Column("cells", "int32", "Pairs."),
        Column("prompts", "int32", "Prompts they come from."),
        Column("weak", "bool", "Whether it is named."),
        Column("sentence", "string", "All of it in words."),
        _AT,
    ),
    key=("training_run", "scope", "measure", "value"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

EPOCH_ISSUES = Table(
    name="epoch_issues",
    doc="One row an attribute at an epoch: its mean score, and whether it is an issue that is new, resolved, ...",
    columns=(
        RUN,
        Column("issue", "string", "The attribute, e.g. `blue hair`."),
        EPOCH,
        Column("score", "float64", "Mean of prompt means, 0..100; under 70 is an issue."),
        Column(
            "state",
            "string",
            "Against the epoch at which it was last tested; empty: no issue then or now.",
            allowed=("new", "resolved", "persisting", "recurring", ""),
        ),
        _AT,
    ),
    key=("training_run", "issue", "epoch"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

MANUAL_SCORES = Table(
    name="manual_scores",
    doc="One row a reviewer's marks of an epoch or of one of its prompts. The latest of a reviewer stands.",
    columns=(
        RUN,
        EPOCH,
        _CHECKPOINT_HASH,
        Column("subject", "string", "Prompt that was looked at; empty for the epoch."),
        Column("reviewer", "string", "Who."),
        Column("visual", "float64", "Visual quality, 0..10."),
        Column("style", "float64", "Style, 0..10."),
        Column("prompt", "float64", "Fit to the prompt, 0..10."),
        Column("note", "string", "What the reviewer added."),
        Column("given_at", "timestamp", "When."),
    ),
    key=("training_run", "epoch", "subject", "reviewer", "given_at"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

FINETUNE_REPORTS = Table(
    name="finetune_reports",
    doc="One row a report: of the run, or of one epoch. The page is one file that opens offline.",
    columns=(
        RUN,
        Column("report", "string", "`run`, or the epoch: `epoch 7`."),
        Column("epoch", "int64", "The epoch, when it is one.", nullable=True),
        Column("html", "string", "The page."),
        Column("content_hash", "string", "SHA-256 of the page without the time in it."),
        Column("made_at", "timestamp", "When this content was first made."),
    ),
    key=("training_run", "report"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

_SET = Column("caption_set", "string", "Name of the set of captions: the run's, or the folder's.")
_SET_RUN = Column("training_run", "string", "Run whose captions they are, if any.", nullable=True)
_SET_VERSION = Column("version", "int32", "Version of the set, from 1; a set that was repaired is a new version.")

CAPTIONS = Table(
    name="captions",
    doc="One row a caption of one version of a set.",
    columns=(
        _SET,
        _SET_RUN,
        _SET_VERSION,
        Column("set_hash", "string", "SHA-256 over all names and contents of this version."),
        Column("file", "string", "File name."),
        Column("content_hash", "string", "SHA-256 of the file."),
        Column("text", "string", "The caption."),
        Column("batch", "string", "Batch of repairs that made this version, if one did.", nullable=True),
        Column("recorded_at", "timestamp", "When."),
    ),
    key=("caption_set", "version", "file"),
    partitioned_by=("caption_set",),
)

CAPTION_FINDINGS = Table(
    name="caption_findings",
    doc="One row a fault that the rules find in a caption.",
    columns=(
        _SET,
        _SET_RUN,
        _SET_VERSION,
        Column("file", "string", "File name."),
        Column("number", "int32", "Which finding of the file, from 1."),
        Column("line", "int32", "Line, from 1."),
        Column("rule", "string", "Rule that found it."),
        Column("message", "string", "What is wrong."),
        Column("suggestion", "string", "What would be right."),
        Column("repairable", "bool", "Whether it can be repaired without a person."),
        _AT,
    ),
    key=("caption_set", "version", "file", "number"),
    partitioned_by=("caption_set",),
    references=(Reference(("caption_set", "version", "file"), "captions", ("caption_set", "version", "file")),),
)

_TEST = Column("ab_test", "string", "Name of the A/B test.")
AB_TRIALS = Table(
    name="ab_trials",
    doc="One row a trial of a blind A/B test: one prompt and seed by two checkpoints, sides drawn at random.",
    columns=(
        RUN,
        _TEST,
        Column("trial", "string", "Random id; all that a rater's page knows."),
        Column("number", "int32", "Place in the order of showing."),
        _SUITE,
        _PROMPT,
        Column("prompt_text", "string", "The prompt."),
        _SEED,
        Column("a_run", "string", "Run of checkpoint A."),
        Column("a_epoch", "int64", "Its epoch."),
        Column("a_image_hash", "string", "Picture A."),
        Column("b_run", "string", "Run of checkpoint B."),
        Column("b_epoch", "int64", "Its epoch."),
        Column("b_image_hash", "string", "Picture B."),
        Column("a_left", "bool", "Whether A is shown on the left."),
        Column("votes_per_trial", "int32", "Votes planned for each trial; further ones do not count."),
        Column("fixed_votes", "int32", "N of a fixed design, chosen beforehand; null: anytime.", nullable=True),
        Column("created_at", "timestamp", "When."),
    ),
    key=("training_run", "ab_test", "trial"),
    partitioned_by=("training_run", "ab_test"),
    references=(_IS_RUN,),
)

AB_VOTES = Table(
    name="ab_votes",
    doc="One row a vote.",
    columns=(
        RUN,
        _TEST,
        Column("trial", "string", "Trial voted on."),
        Column("rater", "string", "Who."),
        Column("choice", "string", "What was preferred.", allowed=("A", "B", "tie")),
        Column("side", "string", "Where it was shown.", allowed=("left", "right", "tie")),
        Column("given_at", "timestamp", "When."),
    ),
    key=("training_run", "ab_test", "trial", "rater", "given_at"),
    partitioned_by=("training_run", "ab_test"),
    references=(Reference(("training_run", "ab_test", "trial"), "ab_trials", ("training_run", "ab_test", "trial")),),
)

AB_RESULTS = Table(
    name="ab_results",
    doc="One row an A/B test: how it stands. The verdict is safe however often one looks.",
    columns=(
        RUN,
        _TEST,
        Column("votes", "int32", "Votes that count."),
        Column("trials", "int32", "Trials planned."),
        Column("a", "int32", "Votes for A."),
        Column("b", "int32", "Votes for B."),
        Column("ties", "int32", "Ties."),
        Column("share_b", "float64", "Share of B among decided votes.", nullable=True),
        Column("low", "float64", "Lower end of its Wilson 95% interval."),
        Column("high", "float64", "Upper end."),
        Column("sign_p", "float64", "Exact sign test of single votes (takes them as independent)."),
        Column("left_votes", "int32", "Decided votes for the left side."),
        Column("side_p", "float64", "Exact sign test of left against right: raters' side bias."),
        Column("blocks", "int32", "Prompts that count."),
        Column("flip_p", "float64", "Sign-flip test over prompts."),
        Column("e", "float64", "e-value over prompts; 20 and above declares."),
        Column("design", "string", "`anytime`, or `fixed at N votes`."),
        Column("verdict", "string", "`use A`, `use B`, `no difference shown`, `not decided yet`."),
        _AT,
    ),
    key=("training_run", "ab_test"),
    partitioned_by=("training_run", "ab_test"),
    references=(_IS_RUN,),
    hot=True,
)

TABLES = (
    PROMPT_SUITES,
    TEST_IMAGES,
    PROMPT_TEST_RESULTS,
    IMAGE_METRICS,
    ATTRIBUTE_ANSWERS,
    EPOCH_AVERAGES,
    EPOCH_CHOICES,
    WEAK_AREAS,
    EPOCH_ISSUES,
    MANUAL_SCORES,
    FINETUNE_REPORTS,
    CAPTIONS,
    CAPTION_FINDINGS,
    AB_TRIALS,
    AB_VOTES,
    AB_RESULTS,
)
