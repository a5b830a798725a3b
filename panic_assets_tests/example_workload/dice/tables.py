"""The tables of the dice workload, as data."""

from panic_assets.lake.schema import Column, Reference, Table

GAMES = Table(
    name="dice_games",
    doc="One row per game of dice: what its file says.",
    columns=(
        Column("game", "string", "Name of the game: that of its file."),
        Column("sides", "int32", "How many sides the die has."),
        Column("rolls", "int32", "How often it is rolled."),
        Column("seed", "int32", "Where the random numbers start: the same seed gives the same rolls."),
    ),
    key=("game",),
    partitioned_by=("game",),
)
ROLLS = Table(
    name="dice_rolls",
    doc="One row per roll of a die.",
    columns=(
        Column("game", "string", "Name of the game."),
        Column("roll", "int32", "Number of the roll, from 0."),
        Column("shown", "int32", "The side that came up, from 1."),
    ),
    key=("game", "roll"),
    partitioned_by=("game",),
    references=(Reference(("game",), "dice_games", ("game",)),),
)
MEANS = Table(
    name="dice_means",
    doc="One row per game: the mean of its rolls.",
    columns=(
        Column("game", "string", "Name of the game."),
        Column("rolls", "int32", "How many rolls the mean was computed from."),
        Column("mean", "float64", "Mean of the sides that came up."),
        Column("error", "float64", "Standard error of the mean."),
    ),
    key=("game",),
    partitioned_by=("game",),
    references=(Reference(("game",), "dice_games", ("game",)),),
)
TABLES = (GAMES, ROLLS, MEANS)
VIEWS = {
    "dice_surprises": (
        "One row per game: how many standard errors its mean lies away from that of a fair die.",
        "SELECT game, mean, (sides + 1) / 2 AS expected, (mean - expected) / error AS surprise "
        "FROM dice_means JOIN dice_games USING (game)",
    ),
}
RULES = {
    "rolls_show_a_side": (
        "dice_rolls",
        "invalid",
        "rolls that show a side which their die does not have",
        "SELECT count(*) FROM dice_rolls JOIN dice_games USING (game) WHERE shown NOT BETWEEN 1 AND sides",
    ),
}
"""Name -> table, kind of finding, what is counted, and the query that counts it."""
