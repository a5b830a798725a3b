"""The graph of the dice workload: games -> rolls -> means. Thin: what is done stands in stages.py."""

from functools import partial

import dagster as dg

from dice import stages, tables
from dice.workload import GAME
from panic_assets import partitions
from panic_assets.progress import Done
from panic_assets.steps import Outcome, Stage, outcome, stage

_of_game = partial(stage, space=partitions.of(GAME), lease=GAME.lease, group="dice", kinds={"parquet", "numpy"})


@_of_game(tables.GAMES)
def dice_games(here: Stage) -> Outcome:
    """A registered game of dice: how many sides, how many rolls, which seed."""
    game = stages.registered(here.lake, here.key)
    return outcome(Done(), sides=game.sides, rolls=game.rolls)


@_of_game(tables.ROLLS, deps=[dice_games])
def dice_rolls(here: Stage) -> Outcome:
    """Every roll of a game. Only rolls that are missing are rolled."""
    return outcome(stages.roll(here.lake, here.key))


@_of_game(tables.MEANS, deps=[dice_rolls])
def dice_means(here: Stage) -> Outcome:
    """The mean of a game's rolls and its standard error."""
    done = stages.average(here.lake, here.key)
    row = here.lake.sql("SELECT mean, error FROM dice_means", game=here.key).to_pylist()[0]
    return outcome(done, **row)


ASSETS = [dice_games, dice_rolls, dice_means]
JOBS = [dg.define_asset_job("roll_dice", ASSETS, description="Rolls the dice of a game and computes their mean.")]
