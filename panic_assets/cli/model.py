"""panic model: what can go into a network or embed its outputs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets.asleep import asleep
from panic_assets.cli.output import say, table
from panic_assets.errors import UserError
from panic_assets.models import measured
from panic_assets.registry import registry
from panic_assets.trajectories import config

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
    help="The models the platform knows. Weights come from the Hugging Face cache (HF_HOME); PANIC_MODEL_PATHS points "
    "names at folders of your own instead: NAME=/folder,NAME=/folder or a JSON object.",
)


@app.command("list")
def list_() -> None:
    """Every model by role: generators for networks, embedders, and controls."""
    specs = [registry.get(name) for name in registry.names()]
    table(
        ["name", "role", "takes", "gives", "repository"],
        [[s.name, s.role, s.input, s.output or f"{s.dimension} numbers", s.repository or "built in"] for s in specs],
    )


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of the model.")]) -> None:
    """Everything the registry says of one model, what `bench` measured, and where its files are."""
    spec = registry.get(name)
    known = asdict(spec)
    if found := measured.all_measured().get(name):
        known["measured"] = asdict(found)
    if spec.repository:
        known["files"] = weights.local(spec) or f"not here; `panic model fetch {name}` downloads them"
    for key, value in known.items():
        if value not in (None, "", (), False):
            say((f"{key:>15} ", "dim"), str(value))


What = Annotated[str, typer.Argument(help="Name of a model, or an experiment file: all the models it names.")]


@app.command()
def check(what: What) -> None:
    """Whether models can run here: weights, licence, memory; and what that will take. Exit code 2 when not."""
    names, items, image_size = _named(what)
    found = _preflight(names, items, image_size)
    _refuse(found)
    table(
        ["model", "placement", "GPU memory, GB", "to download, GB", "model time, s"],
        [[e.name, e.placement, e.vram_gb, e.download_gb, e.seconds] for e in found.estimates],
    )
    say(f"{found.download_gb:.1f} GB to download, {found.hours:.2f} hours of model time, cost {found.cost:.2f}")


@app.command()
def fetch(what: What) -> None:
    """Download weights ahead of time, at the revisions the registry pins."""
    for name in _named(what)[0]:
        spec = registry.get(name)
        own = weights.overrides().get(name)
        if spec.repository:
            say((name, "bold"), f": {own}, by PANIC_MODEL_PATHS" if own else f": {weights.fetch(spec)}")
        else:
            say((name, "bold"), ": built in, nothing to fetch")


@app.command()
def bench(name: Annotated[str, typer.Argument(help="Name of the model.")]) -> None:
    """Measure the best batch size, and whether several copies on one card are faster; later loads use it."""
    spec = registry.get(name)
    cards = gpus.visible_gpus() if spec.device == "gpu" else ()
    if cards:
        held = gpus.lease(1, spec.least_vram_gb, cards, say)  # nobody else at work on it: times would mean nothing
        try:
            found = measuring.measure(name, f"cuda:{[card.identifier for card in cards].index(held.gpus[0])}")
        finally:
            held.release()
    else:
        found = measuring.measure(name, "cpu")
    for key, value in asdict(found).items():
        say((f"{key:>18} ", "dim"), str(value))


def check_models(wanted: Any) -> None:
    """Refuse an experiment whose models cannot all run here. On a Ray cluster they run elsewhere: not asked."""
    if variables.read().compute != "ray":
        _refuse(_preflight(*_models_of(wanted)))


def _named(what: str) -> tuple[list[str], dict[str, int], int | None]:
    if Path(what).suffix.lower() in config.SUFFIXES:
        return _models_of(config.read(Path(what)))
    return [registry.get(what).name], {}, None


def _models_of(wanted: Any) -> tuple[list[str], dict[str, int], int | None]:
    """An experiment's models, and about how many inputs each will get."""
    runs = len(wanted.prompts) * len(wanted.seeds)
    items: dict[str, int] = {}
    for network in wanted.networks:
        for model in network:
            items[model] = items.get(model, 0) + runs * wanted.max_length // len(network)
    outputs = sum(items.values()) // 2
    items |= dict.fromkeys(wanted.embedding_models, outputs)
    return list(items), items, wanted.image_size


def _preflight(names: list[str], items: dict[str, int], image_size: int | None) -> Any:
    return preflight.preflight(names, items, image_size)


def _refuse(found: Any) -> None:
    if found.problems:
        raise UserError("; ".join(found.problems))
