"""The graph of the fine-tunes family: what each checkpoint draws, what that scores, what it comes to, and the report."""

import base64
import io
from typing import Any

import dagster as dg
import numpy as np
from PIL import Image

from panic_assets.compute.protocol import Compute
from panic_assets.finetunes import missing, stages
from panic_assets.finetunes.drawing.generate import VERSION as DRAW_VERSION
from panic_assets.finetunes.verdicts import charts
from panic_assets.finetunes.verdicts.report import VERSION as REPORT_VERSION
from panic_assets.instance.home import GPU_POOL
from panic_assets.lake.resource import LakeResource
from panic_assets.progress import Done
from panic_assets.steps import GPU, on
from panic_assets.training.assets import COMMON, checkpoints, convergence, costs, result, training_runs
from panic_assets.training.assets import work as working
from panic_assets.trajectories.assets import ProgressResource

GROUP = "finetunes"
_COMMON: dict[str, Any] = {**COMMON, "group_name": GROUP}


class Deeper(dg.Config):
    """Epochs to test more deeply than the run's plan says: epoch -> level, like {"3": "full"}."""

    levels: dict[str, str] = {}  # noqa: RUF012


@dg.asset(**_COMMON, deps=[training_runs], metadata={"tables": ["prompt_suites"]})
def prompt_suites(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """The prompt suite a fine-tune is tested with; the 15 portraits that ship where it names none."""
    with working(context, lake):
        plan = missing.plan(lake.lake, context.partition_key)
        new = stages.store_suite(lake.lake, plan.name, plan.suite)
    return result(
        context,
        lake,
        Done(int(new)),
        "prompt_suites",
        version=plan.suite.hash,
        suite=f"{plan.suite.name} version {plan.suite.version}",
        prompts=len(plan.suite.prompts),
    )


@dg.asset(**_COMMON, deps=[training_runs], metadata={"tables": ["captions", "caption_findings"]})
def captions(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """The training captions a fine-tune names, and what the rules find in them; nothing where it names none."""
    name = context.partition_key
    with working(context, lake):
        done = stages.check_run_captions(lake.lake, name)
        by_rule = lake.lake.sql(
            "SELECT rule, count(*) AS n FROM caption_findings WHERE version = (SELECT max(version) FROM captions) "
            "GROUP BY rule ORDER BY n DESC, rule",
            caption_set=name,
        ).to_pylist()
    found = "\n".join(f"| {r['rule']} | {r['n']} |" for r in by_rule)
    table = dg.MetadataValue.md(f"| rule | findings |\n|---|---|\n{found}") if by_rule else "no finding"
    return dg.MaterializeResult(metadata={"findings": done.rows, "by rule": table})


@dg.asset(
    **{**_COMMON, "code_version": DRAW_VERSION, **on(GPU)},
    deps=[checkpoints, prompt_suites],
    metadata={"tables": ["test_images"]},
    pool=GPU_POOL,
)
def test_images(
    context: dg.AssetExecutionContext,
    config: Deeper,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
    progress: ProgressResource,
) -> dg.MaterializeResult:
    """What every checkpoint draws for the prompts and seeds its depth asks for: the cells that are missing."""
    name = context.partition_key
    levels = {int(epoch): level for epoch, level in config.levels.items()}
    with working(context, lake):
        done = stages.draw(lake.lake, compute, progress.watcher(context), lake.refresher(), name, levels)
        shown = _strip(lake, name)
    return result(context, lake, done, "test_images", pictures=shown or "none yet")


@dg.asset(
    **{**_COMMON, "code_version": stages.MEASURE_VERSION},
    deps=[test_images],
    metadata={"tables": ["image_metrics", "prompt_test_results", "attribute_answers"]},
)
def image_metrics(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
    progress: ProgressResource,
) -> dg.MaterializeResult:
    """Colour by region, purity and pixel-art quality of every new picture, and what a configured detector sees."""
    name = context.partition_key
    with working(context, lake):
        done = stages.measure(lake.lake, compute, progress.watcher(context), lake.refresher(), name)
    return result(context, lake, done, "prompt_test_results", "image_metrics", "attribute_answers")


@dg.asset(
    **{**_COMMON, "code_version": stages.MEASURE_VERSION},
    deps=[image_metrics],
    metadata={"tables": ["epoch_averages", "epoch_choices", "weak_areas", "epoch_issues", "metrics"]},
)
def finetune_summary(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """Averages by epoch on shared prompts, the best epoch, weak areas and issues; the spine's metrics."""
    name = context.partition_key
    with working(context, lake):
        done = stages.summarise(lake.lake, name)
        told = stages.findings(lake.lake, name)
    return result(context, lake, done, "epoch_averages", **told)


@dg.asset(
    **{**_COMMON, "code_version": REPORT_VERSION},
    deps=[finetune_summary, convergence, costs],
    metadata={"tables": ["finetune_reports"]},
)
def finetune_reports(
    context: dg.AssetExecutionContext, lake: LakeResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """One page a checkpoint and one for the run; `panic finetune report` writes them to files and opens them."""
    name = context.partition_key
    with working(context, lake):
        done = stages.write_reports(lake.lake, progress.watcher(context), name)
        told = stages.findings(lake.lake, name)
        summary = stages.in_markdown(lake.lake, name)
    return result(context, lake, done, "finetune_reports", report=dg.MetadataValue.md(summary), **told)


@dg.asset(**_COMMON, deps=[test_images], metadata={"tables": ["ab_trials", "ab_votes", "ab_results"]})
def ab_results(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """How every blind A/B test of the run's checkpoints stands."""
    name = context.partition_key
    with working(context, lake):
        done = stages.count_run_votes(lake.lake, name)
        rows = lake.lake.sql("SELECT ab_test, votes, e, verdict FROM ab_results", training_run=name).to_pylist()
    told = {r["ab_test"]: f"{r['verdict']} ({r['votes']} votes, e = {r['e']:.2f})" for r in rows}
    return result(context, lake, done, "ab_results", **told)


def _strip(lake: LakeResource, name: str) -> dg.MarkdownMetadataValue | None:
    """The first cell of every epoch side by side, small enough for the UI."""
    rows = lake.lake.sql(
        "SELECT image FROM test_images QUALIFY row_number() OVER (PARTITION BY epoch ORDER BY prompt, seed) = 1 "
        "ORDER BY epoch DESC LIMIT 12",
        training_run=name,
    )["image"].to_pylist()
    if not rows:
        return None
    tiles = [charts.thumbnail(data, 72) for data in reversed(rows)]
    out = io.BytesIO()
    Image.fromarray(np.concatenate(tiles, axis=1)).save(out, "WEBP", quality=80)
    return dg.MetadataValue.md(f"![pictures](data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()})")
