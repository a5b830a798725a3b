"""How the command line looks: tables, sizes, errors of one sentence. Text from data is never read as markup."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Where nobody's terminal sets a width, tables get one that holds their columns.
console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
errors = Console(stderr=True, highlight=False)
BORDERS = 3
"""Characters that a column takes besides its text: a line and two spaces."""


def fail(sentence: str) -> None:
    """Say what is wrong, on standard error."""
    errors.print(Text.assemble(("Error: ", "bold red"), sentence))


def note(sentence: str) -> None:
    """Say what is worth knowing, on standard error: standard output holds the answer alone."""
    errors.print(Text.assemble(("note: ", "yellow"), sentence))


def say(*parts: str | tuple[str, str]) -> None:
    """Print text; a part may be (text, style). Nothing in it is taken for markup."""
    console.print(Text.assemble(*parts))


def cell(value: Any) -> Text:
    """One value as it is shown: bytes and vectors by their size, times to the second."""
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, bytes):
        return Text(f"<{size(len(value))}>", style="dim")
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    if isinstance(value, datetime):
        return Text(f"{value:%Y-%m-%d %H:%M:%S}")
    if isinstance(value, list | tuple):
        if len(value) > 8 and isinstance(value[0], float):
            return Text(f"[{value[0]:.3g}, {value[1]:.3g}, ... {len(value)} numbers]", style="dim")
        return Text(", ".join(map(str, value)))
    return Text(str(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print rows under headings, with numbers on the right. Prints `none` if there are no rows.

    A single row that does not fit, and rows whose headings alone do not, are printed as lines of name and value.
    """
    given = [list(row) for row in rows]
    shown = [[_shown(value) for value in row] for row in given]
    if not shown:
        say((f"{title}: " if title else "", "bold"), "none")
        return
    out = Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=False)
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) or row[index] is None for row in given)
        out.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in shown:
        out.add_row(*row)
    needed = (
        [len(c) for c in columns]
        if len(shown) > 1
        else [max(len(c), len(v)) for c, v in zip(columns, shown[0], strict=True)]
    )
    if sum(needed) + BORDERS * len(columns) + 1 > console.width:
        _transposed(columns, shown, title)
    else:
        console.print(out)


def tell_problems(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print open problems (`problems.open_problems`); nothing if there are none."""
    lines = [[row["item"], row["problem"], row["since"]] for row in rows]
    if lines:
        table(["file or checkpoint", "what is wrong", "since"], lines, title="open problems")


def _transposed(columns: Sequence[str], rows: Sequence[Sequence[Text]], title: str | None) -> None:
    """Each row as lines of name and value; several rows are numbered."""
    if title:
        say((title, "bold"))
    for number, row in enumerate(rows, start=1):
        if len(rows) > 1:
            say((f"row {number}", "dim"))
        lines = Table.grid(padding=(0, 2))
        lines.add_column(style="bold")
        lines.add_column(overflow="fold")
        for column, value in zip(columns, row, strict=True):
            lines.add_row(Text(column), value)
        console.print(lines)


def _shown(value: Any) -> Text:
    return Text(f"{value:,}") if isinstance(value, int) and not isinstance(value, bool) else cell(value)


def size(count: float) -> str:
    """Bytes for people: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def age(seconds: float) -> str:
    """A time span for people: 3 minutes."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def confirmed(question: str, yes: bool) -> bool:
    """Ask, unless told yes already. Without a terminal to ask on, the answer is no."""
    if yes:
        return True
    if not sys.stdin.isatty():
        say("nothing was changed, because there is no terminal to ask on; give --yes to go ahead")
        return False
    return console.input(Text(f"{question} [y/N] ")).strip().lower() in ("y", "yes")
