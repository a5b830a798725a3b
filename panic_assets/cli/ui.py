"""panic ui: starts the Dagster UI and its daemon with the records of PANIC_HOME."""

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets import variables
from panic_assets.asleep import asleep
from panic_assets.cli.output import say
from panic_assets.cli.session import instance
from panic_assets.settings import home

if TYPE_CHECKING:
    from panic_assets.instance import home as dagster_home
else:
    dagster_home = asleep("panic_assets.instance.home")


def ui(
    port: Annotated[int, typer.Option(help="Port of the web page.")] = 3000,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Keep it local unless a proxy guards it.")
    ] = "127.0.0.1",
) -> None:
    """Start the Dagster UI and its daemon. While they run, sensors start jobs, and jobs can be launched in the UI."""

    command = [sys.executable, "-m", "panic_assets.instance.serve", str(port), host]
    # Dagster works in the home: what was named from this folder is named in full.
    given = variables.read()
    named = {"PANIC_EXPERIMENTS": given.experiments, "PANIC_TRAINING": given.training}
    with instance():  # Opened first: the pools have their limits before the daemon starts, and DAGSTER_HOME is set.
        inherited = os.environ | {name: str(path.absolute()) for name, path in named.items() if path}
        say("Dagster is at ", (f"http://{host}:{port}", "bold"), f", its home is {home().root}; Ctrl-C stops it")
        # Told to end, it ends Dagster as well: also where Ctrl-C is ignored, as it is for a background job of a script.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # A group of its own, stopped as one: Dagster's own processes do not all follow when their parent is told to end.
        dagster = subprocess.Popen(
            command,
            cwd=home().root,
            env=inherited,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            dagster.wait()
        except KeyboardInterrupt:
            say("stopping")
        finally:
            _stop(dagster)


def _stop(process: Any) -> None:
    """Tell the whole group to end, and kill what is left after ten seconds."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
