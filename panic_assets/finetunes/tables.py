"""Tables of the fine-tunes family: suites, pictures, measures, averages, reports, captions, A/B tests."""

from dataclasses import replace

from panic_assets.lake.schema import Column, Reference, Table
from panic_assets.model_settings import SETTINGS
from panic_assets.training.tables import EPOCH, RUN

_AT = Column("computed_at", "timestamp", "When the row was computed.")
_IS_RUN = Reference(("training_run",), "training_runs", ("training_run",))
_CHECKPOINT = Column(
    "checkpoint",
    "string",
    "Name of one version of a checkpoint: its epoch and the start of its hash, as `000007-1a2b3c4d5e6f`.",
)
_CHECKPOINT_HASH = Column("checkpoint_hash", "string", "SHA-256 of the checkpoint's file.")
_SUITE = Column("suite_hash", "string", "SHA-256 of the suite version. Only compare rows with the same one.")
_PROMPT = Column("prompt", "string", "Id of the prompt in its suite.")
_SEED = Column("seed", "int64", "Seed that the picture was drawn with.")
_IMAGE_HASH = Column("image_hash", "string", "SHA-256 of the picture's bytes.")
_METRIC_VERSION = Column("metric_version", "string", "Version of the code that measures pictures.")
_LEVEL = Column("level", "string", "Depth level, for example `quick`, `medium` or `full`.")
_IS_CELL = Reference(
    ("training_run", "checkpoint", "prompt", "seed", "image_hash"),
    "test_images",
    ("training_run", "checkpoint", "prompt", "seed", "image_hash"),
)

