"""The House: what an operation works on."""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from panic_assets.errors import UserError
from panic_assets.instance.graph import AssetGraph
from panic_assets.lake.lake import Lake
from panic_assets.workload import Space


@dataclass(frozen=True)
class House:
    """The lake, Dagster's records, the asset graph, which says what is made from what, and the spaces of its keys."""

    lake: Lake
    instance: dg.DagsterInstance
    graph: AssetGraph
    spaces: Mapping[str, Space]

    def space(self, name: str) -> Space:
        """The partition space of that name: an uninstalled workload takes its own away."""
        if name not in self.spaces:
            raise UserError(f"no installed workload has the partition space {name!r}; install the one that has it")
        return self.spaces[name]
