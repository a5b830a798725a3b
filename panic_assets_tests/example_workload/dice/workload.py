"""What the dice workload brings. Every command reads this file, so it imports neither Dagster nor numpy at its top."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dice import missing
from dice.games import SUFFIX
from dice.tables import RULES, TABLES, VIEWS
from panic_assets.lake.lake import Lake
from panic_assets.workload import Command, Drop, Graph, Space, Workload

if TYPE_CHECKING:
    import dagster as dg

    from panic_assets.resources import LakeResource


def _graph() -> Graph:
    from dice import assets, checks

    return Graph(
        assets=assets.ASSETS,
        checks=checks.CHECKS,
        jobs=assets.JOBS,
    )


def _repair(lake: Lake, key: str) -> Iterator[str]:
    from dice import stages

    yield from stages.repair(lake, key)


def _register(lake: "LakeResource", instance: "dg.DagsterInstance", path: Path) -> Sequence[str]:
    from dice import registration

    return registration.add(lake, instance, path)


GAME = Space(
    name="dice_game",
    noun="game",
    table="dice_games",
    column="game",
    missing=missing.OF_GAME,
    makes="roll_dice",
    repair=_repair,
    lease="dice game {}",
)

WORKLOAD = Workload(
    name="dice",
    purpose="Are these dice fair?",
    tables=TABLES,
    views=VIEWS,
    rules=RULES,
    graph=_graph,
    spaces=(GAME,),
    drops=(Drop((SUFFIX,), "game of dice", _register, job="roll_dice"),),
    commands=(Command("dice", "dice.commands:app", "Roll dice, and list what was rolled."),),
)
