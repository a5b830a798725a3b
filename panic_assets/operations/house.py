"""The House: what an operation works on."""

from dataclasses import dataclass

import dagster as dg

from panic_assets.instance.graph import AssetGraph
from panic_assets.lake.lake import Lake


@dataclass(frozen=True)
class House:
    """The lake, Dagster's records, and the asset graph, which says what is made from what."""

    lake: Lake
    instance: dg.DagsterInstance
    graph: AssetGraph
