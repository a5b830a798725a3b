"""The `panic` command. Thin: everything it does can be done from Dagster too."""

import atexit
import importlib.metadata
import os
import sys
from typing import Annotated

import typer

from panic_assets.cli import (
    analyse,
    cluster,
    data,
    experiment,
    finetune,
    grokking,
    health,
    init,
    model,
    run,
    training,
    ui,
)
from panic_assets.cli.output import fail
from panic_assets.errors import UserError

app = typer.Typer(
    name="panic",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Study how models move: trajectories of text-to-image-to-text loops, trained models over their checkpoints. "
    "Everything is stored in PANIC_HOME (default: .panic in the current folder); removing it starts afresh.",
    epilog="Begin with:  panic init my-study",
)
app.add_typer(experiment.app, name="experiment")
app.add_typer(run.app, name="run")
app.add_typer(model.app, name="model")
app.add_typer(cluster.app, name="cluster")
app.add_typer(training.app, name="training")
app.add_typer(grokking.app, name="grokking")
app.add_typer(finetune.app, name="finetune")
app.add_typer(data.export_app, name="export")
app.command("init")(init.init)
app.command("analyse")(analyse.analyse)
app.command("compare")(analyse.compare)
app.command("doctor")(health.doctor)
app.command("query")(data.query)
app.command("ui")(ui.ui)


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
    """Options of `panic` itself; typer takes its help from above."""


def main() -> None:
    """Run the command; what a user did wrong is said in one sentence, without a traceback."""
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
