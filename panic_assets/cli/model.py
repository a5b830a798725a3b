"""panic model: the models that networks consist of, and those that embed their outputs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets.asleep import asleep
from panic_assets.cli.output import say, table
from panic_assets.errors import UserError
from panic_assets.models import measured
from panic_assets.registry import registry
from panic_assets.workload import Inputs, kind_of
from panic_assets.workloads import WORKLOADS

if TYPE_CHECKING:
    from panic_assets import variables
    from panic_assets.compute import gpus
    from panic_assets.models import bench as measuring
    from panic_assets.models import preflight, weights
else:
    measuring = asleep("panic_assets.models.bench")
    variables = asleep("panic_assets.variables")
    gpus = asleep("panic_assets.compute.gpus")
    weights = asleep("panic_assets.models.weights")
    preflight = asleep("panic_assets.models.preflight")

app = typer.Typer(
    no_args_is_help=True,
    help="List, check, download and measure models. Weights come from the Hugging Face cache (HF_HOME). To use weights "
    "in a folder of your own, set PANIC_MODEL_PATHS to NAME=/folder,NAME=/folder or to a JSON object.",
)


@app.command("list")
def list_() -> None:
    """List every model by role: generators, which networks consist of, embedders, and controls."""
    specs = [registry.get(name) for name in registry.names()]
    table(
        ["name", "role", "input", "output", "repository"],
        [[s.name, s.role, s.input, s.output or f"{s.dimension} numbers", s.repository or "built in"] for s in specs],
    )


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of the model.")]) -> None:
    """Show a model's entry in the registry, what `bench` measured, and where its files are."""

    spec = registry.get(name)
    known = asdict(spec)
    if found := measured.all_measured().get(name):
        known["measured"] = asdict(found)
    if spec.repository:
        known["files"] = weights.local(spec) or f"not on this machine; `panic model fetch {name}` downloads them"
    for key, value in known.items():
        if value not in (None, "", (), False):
            say((f"{key:>15} ", "dim"), str(value))


What = Annotated[
    str, typer.Argument(help="Name of a model, or an experiment file, which stands for all models that it names.")
]


@app.command()
def check(what: What) -> None:
    """Check whether models can run on this machine, and estimate downloads, time and cost.

    It checks weights, licence and memory. The exit code is 2 if a model cannot run."""
    names, items, image_size = _named(what)
    found = _preflight(names, items, image_size)
    _refuse(found)
    table(
        ["model", "placement", "GPU memory (GB)", "to download (GB)", "model time (s)"],
        [[e.name, e.placement, e.vram_gb, e.download_gb, e.seconds] for e in found.estimates],
    )
    for spec in map(registry.get, names):
        if spec.terms:
            say((spec.name, "bold"), f": the licence {spec.licence} says: {', '.join(spec.terms)}")
    say(f"total: {found.download_gb:.1f} GB to download, {found.hours:.2f} hours of model time, cost {found.cost:.2f}")


@app.command()
def fetch(what: What) -> None:
    """Download weights now, in the revisions that the registry names."""
    for name in _named(what)[0]:
        spec = registry.get(name)
        own = weights.overrides().get(spec.name)
        if spec.repository:
            say((name, "bold"), f": {own}, from PANIC_MODEL_PATHS" if own else f": {weights.fetch(spec)}")
        else:
            say((name, "bold"), ": built in, so there is nothing to download")


@app.command()
def bench(name: Annotated[str, typer.Argument(help="Name of the model.")]) -> None:
    """Measure which batch size is fastest, and whether several copies on one GPU are faster. Later loads use the result."""

    spec = registry.get(name)
    cards = gpus.visible_gpus() if spec.device == "gpu" else ()
    if cards:
        held = gpus.lease(1, spec.least_vram_gb, cards, say)  # Nobody else may work on it, or the times mean nothing.
        try:
            found = measuring.measure(name, f"cuda:{[card.identifier for card in cards].index(held.gpus[0])}")
        finally:
            held.release()
    else:
        found = measuring.measure(name, "cpu")
    for key, value in asdict(found).items():
        say((f"{key:>18} ", "dim"), str(value))


def check_models(wanted: Inputs) -> None:
    """Refuse models that cannot all run here. On a Ray cluster they run elsewhere, so nothing is checked."""
    if variables.read().compute != "ray":
        _refuse(_preflight(list(wanted.by_model), dict(wanted.by_model), wanted.image_size))


def _named(what: str) -> tuple[list[str], dict[str, int], int | None]:

    kind = kind_of(Path(what), [drop for workload in WORKLOADS for drop in workload.drops])
    if kind is not None and kind.models is not None:
        found = kind.models(Path(what))
        return list(found.by_model), dict(found.by_model), found.image_size
    return [registry.get(what).asked], {}, None


def _preflight(names: list[str], items: dict[str, int], image_size: int | None) -> Any:
    return preflight.preflight(names, items, image_size)


def _refuse(found: Any) -> None:
    if found.problems:
        raise UserError("; ".join(found.problems))
