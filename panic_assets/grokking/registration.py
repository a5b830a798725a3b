"""How the runs of a grokking file enter: their rows into the lake, their keys into Dagster."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from panic_assets.grokking import config, stages
from panic_assets.grokking.config import FAMILY
from panic_assets.resources import LakeResource
from panic_assets.training import registration, runs


def dropped(lake: LakeResource, instance: dg.DagsterInstance, path: Path) -> Sequence[str]:
    """Register the runs of a file; the names of those that are not trained to their end."""
    made = config.read(path)
    for run in made:
        stages.register(lake.lake, run)
    names = [run.name for run in made]
    registration.add_keys(instance, FAMILY.name, names)
    return [name for name in names if runs.get(lake.lake, name)["status"] != "finished"]
