"""The jobs of the grokking family: train, analyse, sweep, intervene, add checkpoints, draw animations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from panic_assets.asleep import asleep
from panic_assets.compute.choose import side_by_side
from panic_assets.compute.protocol import Compute
from panic_assets.errors import UserError
from panic_assets.grokking import config
from panic_assets.grokking.config import FAMILY, Intervention
from panic_assets.grokking.learning.recipe import Gain
from panic_assets.instance.home import GPU_POOL
from panic_assets.progress import Logged
from panic_assets.reading import parse_yaml
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
    description="Trains a registered run to its end and analyses its checkpoints. A run that was stopped carries on.",
)
analyse_job = dg.define_asset_job(
    "analyse_grokking",
    dg.AssetSelection.assets(RUNS, *ANALYSIS),
    description="Analyses the checkpoints of a training run that were not analysed yet, and describes again how it ended.",
)
render_job = dg.define_asset_job(
    "render_grokking",
    dg.AssetSelection.assets("grokking_renders"),
    description="Draws the animations of a training run that are queued or were interrupted, or that a new checkpoint has "
    "outdated.",
)


class RenderConfig(dg.Config):
    """An animation to draw. Views and options are those of `panic grokking animate`; `format` is html, gif or mp4."""

    run: str
    view: str
    options: dict[str, str] = {}  # noqa: RUF012
    format: str = "html"


class SweepConfig(dg.Config):
    """The text of a grokking file, as in experiments/examples/quick.grokking."""

    definition: str


class InterveneConfig(dg.Config):
    """What a child run changes, and the `epoch` of the parent's checkpoint that it starts from.

    A gain is [frequency, factor, first epoch, last epoch, epochs of the ramp], as in [17, 0.5, 1000, 2000, 100]. What is
    not given stays as it is in the parent."""

    parent: str
    epoch: int
    gains: list[list[float]] = []  # noqa: RUF012
    weight_decay: float | None = None
    train_fraction: float | None = None
    data_seed: int | None = None
    epochs: int | None = None


class AddConfig(dg.Config):
    """Epochs whose checkpoints are added to a finished training run. Default: those that the planner proposes."""

    run: str
    epochs: list[int] = []  # noqa: RUF012


@dg.op(pool=GPU_POOL, tags=on(GPU)["op_tags"])
def sweep_grokking_op(
    context: dg.OpExecutionContext,
    config: SweepConfig,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
) -> None:
    """Registers every combination of prime, seed and data seed, and trains them all; as one batch where that is faster."""
    from panic_assets.grokking.config import parse

    _try(lambda: _train(context, lake, compute, [_add(context, lake, c) for c in parse(_yaml(config.definition))]))


@dg.op(pool=GPU_POOL, tags=on(GPU)["op_tags"])
def intervene_grokking_op(
    context: dg.OpExecutionContext,
    config: InterveneConfig,
    lake: LakeResource,
    compute: dg.ResourceParam[Compute],
) -> None:
    """Registers the child run and its control, which changes nothing, and trains both."""
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
    """Trains stretches of a run again with the same seeds, to keep more epochs. Older checkpoints stay as they are."""

    def act() -> None:
        extra = config.epochs or stages.proposal(lake.lake, config.run)
        with lake.lake.lease(f"training of {config.run}", 30):
            done = stages.add_checkpoints(lake.lake, compute, Logged(context), config.run, extra)
        context.log.info(f"{done.rows} checkpoints were added to training run {config.run}")
        _told(context, lake, [ANALYSIS[0]], [config.run])

    _try(act)


@dg.op
def animate_grokking_op(context: dg.OpExecutionContext, config: RenderConfig, lake: LakeResource) -> None:
    """Queues an animation, and draws everything that is queued for the training run."""

    def act() -> None:
        renders.request(lake.lake, config.run, config.view, config.options, config.format)
        with lake.lake.lease(f"rendering of {config.run}", 600):
            done = renders.perform(lake.lake, Logged(context), config.run)
        for problem in done.problems:
            context.log.warning(problem)
        _told(context, lake, ["grokking_renders"], [config.run])

    _try(act)


@dg.job(description="Draws an animation of a training run. It is drawn again when the run's checkpoints change.")
def animate_grokking() -> None:
    animate_grokking_op()


@dg.job(description="Trains every combination of prime, seed and data seed in a grokking file; on a GPU as one batch.")
def sweep_grokking() -> None:
    sweep_grokking_op()


@dg.job(
    description="Trains a child run from a checkpoint of another run, with something changed; and a control, with nothing "
    "changed."
)
def intervene_grokking() -> None:
    intervene_grokking_op()


@dg.job(description="Adds checkpoints to a finished training run: trains stretches of it again, with the same seeds.")
def add_grokking_checkpoints() -> None:
    add_checkpoints_op()


def _yaml(text: str) -> dict[str, Any]:
    raw = parse_yaml(text, "the definition")
    if not isinstance(raw, dict):
        raise UserError(f"the definition is not a mapping; it must be one with fields of {', '.join(config.FIELDS)}")
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
