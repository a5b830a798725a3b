"""panic dice: roll dice, and list what was rolled. What only some commands need is imported inside them."""

from pathlib import Path
from typing import Annotated

import typer

from panic_assets.cli.output import table
from panic_assets.cli.session import lake

app = typer.Typer(no_args_is_help=True, help="Roll dice, and list what was rolled.")


@app.command()
def roll(file: Annotated[Path, typer.Argument(help="Game file, *.dice.yaml.")]) -> None:
    """Register a game, roll its dice and compute their mean."""
    from dice import games, registration
    from panic_assets.cli.performing import instance, materialise
    from panic_assets.resources import LakeResource

    name = games.read(file).game
    with instance() as opened:
        registration.add(LakeResource(), opened, file)
        materialise(opened, "roll_dice", name, f"game {name}")
    show(name)


@app.command("list")
def show(game: Annotated[str | None, typer.Argument(help="Name of the game; all when not given.")] = None) -> None:
    """List games and the means of their rolls."""
    where = {"game": game} if game else {}
    rows = lake().sql("SELECT game, rolls, mean, error FROM dice_means ORDER BY game", **where).to_pylist()
    table(["game", "rolls", "mean", "error"], [list(row.values()) for row in rows], title="games of dice")