PROMPT_SUITES = Table(
    name="prompt_suites",
    doc="One row per training run and suite version. A suite is a file of prompts with seeds that every epoch is asked "
    "to draw. A cell is one prompt with one seed, and so one picture per checkpoint.",
    columns=(
        RUN,
        Column("suite", "string", "Name of the suite."),
        Column("version", "int32", "Version number in the file of the suite."),
        _SUITE,
        Column("active", "bool", "Whether new pictures are drawn from this version: the one that was registered last."),
        Column("prompts", "int32", "Number of prompts in the suite."),
        Column("cells", "int32", "Number of cells in the suite."),
        Column("definition", "string", "The whole suite, as JSON."),
        Column("registered_at", "timestamp", "When the run was first given this version."),
    ),
    key=("training_run", "suite_hash"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
    hot=True,
)

TEST_IMAGES = Table(
    name="test_images",
    doc="One row per checkpoint and cell: the picture. It was drawn here by the checkpoint, or elsewhere and read from "
    "a file.",
    columns=(
        RUN,
        _CHECKPOINT,
        EPOCH,
        _CHECKPOINT_HASH,
        _SUITE,
        _PROMPT,
        _SEED,
        Column("image", "binary", "Bytes of the picture: PNG, or the file's own format if it was ingested."),
        _IMAGE_HASH,
        Column(
            "source",
            "string",
            "Whether the picture was drawn here or read from a file (`ingested`).",
            allowed=("drawn", "ingested"),
        ),
        Column("origin", "string", "Base model that the picture was drawn with, or path of the file."),
        replace(
            SETTINGS,
            doc="How the base model ran: the row of `model_settings`; null for pictures from files, and for `Synthetic`.",
            nullable=True,
        ),
        Column("draw_version", "string", "Version of the code that draws pictures."),
        Column("drawn_at", "timestamp", "When the picture was drawn or read."),
    ),
    key=("training_run", "checkpoint", "suite_hash", "prompt", "seed"),
    partitioned_by=("training_run", "checkpoint"),
    references=(_IS_RUN,),
)

_SCORE = "0..100; null if no colour was asked for or the region cannot be told apart."
PROMPT_TEST_RESULTS = Table(
    name="prompt_test_results",
    doc="One row per checkpoint and cell: the scores of its picture. A region is a part of a portrait: background, "
    "skin, hair or clothes. The score of a region is the percentage of its pixels in the colour that the prompt asks "
    "for.",
    columns=(
        RUN,
        _CHECKPOINT,
        EPOCH,
        _CHECKPOINT_HASH,
        _SUITE,
        _PROMPT,
        Column("category", "string", "Category of the prompt: `colour`, `accessory`, `skin tone` or `expression`."),
        _SEED,
        _IMAGE_HASH,
        Column("colour", "float64", "Mean score of the regions with a score, 0..100; null without any.", nullable=True),
        Column(
            "mark",
            "float64",
            "`colour` as a mark of 0..10: 70 gives 7 and 90 gives 9; null if `colour` is null.",
            nullable=True,
        ),
        Column("background", "float64", f"Score of the background, {_SCORE}", nullable=True),
        Column("hair", "float64", f"Score of the hair, {_SCORE}", nullable=True),
        Column("skin", "float64", f"Score of the skin, {_SCORE}", nullable=True),
        Column("clothes", "float64", f"Score of the clothes, {_SCORE}", nullable=True),
        Column(
            "grid",
            "float64",
            "How well edges lie on the grid of 24 x 24 art pixels: 0 is chance, 100 is all; null without edges or for "
            "a picture of less than 48 pixels per side.",
            nullable=True,
        ),
        Column(
            "palette_size",
            "int32",
            "Number of colours that cover 99% of the picture, after rounding channels to multiples of 16.",
        ),
        Column(
            "sharpness",
            "float64",
            "Mean percentage of an edge's contrast that lies in a single pixel step; 100 is hard. Null without edges.",
            nullable=True,
        ),
        Column(
            "palette",
            "strings",
            "Dominant colours with their share of the picture, largest first, for example `#00ff00 0.4312`.",
        ),
        Column(
            "accessories",
            "float64",
            "Percentage, 0..100, of the expected accessories that the detector sees, without those that it cannot "
            "tell; null without any.",
            nullable=True,
        ),
        Column(
            "expression",
            "float64",
            "100 if the detector sees the expected expression, 0 if not; null if it cannot tell or was not asked.",
            nullable=True,
        ),
        Column(
            "alignment",
            "float64",
            "Fit of picture and prompt: 100 times the cosine of their embeddings, at least 0. It depends on the model. "
            "Null if no model is configured.",
            nullable=True,
        ),
        _METRIC_VERSION,
        _AT,
    ),
    key=("training_run", "checkpoint", "suite_hash", "prompt", "seed"),
    partitioned_by=("training_run", "checkpoint"),
    references=(_IS_CELL,),
)

IMAGE_METRICS = Table(
    name="image_metrics",
    doc="One row per checkpoint, cell and region: the colour that the prompt asks for, and the colours in the picture. "
    "Distances between colours are CIEDE2000; within 10, two colours count as the same.",
    columns=(
        RUN,
        _CHECKPOINT,
        EPOCH,
        _CHECKPOINT_HASH,
        _SUITE,
        _PROMPT,
        _SEED,
        _IMAGE_HASH,
        Column("region", "string", "Part of the portrait.", allowed=("background", "skin", "hair", "clothes")),
        Column(
            "status",
            "string",
            "`measured`: has a score. `not specified`: the prompt asks for no colour. `not found`: asked for and not "
            "drawn, so the score is 0. `cannot tell`: the region cannot be told apart, for example hair under a hat.",
            allowed=("measured", "not specified", "not found", "cannot tell"),
        ),
        Column("expected", "string", "Colour that the prompt asks for, as `#rrggbb`; null if none.", nullable=True),
        Column(
            "score",
            "float64",
            "Percentage of the region's pixels within a distance of 10 of that colour, 0..100; null unless measured or "
            "not found.",
            nullable=True,
        ),
        Column(
            "curve",
            "vector",
            "Share of the pixels, 0..1, within a distance of 0, 1, ..., 20 of that colour; empty unless measured.",
        ),
        Column(
            "drawn",
            "string",
            "Dominant colour of the region, as `#rrggbb`; null if the region was not located.",
            nullable=True,
        ),
        Column("area", "float64", "Area of the region as a share of the picture, 0..1."),
        Column(
            "two_toned",
            "bool",
            "Whether the region has two tones, each over 20% of it, at a distance of more than 15. Null if it was not "
            "located.",
            nullable=True,
        ),
        Column(
            "tone_larger",
            "float64",
            "Share of the larger tone, 0..1; null if the region was not located.",
            nullable=True,
        ),
        Column(
            "tone_smaller",
            "float64",
            "Share of the smaller tone, 0..1; null if the region was not located.",
            nullable=True,
        ),
        Column(
            "tone_apart",
            "float64",
            "Distance between the two tones; null if the region was not located.",
            nullable=True,
        ),
        Column(
            "spread",
            "float64",
            "Root mean square distance of the pixels from the region's mean colour, in CIELAB; null if it was not "
            "located.",
            nullable=True,
        ),
        Column(
            "purity",
            "float64",
            "100 minus `spread`, but not below 0: 100 is flat paint. Null if the region was not located.",
            nullable=True,
        ),
        Column(
            "colours",
            "int32",
            "Number of colours in the region, after rounding channels to multiples of 32; null if it was not located.",
            nullable=True,
        ),
        _METRIC_VERSION,
        _AT,
    ),
    key=("training_run", "checkpoint", "suite_hash", "prompt", "seed", "region"),
    partitioned_by=("training_run", "checkpoint"),
    references=(_IS_CELL,),
)

ATTRIBUTE_ANSWERS = Table(
    name="attribute_answers",
    doc="One row per checkpoint, cell and question about its picture. The detector, a model named in the fine-tune "
    "file, says whether an accessory or expression that the prompt asks for is there. The table is empty without such "
    "a model.",
    columns=(
        RUN,
        _CHECKPOINT,
        EPOCH,
        _CHECKPOINT_HASH,
        _SUITE,
        _PROMPT,
        _SEED,
        _IMAGE_HASH,
        Column(
            "kind",
            "string",
            "Subject of the question: an accessory, an expression, or the prompt as a whole.",
            allowed=("accessory", "expression", "prompt"),
        ),
        Column("name", "string", "Accessory or expression, for example `hat`; empty for the prompt as a whole."),
        Column(
            "verdict",
            "string",
            "Answer of the model; always `cannot tell` for the prompt as a whole.",
            allowed=("yes", "no", "cannot tell"),
        ),
        Column(
            "confidence",
            "float64",
            "How sure the answer is, 0..1. For the prompt as a whole: the alignment, 0..100; null without a model for "
            "it.",
            nullable=True,
        ),
        Column("detector", "string", "Models that answered, with the version of the questions, for example `Jina/1`."),
        Column("settings_ids", "strings", "How each of the models ran: rows of `model_settings`."),
        _AT,
    ),
    key=("training_run", "checkpoint", "suite_hash", "prompt", "seed", "kind", "name"),
    partitioned_by=("training_run", "checkpoint"),
    references=(_IS_CELL,),
)

EPOCH_AVERAGES = Table(
    name="epoch_averages",
    doc="One row per training run, depth level, metric and epoch: the average score. A depth level is the number of "
    "prompts, from the start of the suite, that an epoch is tested with, for example 5 for `medium`. An epoch belongs "
    "to a level if it was tested with all prompts of that level, so the epochs of a level can be compared. Each prompt "
    "counts the same, however many seeds it has.",
    columns=(
        RUN,
        _SUITE,
        _LEVEL,
        Column("metric", "string", "Column of prompt_test_results that is averaged, for example `colour`."),
        EPOCH,
        Column("mean", "float64", "Mean over prompts of the mean over each prompt's seeds."),
        Column(
            "low",
            "float64",
            "Lower end of the 95% bootstrap interval over prompts; null with one prompt.",
            nullable=True,
        ),
        Column("high", "float64", "Upper end of that interval; null with one prompt.", nullable=True),
        Column("prompts", "int32", "Number of prompts, the same at every epoch of the level."),
        Column("cells", "int32", "Number of cells that are averaged."),
        _AT,
    ),
    key=("training_run", "level", "metric", "epoch"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

EPOCH_CHOICES = Table(
    name="epoch_choices",
    doc="One row per training run, depth level and metric: which epoch is best, how sure that is, and what to do. Only "
    "cells that all epochs of the level have are compared.",
    columns=(
        RUN,
        _SUITE,
        _LEVEL,
        Column("metric", "string", "Metric by which epochs are compared: `colour`."),
        Column("epochs", "int32", "Number of epochs tested at this level."),
        Column(
            "best_epoch",
            "int64",
            "Epoch with the highest mean, the earlier one of equals; null with one epoch.",
            nullable=True,
        ),
        Column(
            "confidence",
            "float64",
            "Share of bootstrap resamples in which `best_epoch` is best, 0..1; null with one epoch.",
            nullable=True,
        ),
        Column("shares", "string", "That share for every epoch, as JSON; null with one epoch.", nullable=True),
        Column(
            "p",
            "float64",
            "Permutation p-value of the lead of `best_epoch`, if no epoch differed from the others; null with one "
            "epoch.",
            nullable=True,
        ),
        Column("marked", "bool", "Whether the lead is more than noise: p is 0.05 or less."),
        Column("last_epoch", "int64", "Last epoch tested at this level.", nullable=True),
        Column(
            "last_below",
            "float64",
            "How many points the last epoch scores below the best; null if it is the best.",
            nullable=True,
        ),
        Column(
            "last_below_low",
            "float64",
            "Lower end of the 95% interval of `last_below`; null if that is null.",
            nullable=True,
        ),
        Column(
            "last_below_high", "float64", "Upper end of that interval; null if `last_below` is null.", nullable=True
        ),
        Column(
            "inflection_epoch",
            "int64",
            "Epoch at which the trend turns: where two joined straight lines fit the means best; null with fewer than "
            "5 epochs.",
            nullable=True,
        ),
        Column(
            "inflection_p", "float64", "Permutation p-value of the turn; null with fewer than 5 epochs.", nullable=True
        ),
        Column("inflection_marked", "bool", "Whether the turn is more than noise: its p is 0.05 or less."),
        Column("prompts", "int32", "Number of prompts compared."),
        Column("cells", "int32", "Number of cells compared."),
        Column(
            "deciding",
            "bool",
            "Whether the run's recommendation comes from this level: the deepest one with 3 epochs or more, "
            "else the deepest one with 2.",
        ),
        Column(
            "recommendation",
            "string",
            "`continue`, or for example `stop, epoch 7 is best`. It is advice and stops nothing. Null if not deciding.",
            nullable=True,
        ),
        _AT,
    ),
    key=("training_run", "level", "metric"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
    hot=True,
)

WEAK_AREAS = Table(
    name="weak_areas",
    doc="One row per training run, scope and attribute: how the attribute scores against others. An attribute is a "
    "value of a measure, for example blue (value) hair (measure). Each cell that asks for it is compared with cells "
    "of the same checkpoint and seed that ask for another value. A weak area is an attribute that scores more than 5 "
    "points lower, beyond noise.",
    columns=(
        RUN,
        Column("scope", "string", "Epochs that are compared: `all epochs`, or one, as `epoch 7`."),
        Column("epoch", "int64", "The epoch, if the scope is one epoch; else null.", nullable=True),
        Column("measure", "string", "What is scored: a region, `accessory` or `expression`."),
        Column(
            "value", "string", "Value of the measure: the everyday name of a colour, an accessory or an expression."
        ),
        Column("mean", "float64", "Mean score of the cells with the attribute, 0..100."),
        Column("others", "float64", "Mean score of the cells that they are compared with, 0..100."),
        Column(
            "difference", "float64", "Mean difference of the pairs, in points; negative means worse than the others."
        ),
        Column("low", "float64", "Lower end of the 95% bootstrap interval of `difference`."),
        Column("high", "float64", "Upper end of that interval."),
        Column("p", "float64", "One-sided p-value, by a t-test, of scoring more than 5 points lower."),
        Column("q", "float64", "`p` after Benjamini-Hochberg correction over all attributes tested together."),
        Column("cells", "int32", "Number of pairs."),
        Column("prompts", "int32", "Number of prompts from which the pairs come."),
        Column("weak", "bool", "Whether the attribute is a weak area: q was 0.05 or less."),
        Column("sentence", "string", "The comparison as text."),
        _AT,
    ),
    key=("training_run", "scope", "measure", "value"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

EPOCH_ISSUES = Table(
    name="epoch_issues",
    doc="One row per training run, attribute and epoch: its mean score, and the state of the issue. An issue is an "
    "attribute with a mean score below 70. `new`: not seen before. `persisting`: also an issue when last tested. "
    "`recurring`: an issue earlier, but not when last tested. `resolved`: an issue when last tested, and no longer.",
    columns=(
        RUN,
        Column("issue", "string", "Name of the attribute, for example `blue hair`."),
        EPOCH,
        Column("score", "float64", "Mean score over prompts, 0..100."),
        Column(
            "state",
            "string",
            "State of the issue, compared with the epoch at which it was last tested; empty if it is no issue in both.",
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
    doc="One row per set of marks that a reviewer gave to an epoch, or to one prompt of it. If a reviewer marks the "
    "same thing again, only the latest row counts.",
    columns=(
        RUN,
        EPOCH,
        _CHECKPOINT_HASH,
        Column("subject", "string", "Id of the marked prompt; empty for the epoch as a whole."),
        Column("reviewer", "string", "Name of the reviewer."),
        Column("visual", "float64", "Mark for visual quality, 0..10."),
        Column("style", "float64", "Mark for style, 0..10."),
        Column("prompt", "float64", "Mark for the fit to the prompt, 0..10."),
        Column("note", "string", "Remark of the reviewer; empty if none."),
        Column("given_at", "timestamp", "When the marks were given."),
    ),
    key=("training_run", "epoch", "subject", "reviewer", "given_at"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

FINETUNE_REPORTS = Table(
    name="finetune_reports",
    doc="One row per report: one for the training run, and one per tested epoch. A report is a single HTML page that "
    "opens without a network.",
    columns=(
        RUN,
        Column("report", "string", "`run`, or the epoch, as `epoch 7`."),
        Column("epoch", "int64", "The epoch; null for the report of the run.", nullable=True),
        Column("html", "string", "The page, as HTML."),
        Column("content_hash", "string", "SHA-256 of the page without the time that it shows."),
        Column("made_at", "timestamp", "When a page with this content was first made."),
    ),
    key=("training_run", "report"),
    partitioned_by=("training_run",),
    references=(_IS_RUN,),
)

_SET = Column(
    "caption_set",
    "string",
    "Name of the caption set: the name of the training run, or of the folder if there is no run.",
)
_SET_RUN = Column(
    "training_run", "string", "Training run whose captions they are; null if there is none.", nullable=True
)
_SET_VERSION = Column("version", "int32", "Version of the set, from 1. A set whose files changed is a new version.")

CAPTIONS = Table(
    name="captions",
    doc="One row per caption set, version and file: the text of a caption. A caption is a text file beside a training "
    "picture.",
    columns=(
        _SET,
        _SET_RUN,
        _SET_VERSION,
        Column("set_hash", "string", "SHA-256 over all file names and contents of this version."),
        Column("file", "string", "Name of the file, without its folder."),
        Column("content_hash", "string", "SHA-256 of the file."),
        Column("text", "string", "Text of the caption."),
        Column(
            "batch", "string", "Id of the batch of repairs that made this version; null if none did.", nullable=True
        ),
        Column("recorded_at", "timestamp", "When this version was recorded."),
    ),
    key=("caption_set", "version", "file"),
    partitioned_by=("caption_set",),
)

CAPTION_FINDINGS = Table(
    name="caption_findings",
    doc="One row per fault that a rule finds in a caption.",
    columns=(
        _SET,
        _SET_RUN,
        _SET_VERSION,
        Column("file", "string", "Name of the file, without its folder."),
        Column("number", "int32", "Number of the fault within the file, from 1."),
        Column("line", "int32", "Line of the fault, from 1."),
        Column("rule", "string", "Rule that found the fault, for example `typo`."),
        Column("message", "string", "What is wrong."),
        Column("suggestion", "string", "What to write instead."),
        Column("repairable", "bool", "Whether `panic finetune captions FOLDER --repair` can repair it."),
        _AT,
    ),
    key=("caption_set", "version", "file", "number"),
    partitioned_by=("caption_set",),
    references=(Reference(("caption_set", "version", "file"), "captions", ("caption_set", "version", "file")),),
)

_TEST = Column("ab_test", "string", "Name of the A/B test.")
AB_TRIALS = Table(
    name="ab_trials",
    doc="One row per trial of an A/B test. In an A/B test, people choose between pictures of checkpoints A and B "
    "without knowing which is which. A trial is one pair of pictures of the same prompt and seed, with the sides "
    "chosen at random.",
    columns=(
        RUN,
        _TEST,
        Column("trial", "string", "Random id of the trial. It does not tell which checkpoint is which."),
        Column("number", "int32", "Place of the trial in the order of showing, from 1."),
        _SUITE,
        _PROMPT,
        Column("prompt_text", "string", "Text of the prompt."),
        _SEED,
        Column("a_run", "string", "Training run of checkpoint A."),
        Column("a_epoch", "int64", "Epoch of checkpoint A."),
        Column("a_image_hash", "string", "SHA-256 of the picture of A."),
        Column("b_run", "string", "Training run of checkpoint B."),
        Column("b_epoch", "int64", "Epoch of checkpoint B."),
        Column("b_image_hash", "string", "SHA-256 of the picture of B."),
        Column("a_left", "bool", "Whether A is shown on the left."),
        Column("votes_per_trial", "int32", "Number of votes planned per trial; further ones do not count."),
        Column(
            "fixed_votes",
            "int32",
            "Total number of votes of a fixed design, set before the first vote; null for an anytime design.",
            nullable=True,
        ),
        Column("created_at", "timestamp", "When the test was created."),
    ),
    key=("training_run", "ab_test", "trial"),
    partitioned_by=("training_run", "ab_test"),
    references=(_IS_RUN,),
)

AB_VOTES = Table(
    name="ab_votes",
    doc="One row per vote of a rater in a trial of an A/B test.",
    columns=(
        RUN,
        _TEST,
        Column("trial", "string", "Id of the trial."),
        Column("rater", "string", "Name of the rater."),
        Column("choice", "string", "Checkpoint that was preferred.", allowed=("A", "B", "tie")),
        Column("side", "string", "Side on which it was shown.", allowed=("left", "right", "tie")),
        Column("given_at", "timestamp", "When the vote was given."),
    ),
    key=("training_run", "ab_test", "trial", "rater", "given_at"),
    partitioned_by=("training_run", "ab_test"),
    references=(Reference(("training_run", "ab_test", "trial"), "ab_trials", ("training_run", "ab_test", "trial")),),
)

AB_RESULTS = Table(
    name="ab_results",
    doc="One row per A/B test: the count of votes so far, and the verdict. Votes on the same prompt are not "
    "independent, so the verdict is based on prompts (blocks), not on single votes. In an `anytime` design the test "
    "may be looked at after every vote. The verdict then uses an e-value: evidence that reaches 20 in at most 1 of 20 "
    "tests without a difference.",
    columns=(
        RUN,
        _TEST,
        Column("votes", "int32", "Number of votes that count."),
        Column("trials", "int32", "Number of trials."),
        Column("a", "int32", "Number of votes for A."),
        Column("b", "int32", "Number of votes for B."),
        Column("ties", "int32", "Number of votes for neither."),
        Column("share_b", "float64", "Share of B in the votes for A or B, 0..1; null without any.", nullable=True),
        Column("low", "float64", "Lower end of the 95% Wilson interval of `share_b`; 0 without votes."),
        Column("high", "float64", "Upper end of that interval; 1 without votes."),
        Column("sign_p", "float64", "p-value of an exact sign test on single votes, as if they were independent."),
        Column("left_votes", "int32", "Number of votes for the picture on the left."),
        Column(
            "side_p", "float64", "p-value of an exact sign test of left against right; small if raters prefer one side."
        ),
        Column(
            "blocks", "int32", "Number of prompts that count. In an anytime design, only those with all planned votes."
        ),
        Column("flip_p", "float64", "p-value of a sign-flip test over prompts; it decides a fixed design."),
        Column("e", "float64", "e-value over prompts; in an anytime design, 20 or more decides."),
        Column("design", "string", "`anytime`, or for example `fixed at 40 votes`."),
        Column("verdict", "string", "`use A`, `use B`, `no difference shown` (all votes are in) or `not decided yet`."),
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
