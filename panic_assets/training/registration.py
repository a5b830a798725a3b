"""How a training run enters: its row into the lake, its key into Dagster. Safe to repeat at any point."""

from collections.abc import Sequence

import dagster as dg

from panic_assets import partitions
from panic_assets.lake.lake import Lake
from panic_assets.training import runs
from panic_assets.training.watch import Arrival, Watch


def add_keys(instance: dg.DagsterInstance, family: str, names: Sequence[str]) -> list[str]:
    """Give registered runs of a family their partition keys; returns those that are new."""
    return partitions.add_keys(instance, partitions.runs_of(family), names)


def add_watched(lake: Lake, instance: dg.DagsterInstance, watch: Watch, arrivals: Sequence[Arrival]) -> list[str]:
    """Register the runs that arriving checkpoints belong to and nobody knows yet. Returns all their names."""
    names = sorted({a.checkpoint.run for a in arrivals})
    for name in names:
        if runs.find(lake, name) is None:
            config = {"url": watch.url, "pattern": watch.pattern} if watch.pattern else {"url": watch.url}
            new = runs.NewRun(name, watch.family, config, watch.url, status="watched", planned_epochs=watch.epochs)
            runs.register(lake, new)
    add_keys(instance, watch.family, names)
    return names
