"""Errors meant for people: one sentence that says what is wrong and what would be accepted."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input, refused at the door. The message is shown as it is, without a traceback."""

    exit_code = 2


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when something known is near `name` (case ignored), else the empty string."""
    by_lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
