"""panic ui: starts the Dagster UI and its daemon with the records of PANIC_HOME."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets import ending, locks, variables
from panic_assets.asleep import asleep
from panic_assets.cli.output import say
from panic_assets.cli.session import instance
from panic_assets.errors import UserError
from panic_assets.settings import home

if TYPE_CHECKING:
    from panic_assets.web import listening
else:
    listening = asleep("panic_assets.web.listening")


def ui(
    port: Annotated[int, typer.Option(help="Port of the web page.")] = 3000,
    host: Annotated[
        str, typer.Option(help="Address to listen on. One that other machines can reach needs PANIC_WEB_PASSWORD.")
    ] = "127.0.0.1",
) -> None:
    """Start the Dagster UI and its daemon. While they run, sensors start jobs, and jobs can be launched in the UI."""
    listening.rules(host)  # Refused before Dagster starts, which takes a while.
    url = listening.url(host, port)
    # Dagster works in the home: what was named from this folder is named in full.
    given = variables.read()
    named = {"PANIC_EXPERIMENTS": given.experiments, "PANIC_TRAINING": given.training}
    command = [sys.executable, "-m", "panic_assets.instance.serve", str(port), host, str(os.getpid())]
    with _alone(url):
        listening.listen(host, port).close()
        ending.end_when_told()
        with instance():  # Opened first: the pools have their limits before the daemon starts, and DAGSTER_HOME is set.
            inherited = os.environ | {name: str(path.absolute()) for name, path in named.items() if path}
            say("Dagster is at ", (url, "bold"), f", its home is {home().root}; Ctrl-C stops it")
            # A group of its own, stopped as one: Dagster's processes do not all follow when their parent is told to end.
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
                return
            finally:
                _stop(dagster)
    raise UserError("Dagster has ended by itself; what it wrote above says why")


@contextlib.contextmanager
def _alone(url: str) -> Iterator[None]:
    """Refuses to start a second time on one home: two daemons would start every job twice."""
    path = home().locks / "ui"
    lock = locks.take(path)
    if lock is None:
        held = locks.holder(path)
        pid, where = held.get("pid", "unknown"), held.get("host")
        elsewhere = f" on {where}" if where and where != socket.gethostname() else ""
        raise UserError(
            f"`panic ui` runs on this home already: process {pid}{elsewhere} has served {held.get('url', 'a page')} since "
            f"{held.get('since', 'some time ago')}; open that page, or stop it with `kill {pid}`"
        )
    lock.sign(locks.note(url=url))
    try:
        yield
    finally:
        lock.release()


def _stop(process: Any) -> None:
    """Tell the whole group to end, and kill what is left after ten seconds, or when told again."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(timeout=10)
