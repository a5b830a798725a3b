"""How a game enters: its row into the lake, its key into Dagster. Safe to repeat at any point."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from dice import games, stages
from dice.workload import GAME
from panic_assets import partitions
from panic_assets.resources import LakeResource


def add(lake: LakeResource, instance: dg.DagsterInstance, path: Path) -> Sequence[str]:
    """Register a game file. Returns the game's name when something of it is left to do."""
    game = games.read(path)
    stages.register(lake.lake, game)
    partitions.add_keys(instance, partitions.of(GAME), [game.game])
    return [game.game] if any(m.count for m in GAME.left(lake.lake, game.game)) else []
