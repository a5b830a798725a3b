"""Every asset of every workload, and the graph they make together."""

from functools import cache

import dagster as dg

from panic_assets.finetunes import assets as finetunes
from panic_assets.grokking import assets as grokking
from panic_assets.instance.graph import AssetGraph, graph_of
from panic_assets.training import assets as training
from panic_assets.trajectories import analyses
from panic_assets.trajectories import assets as trajectories

ASSETS = [
    asset
    for asset in dg.load_assets_from_modules([trajectories, analyses, training, grokking, finetunes])
    if isinstance(asset, dg.AssetsDefinition)
]


@cache
def asset_graph() -> AssetGraph:
    """Who depends on whom: what a deletion follows."""
    return graph_of(ASSETS)
