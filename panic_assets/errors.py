"""Errors meant for people: one sentence that says what is wrong and what would be accepted."""

import builtins
import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

LONGEST_SHOWN = 160
"""Characters of a person's value that a message prints. What was written may be a million characters long."""


class UserError(Exception):
    """Bad input, refused at the door. The message is shown as it is, without a traceback."""

    exit_code = 2


class _Brief(reprlib.Repr):
    """Like `repr`, but it looks at no more of a value than it prints."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = 4
        self.maxstring = self.maxother = LONGEST_SHOWN

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to print numbers of more than 4,300 digits, and takes long for fewer."""
        return builtins.repr(x) if abs(x) < 10**40 else "a number of more than 40 digits"


_brief = _Brief()


def cut(text: str) -> str:
    """A text of any length as a message prints it: on one line, and without its middle if it is long."""
    if len(text) > 2 * LONGEST_SHOWN:
        text = f"{text[:LONGEST_SHOWN]}{text[-LONGEST_SHOWN:]}"
    return _short(" ".join(text.split()))


def shown(value: Any) -> str:
    """A value that a person gave as a message prints it: `repr`, cut to a readable length."""
    return _short(_brief.repr(value))


def _short(text: str) -> str:
    end = LONGEST_SHOWN // 3
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - end - 3]}...{text[-end:]}"


def suggest(name: Any, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when something known is near `name` (case ignored), else the empty string."""
    if not isinstance(name, str) or len(name) > LONGEST_SHOWN:
        return ""
    by_lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
