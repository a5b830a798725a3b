"""The stages of the fine-tunes family: read from the lake, call the pure functions, write to the lake. No Dagster."""

from panic_assets.finetunes.stages.ab_tests import (
    TEST_NAME,
    VoteRefused,
    count_run_votes,
    count_votes,
    open_trials,
    start_test,
    trial_image,
    trial_rows,
    vote,
    votes,
)
from panic_assets.finetunes.stages.caption_checks import check_captions, check_run_captions
from panic_assets.finetunes.stages.caption_repairs import proposed_repairs, repair_captions, undo_repair
from panic_assets.finetunes.stages.drawing import BY_CHECKPOINT, draw, read_images
from panic_assets.finetunes.stages.measuring import MeasureTask, measure, measure_task
from panic_assets.finetunes.stages.registering import check_suite, register, store_suite
from panic_assets.finetunes.stages.reports import (
    briefing,
    findings,
    first_pictures,
    in_markdown,
    material,
    of_epoch,
    write_reports,
)
from panic_assets.finetunes.stages.summaries import SOURCE, marks, store_mark, summarise

__all__ = [
    "BY_CHECKPOINT",
    "SOURCE",
    "TEST_NAME",
    "MeasureTask",
    "VoteRefused",
    "briefing",
    "check_captions",
    "check_run_captions",
    "check_suite",
    "count_run_votes",
    "count_votes",
    "draw",
    "findings",
    "first_pictures",
    "in_markdown",
    "marks",
    "material",
    "measure",
    "measure_task",
    "of_epoch",
    "open_trials",
    "proposed_repairs",
    "read_images",
    "register",
    "repair_captions",
    "start_test",
    "store_mark",
    "store_suite",
    "summarise",
    "trial_image",
    "trial_rows",
    "undo_repair",
    "vote",
    "votes",
    "write_reports",
]
