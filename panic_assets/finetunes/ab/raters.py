"""Who votes: one person, one name, however it is typed."""

import re
import unicodedata

from panic_assets.errors import UserError

LONGEST = 80
"""Characters of a name."""
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that show nothing although their category says letter, mark or symbol: fillers and variation selectors."""


def rater_name(typed: str) -> str:
    """The name as it is stored: small letters, one form for each letter, nothing invisible, single spaces.

    >>> rater_name(" Ann\\u200b  LEE ")
    'ann lee'
    """
    name, before = typed, None
    while name != before:  # Each step may make work for another: a letter in its compatible form may have capitals.
        before, name = name, _step(name)
    if not name:
        raise UserError("rater is blank; enter a name, so that each rater is counted once per trial")
    if len(name) > LONGEST:
        raise UserError(f"rater has {len(name)} characters; a name has at most {LONGEST}")
    return name


def _step(name: str) -> str:
    spaced = " ".join(name.split())
    seen = (c for c in _UNSEEN.sub("", spaced) if not unicodedata.category(c).startswith("C"))
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", "".join(seen)).casefold())
