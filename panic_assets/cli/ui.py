"""panic ui: the Dagster UI and its daemon, on the right home."""

from typing import Annotated

import typer

from panic_assets.cli.output import say


def ui(
    port: Annotated[int, typer.Option(help="Port of the web page.")] = 3000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; keep it local unless a proxy guards it.")
    ] = "127.0.0.1",
) -> None:
    """Start the Dagster UI and daemon together. Sensors, automation and the launchpad work while it runs."""
    import contextlib
    import subprocess
    import sys

    from panic_assets.cli.session import instance
    from panic_assets.settings import PROJECT, home

    command = [
        *(sys.executable, "-m", "dagster", "dev", "--workspace", str(PROJECT / "workspace.yaml")),
        *("--port", str(port), "--host", host, "--log-level", "warning"),
    ]
    with instance():  # Opened first: the pools have their limits before the daemon starts.
        say("Dagster on ", (f"http://{host}:{port}", "bold"), f", home {home().root}; Ctrl-C stops it")
        with contextlib.suppress(KeyboardInterrupt):
            subprocess.run(command, check=False, cwd=PROJECT)
