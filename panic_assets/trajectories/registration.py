"""Registers an experiment: its definition in the lake, its keys in Dagster. It may be repeated at any point."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from panic_assets.asleep import asleep
from panic_assets.trajectories import config, missing
from panic_assets.trajectories.config import Definition

if TYPE_CHECKING:
    import dagster as dg

    from panic_assets.resources import LakeResource
    from panic_assets.trajectories import stages
else:
    stages = asleep("panic_assets.trajectories.stages")


def add(lake: "LakeResource", instance: "dg.DagsterInstance", wanted: Definition) -> tuple[Definition, bool]:
    """Register an experiment. Returns its definition as it is now, and whether something is new."""
    from panic_assets.operations import operation
    from panic_assets.partitions import EMBEDDING_MODEL, EXPERIMENT, add_keys

    operation.finish(operation.stores(lake.lake, instance), missing.LEASE.format(wanted.name))
    found, changed = stages.register(lake.lake, wanted)
    new_key = add_keys(instance, EXPERIMENT, [found.name])
    add_keys(instance, EMBEDDING_MODEL, found.embedding_models)
    stages.plan(lake.lake, found.name)
    return found, changed or bool(new_key)


def dropped(lake: "LakeResource", instance: "dg.DagsterInstance", path: Path) -> Sequence[str]:
    """Register an experiment file. Returns its name if something of it is still to be performed."""
    found, _ = add(lake, instance, config.read(path))
    return [found.name] if any(m.count for m in missing.to_perform(lake.lake, found.name)) else []
