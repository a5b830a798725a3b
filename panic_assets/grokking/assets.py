"""The graph of the grokking family: trained here or watched, measured at every checkpoint, concluded over the run."""

from typing import Any

import dagster as dg

from panic_assets.compute.protocol import Compute
from panic_assets.grokking import stages
from panic_assets.grokking.pictures import renders as rendering
from panic_assets.instance.home import GPU_POOL
from panic_assets.lake.resource import LakeResource
from panic_assets.steps import GPU, on
from panic_assets.training import settings
from panic_assets.training.assets import COMMON, checkpoints, result, training_runs, work
from panic_assets.trajectories.assets import ProgressResource

GROUP = "grokking"
_COMMON: dict[str, Any] = {**COMMON, "group_name": GROUP}


class HomeConfig(dg.Config):
    """From which concentration a neuron has a frequency, and how far below it may fall; as the last time unless given."""

    threshold: float | None = None
    hysteresis: float | None = None


@dg.asset(
    **{**_COMMON, "code_version": stages.TRAIN_VERSION, **on(GPU)},
    deps=[training_runs],
    metadata={"tables": ["training_times", "grokking_losses"]},
    pool=GPU_POOL,
)
def grokking_training(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
    progress: ProgressResource,
) -> dg.MaterializeResult:
    """Trains a run to its end, going on bit for bit where it was stopped. A watched run has nothing to train."""
    name = context.partition_key
    with work(context, lake, "training of"):
        done = stages.train_unless_watched(
            lake.lake, compute, progress.watcher(context), lake.refresher(), settings.read(), name
        )
    return result(context, lake, done, "grokking_losses")


@dg.asset(
    **{**_COMMON, "code_version": stages.ANALYSIS_VERSION},
    deps=[checkpoints],
    metadata={"tables": [*stages.PER_CHECKPOINT, "grokking_analyses", "metrics"]},
)
def grokking_measurements(
    context: dg.AssetExecutionContext, lake: LakeResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """Every checkpoint's spectra, neurons, rings, class components and losses: those that are new or changed."""
    name = context.partition_key
    with work(context, lake):
        done = stages.measure(lake.lake, progress.watcher(context), lake.refresher(), name)
    return result(context, lake, done, *stages.PER_CHECKPOINT)


@dg.asset(
    **_COMMON,
    deps=[grokking_measurements],
    metadata={"tables": ["grokking_adoptions", "grokking_neuron_paths", "grokking_sensitivity", "grokking_abandoned"]},
)
def grokking_frequencies(
    context: dg.AssetExecutionContext, config: HomeConfig, lake: LakeResource
) -> dg.MaterializeResult:
    """When each weight space adopted each frequency; every neuron's path, with how the count hangs on the threshold."""
    with work(context, lake):
        done = stages.frequencies(lake.lake, context.partition_key, config.threshold, config.hysteresis)
    return result(context, lake, done, "grokking_adoptions", "grokking_neuron_paths")


@dg.asset(
    **_COMMON,
    deps=[grokking_measurements],
    metadata={
        "tables": [
            "grokking_trajectory",
            "grokking_products",
            "grokking_row_pca",
            "grokking_row_scores",
            "grokking_lissajous",
            "grokking_tones",
            "grokking_ratios",
            "grokking_circle",
        ]
    },
)
def grokking_trajectories(
    context: dg.AssetExecutionContext, lake: LakeResource, progress: ProgressResource
) -> dg.MaterializeResult:
    """The path through parameter space against its nulls, each matrix's components, the ring's tones, the circle test."""
    with work(context, lake):
        done = stages.trajectories(lake.lake, progress.watcher(context), context.partition_key)
        circle = lake.lake.sql(
            "SELECT verdict || ': ' || reason AS said FROM grokking_circle", training_run=context.partition_key
        )["said"].to_pylist()
    said = {"circle hypothesis": circle[0]} if circle else {}
    return result(context, lake, done, "grokking_trajectory", "grokking_lissajous", **said)


@dg.asset(
    **_COMMON,
    deps=[grokking_frequencies],
    metadata={"tables": ["grokking_outcomes", "loss_events"]},
)
def grokking_outcomes(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
    """How the run ended, how well its frequencies keep answers apart, its losses' events, checkpoints worth adding."""
    name = context.partition_key
    with work(context, lake):
        done = stages.conclude(lake.lake, name)
        found = lake.lake.sql("SELECT outcome, onset, separation FROM grokking_outcomes", training_run=name).to_pylist()
        proposed = stages.proposal(lake.lake, name)
    said = {k: v for k, v in (found[0] if found else {}).items() if v is not None}
    return result(context, lake, done, "loss_events", **said, proposed=", ".join(map(str, proposed[:50])) or "none")


@dg.asset(**_COMMON, deps=[checkpoints], metadata={"tables": ["renders"]})
def renders(context: dg.AssetExecutionContext, lake: LakeResource, progress: ProgressResource) -> dg.MaterializeResult:
    """The animations that were asked for: queued ones are drawn, outdated ones drawn again."""
    name = context.partition_key
    with work(context, lake, "rendering of"):
        done = rendering.perform(lake.lake, progress.watcher(context), name)
        rows = lake.lake.sql("SELECT path FROM renders WHERE status = 'done' ORDER BY computed_at", training_run=name)
    paths = [p for p in rows["path"].to_pylist() if p]
    return result(context, lake, done, "renders", files=dg.MetadataValue.text("\n".join(paths) or "none"))
