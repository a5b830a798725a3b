"""A small house with everything that a deletion meets: rows of the key, rows elsewhere that name it, and a partition of
another space that is made from all keys. Games have rounds and pairs; the standings of a league are made from all games.
"""

import dagster as dg

from panic_assets.instance.graph import graph_of
from panic_assets.lake.lake import Lake
from panic_assets.lake.schema import Column, Reference, Table
from panic_assets.operations.house import House
from panic_assets.settings import home
from panic_assets.workload import Space

GAME = dg.DynamicPartitionsDefinition(name="game")
LEAGUE = dg.DynamicPartitionsDefinition(name="league")

_GAME = Column("game", "string", "Name of the game.")
_ROUND = Column("round", "int32", "Number of the round.")
TABLES = {
    table.name: table
    for table in (
        Table("games", "Games.", (_GAME,), ("game",), ("game",)),
        Table("rounds", "Rounds of games.", (_GAME, _ROUND), ("game", "round"), ("game",)),
        Table(
            "pairs",
            "Games that are alike.",
            (_GAME, Column("like", "string", "The other game.")),
            ("game", "like"),
            ("game",),
            (Reference(("like",), "games", ("game",), anywhere=True),),
        ),
        Table(
            "standings",
            "Where each game stands in a league.",
            (Column("league", "string", "Name of the league."), _GAME),
            ("league", "game"),
            ("league",),
        ),
    )
}


@dg.asset(partitions_def=GAME, metadata={"tables": ["games"]})
def games() -> None: ...


@dg.asset(partitions_def=GAME, deps=[games], metadata={"tables": ["rounds", "pairs"]})
def rounds() -> None: ...


@dg.asset(
    partitions_def=LEAGUE,
    deps=[dg.AssetDep(rounds, partition_mapping=dg.AllPartitionMapping())],
    metadata={"tables": ["standings"]},
)
def standings() -> None: ...


SPACES = {
    "game": Space("game", "game", "games", {}, lambda lake, key: iter(()), "game {}", None),
    "league": Space("league", "league", "standings", {}, lambda lake, key: iter(()), "league {}", None),
}
GRAPH = graph_of([games, rounds, standings])


def house(instance: dg.DagsterInstance) -> House:
    """The house in PANIC_HOME."""
    return House(Lake(home().lake, TABLES), instance, GRAPH, SPACES)


def play(opened: House, *names: str) -> None:
    """Games with rows in every table, and their records in Dagster."""
    lake, instance = opened.lake, opened.instance
    for name in names:
        lake.replace("games", [{"game": name}], game=name)
        lake.replace("rounds", [{"game": name, "round": n} for n in range(3)], game=name)
        lake.replace("pairs", [{"game": name, "like": other} for other in names], game=name)
        instance.add_dynamic_partitions("game", [name])
        for asset in (games, rounds):
            instance.report_runless_asset_event(dg.AssetMaterialization(asset.key, partition=name))
    lake.replace("standings", [{"league": "first", "game": name} for name in names], league="first")
    instance.add_dynamic_partitions("league", ["first"])
    instance.report_runless_asset_event(dg.AssetMaterialization(standings.key, partition="first"))
