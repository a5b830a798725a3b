"""How the command line looks: tables, sizes, one-sentence errors. Text from data is never read as markup."""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Where nobody's terminal sets a width, tables get one that holds their columns.
console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
errors = Console(stderr=True, highlight=False)


def fail(sentence: str) -> None:
    """Say what is wrong, on standard error."""
    errors.print(Text.assemble(("Error: ", "bold red"), sentence))


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
    """Print rows under headings; numbers to the right. Says so when there are none."""
    shown = [list(row) for row in rows]
    if not shown:
        say((f"{title}: " if title else "", "bold"), "none")
        return
    out = Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=False)
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) or row[index] is None for row in shown)
        out.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in shown:
        out.add_row(*(Text(f"{v:,}") if isinstance(v, int) and not isinstance(v, bool) else cell(v) for v in row))
    console.print(out)


def size(count: float) -> str:
    """Bytes for people: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def confirmed(question: str, yes: bool) -> bool:
    """Ask, unless told yes already. Without a terminal to ask on, the answer is no."""
    if yes:
        return True
    if not sys.stdin.isatty():
        say("not asked, because there is no terminal to ask on: give --yes to go ahead")
        return False
    return console.input(Text(f"{question} [y/N] ")).strip().lower() in ("y", "yes")
