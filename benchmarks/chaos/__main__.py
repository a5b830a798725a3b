"""Kills, starves and spoils everything, and says what survived.

    python -m benchmarks.chaos [--seed 1] [--kills 200] [--files 500] [--opens 2000] [--disks 20] [--servers 10]
                               [--workers 10] [--uis 6] [--only ROW [--number N]] [--readme]

A trial survives when the same command, given again, ends in the same tables, keys and materialised partitions as work that
nobody interrupted, the doctor finds nothing, and nobody saw a traceback. Each trial draws its own random numbers from the
seed, its row and its number: what fails is repeated by --seed, --only and --number, which are printed. It works in a
folder of its own, and leaves no process. The exit code is 1 when anything failed.
"""

import argparse
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks._report import Report, arguments
from benchmarks.chaos import reading, surroundings, works
from benchmarks.chaos.commands import Failed
from benchmarks.chaos.homes import Workspace
from panic_assets import ending

Trial = Callable[[random.Random], None]


@dataclass(frozen=True)
class Row:
    """Trials of one sort. `fault` is what befalls each."""

    name: str
    fault: str
    tried: int
    trial: Trial


def main() -> int:
    options = parsed()
    ending.end_when_told()
    report = Report("chaos")
    report.say(f"Seed {options.seed}.\n\n| what | fault | tried | survived | first failure |\n|---|---|---|---|---|")
    lost = 0
    with tempfile.TemporaryDirectory(prefix="panic-chaos-") as folder, ExitStack() as stack:
        for row in rows(options, Path(folder), stack):
            if not options.only or row.name in options.only:
                lost += run(row, options, report)
    if options.readme:
        report.publish()
    return int(lost > 0)


def run(row: Row, options: argparse.Namespace, report: Report) -> int:
    """Every trial of a row, or the one that is asked for. Returns how many failed."""
    numbers = range(row.tried) if options.number is None else [options.number]
    failures = []
    for number in numbers:
        if sys.stderr.isatty():
            print(f"\r{row.name} {number + 1}/{row.tried}  ", end="", file=sys.stderr, flush=True)
        try:
            row.trial(random.Random(f"{options.seed} {row.name} {number}"))
        except Exception as error:
            if not isinstance(error, Failed):
                traceback.print_exc()
            failures.append(f"number {number}: {type(error).__name__}: {error}")
            print(f"{row.name} {failures[-1]}\n  repeat: {repeat(row, number, options)}", file=sys.stderr, flush=True)
    if numbers:
        survived = f"{len(numbers) - len(failures)} ({1 - len(failures) / len(numbers):.0%})"
        first = failures[0].replace("|", "/").replace("\n", " ")[:200] if failures else ""
        report.say(f"| {row.name} | {row.fault} | {len(numbers):,} | {survived} | {first} |")
    return len(failures)


def repeat(row: Row, number: int, options: argparse.Namespace) -> str:
    """The command that repeats one trial."""
    return f"python -m benchmarks.chaos --seed {options.seed} --only '{row.name}' --number {number}"


def rows(options: argparse.Namespace, root: Path, stack: ExitStack) -> Iterator[Row]:
    """What is tried. Nothing is prepared for a row before its first trial."""
    workspace = Workspace(root)
    works.write_files(root)
    for name, count in zip(works.WORKS, shared(options.kills, len(works.WORKS)), strict=True):
        yield Row(name, "killed", count, works.Trials(workspace, works.WORKS[name]).killed)
    performing = works.Trials(workspace, works.WORKS["perform"])
    yield Row("full disk", "`perform` finds no room", options.disks, partial(surroundings.full_disk, performing))
    yield Row("PostgreSQL", "killed during `perform`", options.servers, partial(surroundings.server_killed, performing))
    served = works.Trials(workspace, replace(performing.work, settings={"PANIC_COMPUTE": "local"}))
    yield Row("worker", "killed during `perform`", options.workers, partial(surroundings.worker_killed, served))
    yield Row("panic ui", "one process killed", options.uis, partial(surroundings.ui_killed, performing))
    opens = reading.Opens(root / "opens")
    stack.callback(opens.close)
    yield Row("catalogue", "opened while it is written", options.opens, opens.trial)
    for name, kind in reading.kinds().items():
        yield Row(name, "spoilt", options.files, partial(reading.spoilt, kind))


def shared(total: int, parts: int) -> list[int]:
    """A number of trials, dealt out evenly."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def parsed() -> argparse.Namespace:
    options = arguments(__doc__ or "")
    options.add_argument("--seed", type=int, default=1, help="other seeds try other moments and other files")
    for name, count, what in (
        ("kills", 200, "kills over all kinds of work"),
        ("files", 500, "spoilt files of every kind"),
        ("opens", 2000, "opens of a catalogue while it is written"),
        ("disks", 20, "disks that fill up"),
        ("servers", 10, "kills of PostgreSQL"),
        ("workers", 10, "kills of a worker process"),
        ("uis", 6, "kills of parts of `panic ui`"),
    ):
        options.add_argument(f"--{name}", type=int, default=count, help=f"{what}; {count} by default")
    options.add_argument("--only", metavar="ROW", action="append", help="only the trials of this row; may be repeated")
    options.add_argument("--number", type=int, metavar="N", help="with --only: only this trial")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
