"""The `panic` command. It is thin: everything that it does can be done from Dagster too."""

import atexit
import importlib.metadata
import os
import sys
from typing import Annotated

import typer

from panic_assets.cli import lazy
from panic_assets.cli.output import fail
from panic_assets.errors import UserError
from panic_assets.workload import Command

COMMANDS = (
    Command("doctor", "panic_assets.cli.health:doctor", "Examine everything that is stored, and repair it."),
    Command("export", "panic_assets.cli.data:export_app", "Copy the data for use elsewhere."),
    Command("init", "panic_assets.cli.init:init", "Make a project folder with example experiments."),
    Command("model", "panic_assets.cli.model:app", "List, check, download and measure models."),
    Command("query", "panic_assets.cli.data:query", "Run an SQL query on everything that is stored."),
    Command("ui", "panic_assets.cli.ui:ui", "Start the Dagster UI and its daemon."),
)
"""The platform's own commands; workloads bring theirs."""


def _of_workloads() -> dict[str, Command]:
    from panic_assets.workloads import WORKLOADS  # Late: `panic query` needs none of them.

    own = {command.name for command in COMMANDS}
    found = {command.name: command for workload in WORKLOADS for command in workload.commands}
    hidden = sorted(own & set(found))
    if hidden:
        raise UserError(f"a workload brings the command {hidden[0]!r}, which panic has itself; rename the workload's")
    return found


app = typer.Typer(
    name="panic",
    cls=lazy.group(COMMANDS, _of_workloads),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Study how models move: what loops of text-to-image and image-to-text models do, and how models change while "
    "they are trained. Everything is stored in the folder PANIC_HOME (default: .panic in the current folder). Remove "
    "that folder to start afresh.",
    epilog="Begin with:  panic init my-study",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"panic {importlib.metadata.version('panic-assets')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of `panic` itself. Typer takes the help from `app`."""


def main() -> None:
    """Run the command. A user's mistake is printed as one sentence, without a traceback."""
    try:
        app()
    except UserError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def command() -> None:
    """The command as a process of its own.

    Once everything that must happen at exit has happened, it leaves at once: taking down an interpreter that holds
    both torch and DuckDB takes long and ends in pages of complaints about what was not freed.
    """
    code: str | int | None = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    command()
