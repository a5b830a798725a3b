"""panic init: makes a folder for one's own work, with examples."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from panic_assets.cli.output import say
from panic_assets.errors import UserError

EXAMPLES = Path(__file__).parent.parent / "examples"
"""The originals. experiments/examples/ of the checkout holds copies (a test compares)."""


def init(
    folder: Annotated[Path, typer.Argument(help="The folder to make; default: the current one.")] = Path("."),
) -> None:
    """Make a project folder with example experiments. It overwrites nothing."""
    experiments = folder / "experiments"
    if experiments.exists():
        raise UserError(f"{experiments} already exists; name another folder")
    try:
        shutil.copytree(EXAMPLES, experiments / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror or error}; name another folder") from None
    say(
        "Made ",
        (str(experiments), "bold"),
        ", with examples. `panic ui` registers every file that is put into it. Try:",
    )
    if folder.resolve() != Path.cwd():
        say(f"  cd {folder}")
    say("  panic experiment perform experiments/examples/first.yaml")
    say("  panic cluster recompute")
    say("  panic analyse first")
