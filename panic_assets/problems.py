"""Open problems: files and checkpoints that could not be taken up, each in a sentence, with the time since when.

Whoever meets problems reports all that are open, every time. What is stored is the difference: a problem that is known
keeps its time and writes nothing, and one that is not reported any more is gone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from panic_assets.errors import UserError, cut
from panic_assets.lake.lake import Lake
from panic_assets.lake.schema import Column, Table

Row = Mapping[str, Any]

PROBLEMS = Table(
    name="problems",
    doc="One row per open problem: a file or checkpoint that could not be taken up, while everything else went on. A row "
    "disappears when its problem is cured.",
    columns=(
        Column("source", "string", "Sensor or asset that met the problem."),
        Column("item", "string", "File, folder or checkpoint that the problem is about."),
        Column(
            "subject",
            "string",
            "Experiment or training run that it belongs to; null if it is not known.",
            nullable=True,
        ),
        Column("problem", "string", "What is wrong, and what can be done."),
        Column("since", "timestamp", "When the problem was first met."),
    ),
    key=("source", "item"),
    partitioned_by=("source",),
    hot=True,
    owned=False,
)


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with one item."""

    item: str
    problem: str
    subject: str | None = None


def sentence(error: Exception) -> str:
    """What went wrong, for people. Only a UserError was written for them."""
    return str(error) if isinstance(error, UserError) else cut(f"{type(error).__name__}: {error}")


@contextmanager
def isolated(met: list[Problem], item: str, subject: str | None = None) -> Iterator[None]:
    """Around the work on one item: if it fails, its problem is added to `met`, and the others go on."""
    try:
        yield
    except Exception as error:  # An item can be broken in ways that nobody has thought of.
        met.append(Problem(item, sentence(error), subject))


def merged(known: Iterable[Row], source: str, met: Iterable[Problem], now: datetime) -> list[dict[str, Any]]:
    """The rows of a source after a report. A problem that is known keeps its time."""
    since = {(row["item"], row["subject"], row["problem"]): row["since"] for row in known}
    rows = {}
    for problem in met:
        item, told = _storable(problem.item), _storable(problem.problem)
        first = since.get((item, problem.subject, told), now)
        rows[item] = {"source": source, "item": item, "subject": problem.subject, "problem": told, "since": first}
    return [rows[item] for item in sorted(rows)]


def report(
    lake: Lake, source: str, met: Iterable[Problem], about: Callable[[Row], bool] = lambda row: True
) -> list[Problem]:
    """Store the open problems of a source, and return those that are new. `about` says which of the stored ones this
    report is about: the others stay."""
    with lake.lease(f"problems of {source}", wait_seconds=30):
        known = lake.rows("SELECT * FROM problems ORDER BY item", source=source)
        kept = [row for row in known if not about(row)]
        now = datetime.now(UTC)
        rows = merged(known, source, [*(Problem(r["item"], r["problem"], r["subject"]) for r in kept), *met], now)
        if rows != known:
            lake.replace(PROBLEMS.name, rows, source=source)
    return [Problem(row["item"], row["problem"], row["subject"]) for row in rows if row["since"] == now]


def open_problems(lake: Lake, subject: str | None = None, source: str | None = None) -> list[dict[str, Any]]:
    """Open problems, the oldest first; of one subject or one source if given."""
    where = {} if source is None else {"source": source}
    rows = lake.rows("SELECT * FROM problems ORDER BY since, source, item", **where)
    return [row for row in rows if subject is None or row["subject"] == subject]


def _storable(text: str) -> str:
    """File names on disk may hold bytes that are no characters."""
    return text.encode("utf-8", "backslashreplace").decode()
