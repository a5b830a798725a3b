"""The jobs of the fine-tunes family: add, test, mark, start an A/B test, vote, repair captions."""

from collections.abc import Callable, Sequence
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
    description="Draws, measures, compares and reports whatever is missing of a fine-tune. Finished work is kept.",
)


class AddFineTune(dg.Config):
    """`definition` is the text of a fine-tune file; relative paths in it start at PANIC_HOME. `name` is used if the text
    gives none."""

    definition: str
    name: str = ""


class MarkConfig(dg.Config):
    """A reviewer's marks of 0 to 10 for an epoch: visual quality, style, fit to the prompt. `subject` is the id of the
    prompt that gets the marks; without it, the epoch as a whole."""

    run: str
    epoch: int
    reviewer: str
    visual: float
    style: float
    prompt: float
    subject: str = ""
    note: str = ""


class TestConfig(dg.Config):
    """A blind A/B test of two checkpoints. `fixed_votes` is the number of votes after which it is decided; with 0, the
    verdict holds at any time."""

    test: str
    a_run: str
    a_epoch: int
    b_run: str
    b_epoch: int
    votes_per_trial: int = 1
    fixed_votes: int = 0


class VoteConfig(dg.Config):
    """A vote on a trial of an A/B test. `side` is left, right or tie."""

    test: str
    trial: str
    rater: str
    side: str


class RepairConfig(dg.Config):
    """Repairs the captions that a fine-tune names. `undo` is the id of a repair to undo instead."""

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


def dropped(lake: LakeResource, instance: dg.DagsterInstance, path: Path) -> Sequence[str]:
    """Register a fine-tune file. The sensor `finetune_work` starts tests when there is something to test."""
    add(instance, lake, tunes.read(path))
    return []


@dg.op
def add_finetune_op(context: dg.OpExecutionContext, config: AddFineTune, lake: LakeResource) -> None:
    """Registers a fine-tune. The sensor `finetune_work` then has its checkpoints tested as they appear."""
    _try(lambda: add(context.instance, lake, tunes.parse_text(config.definition, home().root, config.name)))


@dg.op
def mark_finetune_op(context: dg.OpExecutionContext, config: MarkConfig, lake: LakeResource) -> None:
    """Stores a reviewer's marks, and makes the fine-tune's summary again."""
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
    """Makes the trials of a blind A/B test. `panic finetune ab vote` shows them."""
    c = config

    def act() -> None:
        a, b = (c.a_run, c.a_epoch), (c.b_run, c.b_epoch)
        count = stages.start_test(lake.lake, c.test, a, b, c.votes_per_trial, c.fixed_votes or None)
        lake.refresh()
        context.log.info(f"A/B test {c.test} has {count} trials")

    _try(act)


@dg.op
def vote_ab_test_op(config: VoteConfig, lake: LakeResource) -> None:
    """Stores one vote, and counts all votes again."""

    def act() -> None:
        stages.vote(lake.lake, config.test, config.trial, config.rater, config.side)
        lake.refresh()

    _try(act)


@dg.op
def repair_captions_op(context: dg.OpExecutionContext, config: RepairConfig, lake: LakeResource) -> None:
    """Repairs the captions that need no new words, keeps a backup, and stores a new version of the captions; or undoes a
    repair."""

    def act() -> None:
        plan = missing.plan(lake.lake, config.run)
        where = plan.config.get("captions")
        if not where:
            raise UserError(f"fine-tune {config.run!r} names no captions; name their folder under captions in its file")
        folder, rules = Path(where), rules_of.parse_rules(plan.config.get("caption_rules"))
        if config.undo:
            batch = stages.undo_repair(lake.lake, folder, config.undo)
        else:
            changes = stages.proposed_repairs(lake.lake, folder, rules)
            if not changes:
                context.log.info("no caption needs a repair")
                return
            for change in changes:
                context.log.info(change.diff)
            batch = stages.repair_captions(lake.lake, folder, changes)
        stages.check_captions(lake.lake, config.run, folder, rules, run=config.run, batch=batch.id)
        lake.refresh()
        done = "undone" if config.undo else "made"
        context.log.info(f"repair {batch.id} was {done}: {len(batch.entries)} captions")

    _try(act)


@dg.job(description="Registers a fine-tune from the text of its file.")
def add_finetune() -> None:
    add_finetune_op()


@dg.job(description="Stores the marks that a reviewer gives an epoch: visual quality, style, fit to the prompt.")
def mark_finetune() -> None:
    mark_finetune_op()


@dg.job(description="Makes a blind A/B test of two checkpoints.")
def start_ab_test() -> None:
    start_ab_test_op()


@dg.job(description="Stores a vote on one trial of a blind A/B test.")
def vote_ab_test() -> None:
    vote_ab_test_op()


@dg.job(description="Repairs the captions of a fine-tune, or undoes a repair.")
def repair_captions() -> None:
    repair_captions_op()


JOBS = [test_job, add_finetune, mark_finetune, start_ab_test, vote_ab_test, repair_captions]
