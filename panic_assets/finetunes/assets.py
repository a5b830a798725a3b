"""The graph of the fine-tunes family: pictures of each checkpoint, their measurements, a summary, reports."""

from typing import TYPE_CHECKING

import dagster as dg

from panic_assets.asleep import asleep
from panic_assets.finetunes import missing
from panic_assets.finetunes.config import FAMILY
from panic_assets.finetunes.tables import TABLES
from panic_assets.finetunes.versions import DRAW_VERSION, MEASURE_VERSION, REPORT_VERSION
from panic_assets.graphics.previews import strip
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done
from panic_assets.steps import GPU, Outcome, Stage, markdown, outcome
from panic_assets.training import assets as training
from panic_assets.training import tables

if TYPE_CHECKING:
    from panic_assets.finetunes import stages
else:
    stages = asleep("panic_assets.finetunes.stages")

GROUP = "finetunes"
T = {table.name: table for table in (*TABLES, *tables.TABLES)}
SPINE = training.spine(FAMILY, GROUP)

_of_run = training.of_run(FAMILY.name, GROUP)


class Deeper(dg.Config):
    """Epochs to test with more prompts than the plan of the fine-tune says: epoch -> level, as in {"3": "full"}. By default,
    pictures are drawn in the precision of those that exist, or refused; `other_precision` allows another."""

    levels: dict[str, str] = {}  # noqa: RUF012
    other_precision: bool = False


@_of_run(T["prompt_suites"], deps=[SPINE.training_runs])
def prompt_suites(here: Stage) -> Outcome:
    """The prompts and seeds that a fine-tune is tested with. If the fine-tune names none, they are 15 portraits that come
    with panic."""
    plan = missing.plan(here.lake, here.key)
    new = stages.store_suite(here.lake, plan.name, plan.suite)
    return outcome(
        Done(int(new)),
        version=plan.suite.hash,
        suite=f"{plan.suite.name} version {plan.suite.version}",
        prompts=len(plan.suite.prompts),
    )


@_of_run(T["captions"], T["caption_findings"], deps=[SPINE.training_runs])
def captions(here: Stage) -> Outcome:
    """The training captions that a fine-tune names, and what is wrong with them by its rules."""
    done = stages.check_run_captions(here.lake, here.key)
    by_rule = here.lake.sql(
        "SELECT rule, count(*) AS findings FROM caption_findings WHERE version = (SELECT max(version) FROM captions) "
        "GROUP BY rule ORDER BY findings DESC, rule",
        caption_set=here.key,
    ).to_pylist()
    rows = markdown(("rule", "findings"), (r.values() for r in by_rule))
    return outcome(done, findings=done.rows, by_rule=dg.MetadataValue.md(rows) if by_rule else None)


@_of_run(
    T["test_images"],
    deps=[SPINE.checkpoints, prompt_suites],
    version=DRAW_VERSION,
    needs=GPU,
    compute=True,
    config=Deeper,
)
def test_images(here: Stage) -> Outcome:
    """The pictures that every checkpoint draws for the prompts and seeds of the suite. The depth of the fine-tune says how
    many prompts each epoch draws. Pictures that exist are not drawn again."""
    asked = here.config(Deeper)
    levels = {int(epoch): level for epoch, level in asked.levels.items()}
    done = stages.draw(here.lake, here.compute, here.watcher, here.refresh, here.key, levels, asked.other_precision)
    shown = _first_cells(here.lake, here.key)
    return outcome(done, pictures=dg.MetadataValue.md(shown) if shown else None)


@_of_run(
    T["prompt_test_results"],
    T["image_metrics"],
    T["attribute_answers"],
    deps=[test_images],
    version=MEASURE_VERSION,
    compute=True,
)
def image_metrics(here: Stage) -> Outcome:
    """What is measured on every picture: the colours of its regions, colour purity, pixel-art quality, and, if the
    fine-tune names a detector, the accessories and expressions in it."""
    return outcome(stages.measure(here.lake, here.compute, here.watcher, here.refresh, here.key))


@_of_run(
    T["epoch_averages"],
    T["epoch_choices"],
    T["weak_areas"],
    T["epoch_issues"],
    T["metrics"],
    T["manual_scores"],
    deps=[image_metrics],
    version=MEASURE_VERSION,
)
def finetune_summary(here: Stage) -> Outcome:
    """Averages of every epoch over prompts that all epochs drew, the best epoch, weak areas, and issues; also the metrics
    from which convergence and advice follow."""
    done = stages.summarise(here.lake, here.key)
    return outcome(done, **stages.findings(here.lake, here.key))


@_of_run(
    T["finetune_reports"],
    deps=[finetune_summary, SPINE.convergence, SPINE.costs],
    version=REPORT_VERSION,
)
def finetune_reports(here: Stage) -> Outcome:
    """Reports as web pages: one per checkpoint, and one for the whole fine-tune. `panic finetune report` writes them to
    files and opens them."""
    done = stages.write_reports(here.lake, here.watcher, here.key)
    report = dg.MetadataValue.md(stages.in_markdown(here.lake, here.key))
    return outcome(done, report=report, **stages.findings(here.lake, here.key))


@_of_run(T["ab_results"], T["ab_trials"], T["ab_votes"], deps=[test_images])
def ab_results(here: Stage) -> Outcome:
    """The results so far of every blind A/B test of the fine-tune's checkpoints."""
    done = stages.count_run_votes(here.lake, here.key)
    rows = here.lake.sql("SELECT ab_test, votes, e, verdict FROM ab_results", training_run=here.key).to_pylist()
    return outcome(done, **{r["ab_test"]: f"{r['verdict']} ({r['votes']} votes, e = {r['e']:.2f})" for r in rows})


ASSETS = [
    *SPINE.assets,
    prompt_suites,
    captions,
    test_images,
    image_metrics,
    finetune_summary,
    finetune_reports,
    ab_results,
]


def _first_cells(lake: Lake, name: str) -> str | None:
    """The first picture of each of the latest epochs, side by side."""
    return strip(stages.first_pictures(lake, name), "the first picture of each of the latest epochs")
