"""What can be asked of the grokking family from Dagster: train, analyse, sweep, intervene, add checkpoints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml

from panic_assets.asleep import asleep
from panic_assets.compute.choose import side_by_side
from panic_assets.compute.protocol import Compute
from panic_assets.errors import UserError
from panic_assets.grokking import config
from panic_assets.grokking.config import FAMILY, Intervention
from panic_assets.grokking.learning.recipe import Gain
from panic_assets.instance.home import GPU_POOL
from panic_assets.progress import Logged
from panic_assets.resources import LakeResource
from panic_assets.steps import GPU, on
from panic_assets.training import names, registration, settings

if TYPE_CHECKING:
    from panic_assets.grokking import stages
    from panic_assets.grokking.pictures import renders
else:
    stages = asleep("panic_assets.grokking.stages")
    renders = asleep("panic_assets.grokking.pictures.renders")

ANALYSIS = (
    names.asset(FAMILY.name, "checkpoints"),
    "grokking_measurements",
    "grokking_frequencies",
    "grokking_trajectories",
    "grokking_outcomes",
    names.asset(FAMILY.name, "convergence"),
    names.asset(FAMILY.name, "costs"),
    names.asset(FAMILY.name, "notifications"),
)
RUNS = names.asset(FAMILY.name, "training_runs")
train_job = dg.define_asset_job(
    "train_grokking",
    dg.AssetSelection.assets(RUNS, "grokking_training", *ANALYSIS, "grokking_renders"),
    description="Trains a registered run to its end and analyses its checkpoints; goes on where it was stopped.",
)
analyse_job = dg.define_asset_job(
    "analyse_grokking",
    dg.AssetSelection.assets(RUNS, *ANALYSIS),
    description="Analyses what was not analysed of a run's checkpoints, and concludes again.",
)
render_job = dg.define_asset_job(
    "render_grokking",
    dg.AssetSelection.assets("grokking_renders"),
    description="Draws the animations of a run that are queued, interrupted or outdated.",
)


class RenderConfig(dg.Config):
    """An animation to draw: view and options as in `panic grokking animate`."""

    run: str
    view: str
    options: dict[str, str] = {}  # noqa: RUF012
    format: str = "html"


class SweepConfig(dg.Config):
    """A grokking file, as its text."""

    definition: str


class InterveneConfig(dg.Config):
    """What to change from a parent's checkpoint on. A gain is [frequency, factor, from epoch, until epoch, ramp]."""

    parent: str
    epoch: int
    gains: list[list[float]] = []  # noqa: RUF012
    weight_decay: float | None = None
    train_fraction: float | None = None
    data_seed: int | None = None
    epochs: int | None = None


class AddConfig(dg.Config):
    """Epochs to add to a finished run; those the planner proposes when none are named."""

    run: str
    epochs: list[int] = []  # noqa: RUF012


@dg.op(pool=GPU_POOL, tags=on(GPU)["op_tags"])
def sweep_grokking_op(
    context: dg.OpExecutionContext,
    config: SweepConfig,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
) -> None:
    """Register every prime x seed x data seed of the definition and train them all, batched where that wins."""
    from panic_assets.grokking.config import parse

    _try(lambda: _train(context, lake, compute, [_add(context, lake, c) for c in parse(_yaml(config.definition))]))


@dg.op(pool=GPU_POOL, tags=on(GPU)["op_tags"])
def intervene_grokking_op(
    context: dg.OpExecutionContext,
    config: InterveneConfig,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
) -> None:
    """Register the child run and its no-op control, and train both."""
    what = Intervention(
        tuple(Gain(int(k), factor, int(a), int(b), int(r)) for k, factor, a, b, r in config.gains),
        config.weight_decay,
        config.train_fraction,
        config.data_seed,
    )

    def act() -> None:
        children = stages.intervene(lake.lake, config.parent, config.epoch, what, config.epochs)
        registration.add_keys(context.instance, FAMILY.name, children)
        _train(context, lake, compute, children)

    _try(act)


@dg.op(pool=GPU_POOL, tags=on(GPU)["op_tags"])
def add_checkpoints_op(
    context: dg.OpExecutionContext, config: AddConfig, lake: LakeResource, compute: dg.ResourceParam[Compute]
) -> None:
    """Train a stretch again with the same seeds to keep more epochs; nothing old is touched."""

    def act() -> None:
        extra = config.epochs or stages.proposal(lake.lake, config.run)
        with lake.lake.lease(f"training of {config.run}", 30):
            done = stages.add_checkpoints(lake.lake, compute, Logged(context), config.run, extra)
        context.log.info(f"{done.rows} checkpoints added")
        _told(context, lake, [ANALYSIS[0]], [config.run])

    _try(act)


@dg.op
def animate_grokking_op(context: dg.OpExecutionContext, config: RenderConfig, lake: LakeResource) -> None:
    """Queue an animation and draw what is queued for the run."""

    def act() -> None:
        renders.request(lake.lake, config.run, config.view, config.options, config.format)
        with lake.lake.lease(f"rendering of {config.run}", 600):
            done = renders.perform(lake.lake, Logged(context), config.run)
        for problem in done.problems:
            context.log.warning(problem)
        _told(context, lake, ["grokking_renders"], [config.run])

    _try(act)


@dg.job(description="Draw an animation of a run: queued, drawn once, and drawn again when its checkpoints change.")
def animate_grokking() -> None:
    animate_grokking_op()


@dg.job(description="Train every prime x seed x data seed of a definition, in one step; batched on a GPU.")
def sweep_grokking() -> None:
    sweep_grokking_op()


@dg.job(description="Change something from a run's checkpoint on: trains the child and its no-op control.")
def intervene_grokking() -> None:
    intervene_grokking_op()


@dg.job(description="Keep more epochs of a finished run: trains a stretch of it again, with the same seeds.")
def add_grokking_checkpoints() -> None:
    add_checkpoints_op()


def _yaml(text: str) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"the definition is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError("the definition must be a mapping; see experiments/examples/")
    return raw


def _add(context: dg.OpExecutionContext, lake: LakeResource, run: config.RunConfig) -> str:
    stages.register(lake.lake, run)
    registration.add_keys(context.instance, FAMILY.name, [run.name])
    return run.name


def _train(context: dg.OpExecutionContext, lake: LakeResource, compute: Compute, of: Sequence[str]) -> None:
    with side_by_side(compute, len(of)) as chosen:
        done = stages.train(lake.lake, chosen, Logged(context), lake.refresher(), settings.read(), of)
    for problem in done.problems:
        context.log.warning(problem)
    _told(context, lake, [RUNS, "grokking_training", ANALYSIS[0]], of)


def _told(context: dg.OpExecutionContext, lake: LakeResource, assets: Sequence[str], of: Sequence[str]) -> None:
    lake.refresh()
    for name in of:
        for asset in assets:
            context.log_event(dg.AssetMaterialization(asset, partition=name))


def _try(act: Any) -> None:
    try:
        act()
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


JOBS = [
    train_job,
    analyse_job,
    render_job,
    animate_grokking,
    sweep_grokking,
    intervene_grokking,
    add_grokking_checkpoints,
]
