"""The code server, Dagster's webserver behind our front door, and the daemon: what `panic ui` starts.

This is what `dagster dev` does, which cannot be told to start another webserver than the stock one.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer
import yaml
from dagster import DagsterInstance
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers

from panic_assets import ending
from panic_assets.instance.home import WORKSPACE_YAML
from panic_assets.instance.storage import require_known_dagster

_LOOKS_SECONDS = 1.0


def serve(port: int, host: str, parent: int) -> None:
    """Serve until interrupted, or until the process `parent` is gone. DAGSTER_HOME names the instance."""
    ending.follow(parent, os.getpid())
    ending.end_when_told()
    require_known_dagster()
    os.environ["DAGSTER_IS_DEV_CLI"] = "1"  # What `dagster dev` tells its children.
    configure_loggers(log_level="WARNING")
    try:
        with (
            DagsterInstance.get() as instance,
            ProxyServerManager(instance, WorkspaceFileTarget([str(WORKSPACE_YAML)]), "WARNING") as servers,
            tempfile.TemporaryDirectory() as folder,
        ):
            # The webserver and the daemon share one code server.
            workspace = Path(folder) / "workspace.yaml"
            workspace.write_text(yaml.safe_dump({"load_from": servers.get_code_server_specs()}), encoding="utf-8")
            reached = [f"--host={host}", f"--port={port}", f"--parent={os.getpid()}"]
            _carry_on(
                _start("panic_assets.instance.webserver", f"--workspace={workspace}", *reached),
                _start("dagster._daemon", "run", "--log-level=warning", f"--workspace={workspace}"),
            )
    except KeyboardInterrupt:
        pass


def _start(module: str, *options: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", module, *options])


def _carry_on(*children: "subprocess.Popen[bytes]") -> None:
    """Waits until one of them has ended, which none does untold; then ends the others."""
    try:
        while all(child.poll() is None for child in children):
            time.sleep(_LOOKS_SECONDS)
        sys.exit(1)
    finally:
        for child in children:
            child.send_signal(signal.SIGINT)
        for child in children:
            child.wait()


if __name__ == "__main__":
    typer.run(serve)
