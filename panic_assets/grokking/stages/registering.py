"""A run, or an intervention with its control, enters the lake."""

import json
from pathlib import Path

from panic_assets.errors import UserError
from panic_assets.grokking.config import FAMILY, Intervention, RunConfig, child
from panic_assets.lake.lake import Lake
from panic_assets.settings import home
from panic_assets.training import runs
from panic_assets.training.lineage import Parent


def folder(name: str) -> Path:
    """Where a run trained here keeps its files."""
    return home().root / "training" / name


def register(lake: Lake, config: RunConfig, parent: Parent | None = None) -> bool:
    """Register a run to be trained here; True when it is new."""
    return runs.register(
        lake,
        runs.NewRun(
            config.name,
            FAMILY.name,
            config.stored,
            str(folder(config.name)),
            parent,
            config.recipe.data_seed,
            config.sweep,
            planned_epochs=config.recipe.epochs,
            card=config.card,
            budget=config.budget,
        ),
    )


def intervene(lake: Lake, parent: str, epoch: int, what: Intervention, epochs: int | None = None) -> list[str]:
    """Register a child of `parent` from its checkpoint at `epoch`, and the no-op control it is compared with."""
    row = runs.get(lake, parent)
    if row["family"] != FAMILY.name or "recipe" not in json.loads(row["config"]):
        raise UserError(
            f"run {parent!r} was not trained on this installation, so no child can start from it; name a run that was"
        )
    if not what.changes:
        raise UserError(
            "the intervention changes nothing; give a gain, a weight decay, a train fraction or a data seed"
        )
    config = json.loads(row["config"])
    names = []
    for wanted in (what, Intervention()):
        made = child(parent, config, epoch, wanted, epochs)
        register(lake, made, Parent(parent, epoch))
        names.append(made.name)
    return names
