"""Partition spaces as Dagster knows them, and how a key is added. What a space is otherwise, its workload says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from panic_assets.asleep import asleep
from panic_assets.workload import Space

if TYPE_CHECKING:
    from panic_assets.instance import stock
else:
    stock = asleep("panic_assets.instance.stock")

EXPERIMENT = dg.DynamicPartitionsDefinition(name="experiment")
"""One key per experiment: its name."""

EMBEDDING_MODEL = dg.DynamicPartitionsDefinition(name="embedding_model")
"""One key per embedding model that some experiment names: its name in the registry."""


def of(space: Space) -> dg.DynamicPartitionsDefinition:
    """A workload's space as Dagster knows it: what its assets are partitioned by."""
    return dg.DynamicPartitionsDefinition(name=space.name)


def runs_of(family: str) -> dg.DynamicPartitionsDefinition:
    """The space of a family's training runs: one key per run, its name. Checkpoints are rows: an epoch is seconds of work.

    Each family has its own, so that a run of one family is never a missing partition of another.
    """
    return dg.DynamicPartitionsDefinition(name=f"{family}_run")


def name_of(space: dg.PartitionsDefinition | None) -> str:
    """The name of a space."""
    assert isinstance(space, dg.DynamicPartitionsDefinition)
    assert space.name
    return space.name


def add_keys(instance: dg.DagsterInstance, space: dg.DynamicPartitionsDefinition, keys: Sequence[str]) -> list[str]:
    """Add keys that are not there yet; returns those that were new."""
    name = name_of(space)
    known = set(instance.get_dynamic_partitions(name))
    new = [key for key in keys if key not in known]
    if new:
        instance.add_dynamic_partitions(name, new)
        stock.warn_once(instance)
    return new
