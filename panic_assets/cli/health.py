"""panic doctor: finds what is missing, duplicate, mistyped, orphaned or half-written, and repairs it."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from panic_assets.asleep import asleep
from panic_assets.cli.output import say, table, tell_problems
from panic_assets.cli.session import instance, lake, materialise, open_house, refresh
from panic_assets.problems import open_problems

if TYPE_CHECKING:
    from panic_assets.doctor import doctor as medicine
else:
    medicine = asleep("panic_assets.doctor.doctor")


class Shape(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair: delete rows that break a rule, and compute what is missing.")
    ] = False,
    shape: Annotated[Shape, typer.Option("--format", help="text is for people, json for programs.")] = Shape.text,
) -> None:
    """Examine everything that is stored, and with --fix repair it. It also lists open problems, which you must cure
    yourself: files and checkpoints that could not be taken up.

    The exit code is 0 if everything is healthy, and 1 if something is wrong (with --fix: is still wrong)."""
    with instance() as opened:
        house = open_house(opened)
        found = medicine.examine(house)
        if fix and found:
            for done in medicine.repair(house, found):
                if shape is Shape.text:
                    say(("repaired ", "green"), done)
            for job, partition in medicine.recompute(lake()):
                materialise(opened, job, partition, f"{job} of {partition}")
            refresh()
            found = medicine.examine(house)
    waiting = open_problems(lake())
    healthy = all(f.kind == "stale" for f in found)  # Stale results are made again on request: nothing is wrong.
    if shape is Shape.json:
        print(
            json.dumps(
                {"healthy": healthy, "findings": [f.as_dict() for f in found], "problems": waiting},
                indent=1,
                default=str,
            )
        )
    elif found:
        table(["kind", "table or stage", "count", "finding"], [[f.kind, f.table, f.count, f.sentence] for f in found])
        if not fix and not healthy:
            say("repair it with ", ("panic doctor --fix", "bold"))
    if shape is Shape.text:
        tell_problems(waiting)
    if shape is Shape.text and healthy:
        say(("healthy", "bold green"))
    raise typer.Exit(0 if healthy else 1)
