"""What a prompt or a caption says: its comma-separated parts, labelled colours, accessories and expression.

`bright green background (#00ff00)` is a labelled colour: the label is the text since the last comma or closing
parenthesis, its feature the first known noun in the label. Nothing is assumed of what is not written.
"""

import re
from dataclasses import dataclass

_LABELLED = re.compile(r"(?:^|[,)])([^,()]*?)\(\s*(#[0-9a-fA-F]{6})\s*\)")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")

ACCESSORIES = frozenset((
    "hat", "cap", "beanie", "crown", "tiara", "helmet", "hood", "headband", "bandana", "turban",
    "headphones", "glasses", "sunglasses", "shades", "goggles", "eyepatch", "mask", "earring", "earrings",
    "necklace", "chain", "pendant", "choker", "bow", "ribbon", "flower", "feather", "scarf", "tie",
    "bowtie", "pipe", "cigarette", "beard", "mustache", "moustache", "stubble", "piercing", "mole",
    "freckles",
))  # fmt: skip
HEADWEAR = frozenset(("hat", "cap", "beanie", "crown", "tiara", "helmet", "hood", "turban"))
"""Accessories that cover hair."""
FEATURES = {
    "background": "background",
    "hair": "hair",
    "ponytail": "hair",
    "braids": "hair",
    "afro": "hair",
    "skin": "skin",
    "face": "skin",
    "eyes": "eyes",
    "eye": "eyes",
    "lips": "lips",
    "mouth": "lips",
    "lipstick": "lips",
    "shirt": "clothes",
    "suit": "clothes",
    "jacket": "clothes",
    "hoodie": "clothes",
    "dress": "clothes",
    "coat": "clothes",
    "sweater": "clothes",
    "turtleneck": "clothes",
    "top": "clothes",
    "clothing": "clothes",
    "clothes": "clothes",
}
"""Nouns that name a feature of a portrait; accessories name themselves."""
EXPRESSIONS = {
    "neutral": "neutral",
    "smile": "smile",
    "smiling": "smile",
    "grin": "smile",
    "grinning": "smile",
    "happy": "smile",
    "frown": "frown",
    "frowning": "frown",
    "sad": "frown",
    "angry": "angry",
    "scowl": "angry",
    "surprised": "surprised",
    "laughing": "laugh",
    "smirk": "smirk",
}
"""Words that classify an expression."""


@dataclass(frozen=True)
class Labelled:
    """One `label (#rrggbb)`: the label, its feature (None when no known noun is in it), colour, and where.

    `start` and `end` span the text from the label to the closing parenthesis; the colour is lower case.
    """

    label: str
    feature: str | None
    colour: str
    start: int
    end: int


def words(text: str) -> list[str]:
    """Words in lower case, without digits and hex codes."""
    return _WORD.findall(re.sub(r"#[0-9a-fA-F]+", " ", text.lower()))


def feature_of(label: str) -> str | None:
    """The feature a label speaks of: its first word that is a known feature or accessory."""
    for word in words(label):
        if word in FEATURES:
            return FEATURES[word]
        if word in ACCESSORIES:
            return word
    return None


def labelled(text: str) -> list[Labelled]:
    """Every `label (#rrggbb)` of a text, in order."""
    found = []
    for match in _LABELLED.finditer(text):
        label = match.group(1).strip()
        start = match.start(1) + len(match.group(1)) - len(match.group(1).lstrip())
        found.append(Labelled(label, feature_of(label), match.group(2).lower(), start, match.end()))
    return found


def colours(text: str) -> dict[str, str]:
    """Feature -> `#rrggbb` as the text says; the first wins when a feature is coloured twice."""
    said: dict[str, str] = {}
    for one in labelled(text):
        if one.feature is not None:
            said.setdefault(one.feature, one.colour)
    return said


def accessories(text: str) -> tuple[str, ...]:
    """Accessories named in a text, in order, each once."""
    return tuple(dict.fromkeys(w for w in words(text) if w in ACCESSORIES))


def expression(text: str) -> str | None:
    """The expression a text classifies, or None."""
    return next((EXPRESSIONS[w] for w in words(text) if w in EXPRESSIONS), None)
