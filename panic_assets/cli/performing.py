"""Runs jobs of the graph in this process, with progress bars. Imports Dagster: commands that only read do not."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from panic_assets import variables
from panic_assets.cli.output import console, fail, say
from panic_assets.cli.session import lake
from panic_assets.errors import UserError
from panic_assets.instance import embedded_postgres
from panic_assets.instance.home import open_instance
from panic_assets.instance.launcher import fail_dead_runs, process_tags
from panic_assets.instance.storage import POSTGRES_URL
from panic_assets.progress import Advance, Watcher
from panic_assets.resources import ProgressResource
from panic_assets.settings import home

EMBEDDED = "embedded"
HOURS = 3600.0
SHOWN = 5
"""How many of the problems of a stage are printed; the UI shows all."""


class Interrupted(UserError):
    """Ctrl-C was pressed during a job. Nothing that is stored is lost."""

    exit_code = 130


def _terminal() -> Console:
    """The terminal itself: while a stage runs, Dagster redirects standard output into the log of its step."""
    if not console.is_terminal:
        return console
    return Console(file=os.fdopen(os.dup(sys.stdout.fileno()), "w"), highlight=False, force_terminal=True)


_screen = _terminal()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.1f}/s", style="cyan")


class Bars:
    """Stages as progress bars with rate and time left, or as plain lines where the output is not a terminal."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._bars = Progress(*columns, console=_screen, speed_estimate_period=60)

    @contextlib.contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """A bar of `total` units. A bar with nothing to do is not shown."""
        if not total:
            yield lambda _: None
            return
        if not _screen.is_terminal:
            began = time.monotonic()
            yield lambda _: None
            say(f"{name}: {total:,} {unit} in {time.monotonic() - began:.1f} s")
            return
        task = self._bars.add_task(name, total=total)
        with self._bars:
            yield lambda count: self._bars.advance(task, count)
            self._bars.refresh()
        self._bars.remove_task(task)


class TerminalProgress(ProgressResource):
    """The progress resource of the command line."""

    def watcher(self, context: dg.AssetExecutionContext) -> Watcher:
        """Bars instead of observations."""
        return Bars()


@contextlib.contextmanager
def instance() -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of PANIC_HOME; PANIC_POSTGRES_URL=embedded runs a private PostgreSQL in the home meanwhile."""
    with contextlib.ExitStack() as stack:
        if variables.read().postgres_url == EMBEDDED:
            os.environ[POSTGRES_URL] = stack.enter_context(embedded_postgres.server(home().root / "postgres"))
            stack.callback(os.environ.__setitem__, POSTGRES_URL, EMBEDDED)
        yield stack.enter_context(open_instance(home()))


def materialise(
    opened: dg.DagsterInstance, job: str, partition: str | None, what: str, run_config: dict[str, Any] | None = None
) -> None:
    """Run a job of the graph here, for one partition. Dagster records it like any other run.

    Waits while another process runs the same; raises UserError with the sentence of the first failure.
    """
    from panic_assets.definitions import build

    fail_dead_runs(opened)
    with lake().lease(f"performing {what}", 1000 * HOURS, lambda message: say((f"{message}; waiting\n", "yellow"))):
        try:
            result = (
                build({"progress": TerminalProgress()})
                .resolve_job_def(job)
                .execute_in_process(
                    instance=opened,
                    partition_key=partition,
                    tags=process_tags(),
                    raise_on_error=False,
                    run_config={**(run_config or {}), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                )
            )
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            raise _interrupted(what) from None
    if not result.success:
        failures = [e.step_failure_data for e in result.all_events if e.is_step_failure]
        if any(f.error_source and f.error_source.name == "INTERRUPT" for f in failures):
            raise _interrupted(what)
        raise UserError(_failure(result.all_events))
    for event in result.all_events:
        made = event.materialization.metadata if event.is_step_materialization else {}
        problems = str(made["problems"].value).splitlines() if "problems" in made else []
        for problem in problems[:SHOWN]:
            say(("note: ", "yellow"), problem)
        if len(problems) > SHOWN:
            say(("note: ", "yellow"), f"there are {len(problems) - SHOWN:,} more problems; `panic ui` shows them")
        idle = made.get("idle share")
        if idle and isinstance(idle.value, float):
            busy = f"models were at work {1 - idle.value:.0%} of the time; `panic ui` shows this for each batch"
            say((f"{event.step_key}: ", "dim"), busy)
    for check in result.get_asset_check_evaluations():
        if not check.passed:
            sentence = f"check {check.check_name} of {check.asset_key.to_user_string()}: {check.description}"
            if check.severity == dg.AssetCheckSeverity.WARN:
                say(("note: ", "yellow"), sentence)
            else:
                fail(sentence)


def _interrupted(what: str) -> Interrupted:
    return Interrupted(f"interrupted; nothing stored is lost, and the same command carries on with {what}")


def _failure(events: Sequence[dg.DagsterEvent]) -> str:
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            if data.error is not None:
                return f"{event.step_key} failed: {_root(data.error)}"
    for event in events:
        error = getattr(event.event_specific_data, "error", None)
        if error is not None:  # Before any step: a resource that could not be made.
            return _root(error)
    return "the job failed; `panic ui` shows its log"


def _root(error: Any) -> str:
    """The first cause, in one line; of an error meant for people, the sentence alone."""
    while error.cause is not None:
        error = error.cause
    text = " ".join(error.message.split())
    return text.removeprefix("panic_assets.errors.UserError: ")
