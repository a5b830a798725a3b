"""What can be asked of the fine-tunes family from Dagster: add, test, mark, start an A/B test, vote, repair captions."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from panic_assets.asleep import asleep
from panic_assets.errors import UserError
from panic_assets.finetunes import config as tunes
from panic_assets.finetunes import missing
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.training import names, registration

if TYPE_CHECKING:
    from panic_assets.finetunes import stages
    from panic_assets.finetunes.captions import files
    from panic_assets.finetunes.captions import rules as rules_of
    from panic_assets.finetunes.verdicts import manual
else:
    stages = asleep("panic_assets.finetunes.stages")
    files = asleep("panic_assets.finetunes.captions.files")
    rules_of = asleep("panic_assets.finetunes.captions.rules")
    manual = asleep("panic_assets.finetunes.verdicts.manual")


def _shared(name: str) -> str:
    return names.asset(tunes.FAMILY.name, name)


test_job = dg.define_asset_job(
    "test_finetune",
    dg.AssetSelection.assets(
        _shared("training_runs"),
        "prompt_suites",
        "captions",
        _shared("checkpoints"),
        "test_images",
        "image_metrics",
        "finetune_summary",
        _shared("convergence"),
        _shared("costs"),
        _shared("notifications"),
        "finetune_reports",
        "ab_results",
    ),
    description="Draws, measures, compares and reports what is missing of a fine-tune; finished work is kept.",
)


class AddFineTune(dg.Config):
    """A fine-tune file, as its text; relative paths in it are below PANIC_HOME."""

    definition: str
    name: str = ""


class MarkConfig(dg.Config):
    """A reviewer's marks of 0 to 10 for an epoch, or for one prompt of it."""

    run: str
    epoch: int
    reviewer: str
    visual: float
    style: float
    prompt: float
    subject: str = ""
    note: str = ""


class TestConfig(dg.Config):
    """A blind test of two checkpoints. `fixed_votes` 0 is the design one may look at any time."""

    test: str
    a_run: str
    a_epoch: int
    b_run: str
    b_epoch: int
    votes_per_trial: int = 1
    fixed_votes: int = 0


class VoteConfig(dg.Config):
    """A vote for a side of a trial: left, right or tie."""

    test: str
    trial: str
    rater: str
    side: str


class RepairConfig(dg.Config):
    """Repair the captions a fine-tune names; or undo a batch of repairs."""

    run: str
    undo: str = ""


def _try(act: Callable[[], object]) -> None:
    try:
        act()
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def add(instance: dg.DagsterInstance, lake: LakeResource, tune: tunes.FineTune) -> None:
    """Register a fine-tune in the lake and give it its partition."""
    stages.register(lake.lake, tune)
    registration.add_keys(instance, tunes.FAMILY.name, [tune.name])
    lake.refresh()


@dg.op
def add_finetune_op(context: dg.OpExecutionContext, config: AddFineTune, lake: LakeResource) -> None:
    """Register a fine-tune; the sensor tests its checkpoints as they appear."""
    _try(lambda: add(context.instance, lake, tunes.parse_text(config.definition, home().root, config.name)))


@dg.op
def mark_finetune_op(context: dg.OpExecutionContext, config: MarkConfig, lake: LakeResource) -> None:
    """Store a reviewer's marks; the run's summary takes them up."""
    c = config

    def act() -> None:
        mark = manual.Mark(c.epoch, c.subject, c.reviewer, c.visual, c.style, c.prompt, c.note, datetime.now(UTC))
        stages.store_mark(lake.lake, c.run, mark)
        stages.summarise(lake.lake, c.run)
        lake.refresh()
        context.log_event(dg.AssetMaterialization("finetune_summary", partition=c.run))

    _try(act)


@dg.op
def start_ab_test_op(context: dg.OpExecutionContext, config: TestConfig, lake: LakeResource) -> None:
    """Create the trials of a blind test; `panic finetune ab vote` or the dashboard shows them."""
    c = config

    def act() -> None:
        a, b = (c.a_run, c.a_epoch), (c.b_run, c.b_epoch)
        count = stages.start_test(lake.lake, c.test, a, b, c.votes_per_trial, c.fixed_votes or None)
        lake.refresh()
        context.log.info(f"{c.test}: {count} trials")

    _try(act)


@dg.op
def vote_ab_test_op(config: VoteConfig, lake: LakeResource) -> None:
    """Store one vote and count again."""

    def act() -> None:
        stages.vote(lake.lake, config.test, config.trial, config.rater, config.side)
        lake.refresh()

    _try(act)


@dg.op
def repair_captions_op(context: dg.OpExecutionContext, config: RepairConfig, lake: LakeResource) -> None:
    """Repair what can be repaired, with a backup, as a new caption version; or undo a batch."""

    def act() -> None:
        plan = missing.plan(lake.lake, config.run)
        where = plan.config.get("captions")
        if not where:
            raise UserError(f"fine-tune {config.run!r} names no captions")
        folder, rules = Path(where), rules_of.parse_rules(plan.config.get("caption_rules"))
        if config.undo:
            batch = files.undo(folder, config.undo)
        else:
            changes = files.repairs(files.load(folder), rules)
            if not changes:
                context.log.info("nothing to repair")
                return
            for change in changes:
                context.log.info(change.diff)
            batch = files.apply(folder, changes)
        stages.check_captions(lake.lake, config.run, folder, rules, run=config.run, batch=batch.id)
        lake.refresh()
        context.log.info(f"batch {batch.id}: {len(batch.entries)} captions")

    _try(act)


@dg.job(description="Register a fine-tune from its file's text.")
def add_finetune() -> None:
    add_finetune_op()


@dg.job(description="Give an epoch a reviewer's marks: visual quality, style, prompt.")
def mark_finetune() -> None:
    mark_finetune_op()


@dg.job(description="Create a blind A/B test of two checkpoints.")
def start_ab_test() -> None:
    start_ab_test_op()


@dg.job(description="Vote in a blind A/B test.")
def vote_ab_test() -> None:
    vote_ab_test_op()


@dg.job(description="Repair a fine-tune's captions, or undo a batch of repairs.")
def repair_captions() -> None:
    repair_captions_op()


JOBS = [test_job, add_finetune, mark_finetune, start_ab_test, vote_ab_test, repair_captions]
