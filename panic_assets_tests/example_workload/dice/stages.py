"""What is done for a game: pure functions, and what reads from the lake and writes to it. Knows no Dagster."""

import numpy as np

from dice import tables
from dice.games import Game
from panic_assets.errors import UserError
from panic_assets.lake.invariants import all_findings
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done


def thrown(game: Game) -> np.ndarray:
    """Every roll of a game. The same game always gives the same rolls."""
    return np.random.default_rng(game.seed).integers(1, game.sides + 1, size=game.rolls)


def unlikely(shown: np.ndarray, sides: int) -> list[int]:
    """Sides whose share lies more than four standard deviations away from that of a fair die."""
    fair = 1 / sides
    shares = np.bincount(shown, minlength=sides + 1)[1:] / len(shown)
    deviation = np.sqrt(fair * (1 - fair) / len(shown))
    return [int(side) for side in np.flatnonzero(abs(shares - fair) > 4 * deviation) + 1]


def registered(lake: Lake, name: str) -> Game:
    """A game that the lake knows."""
    rows = lake.sql("SELECT * FROM dice_games", game=name).to_pylist()
    if not rows:
        raise UserError(f"there is no game {name!r}")
    return Game(**rows[0])


def register(lake: Lake, game: Game) -> None:
    """Store a game. One that is known cannot change: its rolls would no longer fit it."""
    if lake.manifest("dice_games", game=game.game) is None:
        lake.replace("dice_games", [game.row], game=game.game)
    elif registered(lake, game.game) != game:
        raise UserError(f"the game {game.game!r} is known with other numbers; name the file differently")


def roll(lake: Lake, name: str) -> Done:
    """Roll what was not rolled yet."""
    rolled = set(lake.sql("SELECT roll FROM dice_rolls", game=name)["roll"].to_pylist())
    shown = thrown(registered(lake, name)).tolist()
    new = [{"game": name, "roll": n, "shown": side} for n, side in enumerate(shown) if n not in rolled]
    with lake.writer("dice_rolls", game=name) as out:
        out.add(new)
    return Done(len(new))


def average(lake: Lake, name: str) -> Done:
    """Compute the mean of the rolls and its standard error."""
    shown = lake.sql("SELECT shown FROM dice_rolls", game=name)["shown"].to_numpy()
    error = shown.std(ddof=1) / len(shown) ** 0.5
    row = {"game": name, "rolls": len(shown), "mean": shown.mean(), "error": error}
    lake.replace("dice_means", [row], game=name)
    return Done(1)


def repair(lake: Lake, name: str) -> list[str]:
    """Remove what breaks a rule: it is then missing, and is made again."""
    made = (tables.ROLLS, tables.MEANS)
    broken = [t.name for t in made if all_findings(lake, tables.RULES, t.name, game=name)]
    for table in broken:
        lake.remove(table, game=name)
    return [f"removed its {table}, which are made again" for table in broken]
