"""Rules for training captions: what is wrong in one, where, and what would be right.

A rule looks at one caption, and at the picture if it is there, and gives findings. A finding that can be repaired
without guessing carries the repaired caption; the others only say what a person should do. `repaired` applies
repairs until none is left, so a second pass finds nothing to repair.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np

from panic_assets.errors import UserError, shown, suggest
from panic_assets.finetunes.captions.prompts import (
    ACCESSORIES,
    EXPRESSIONS,
    FEATURES,
    Labelled,
    expression,
    feature_of,
    labelled,
)
from panic_assets.finetunes.pictures.colour import HEX, Colours, Indexed, apart, ciede2000, hex_of, lab, parse_hex
from panic_assets.finetunes.pictures.regions import LABELS, find_regions

RULES = (
    "prefix",
    "typo",
    "order",
    "palette",
    "background-hex",
    "shared-hex",
    "hex-count",
    "lips",
    "expression",
)
"""In the order in which findings are repaired."""
ORDER = ("hair", "accessories", "eyes", "lips", "expression", "skin", "background", "clothes", "palette", "style")
PREFIXES = (
    "pixel art, 24x24, portrait of bespoke punk lad",
    "pixel art, 24x24, portrait of bespoke punk lady",
)
_TRADE = (
    "art bespoke borders cel chibi dithering hex hoodie lad lady lofi outline palette pixel pixelated pixels punk "
    "punks retro sprite sprites updo voxel beanie headband turtleneck undercut mohawk dreadlocks buzzcut fedora "
    "blonde grey gray colour color multicolored multicoloured gradient checkered chequered lavender teal maroon "
    "magenta cyan turquoise beige hazel tan olive mauve aqua"
)
DOMAIN = frozenset(_TRADE.split())
"""Words of this trade that a general dictionary may not have."""
LONGEST = 10_000
"""Characters of a caption. One of 1 MB took 6 GB of memory and minutes."""
MOST_HEX = 1000
"""Hex codes that a rule may demand of a caption."""
STYLE = frozenset(("sharp", "hard", "retro", "style"))


@dataclass(frozen=True)
class Rules:
    """Which rules apply and how strictly: what a user may configure."""

    rules: tuple[str, ...] = RULES
    least_hex: int = 12
    prefixes: tuple[str, ...] = PREFIXES
    order: tuple[str, ...] = ORDER
    words: frozenset[str] = DOMAIN
    tolerance: float = 2.0
    """CIEDE2000 within which a hex counts as present in the picture."""


def parse_rules(raw: Any) -> Rules:
    """Rules from plain data: `{rules: [...], least_hex: 12, prefixes: [...], order: [...], words: [...], tolerance}`."""
    known = ("rules", "least_hex", "prefixes", "order", "words", "tolerance")
    if raw is None:
        return Rules()
    if not isinstance(raw, dict):
        raise UserError(f"caption rules are {shown(raw)}; they must be a mapping with fields of {', '.join(known)}")
    for key in raw:
        if key not in known:
            raise UserError(
                f"caption rules: unknown field {shown(key)}{suggest(key, known)} (accepted: {', '.join(known)})"
            )
    for key in ("rules", "prefixes", "order", "words"):
        listed = raw.get(key, [])
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise UserError(f"caption {key} is {shown(listed)}; it must be a list of texts")
    if raw.get("prefixes", PREFIXES) == []:
        raise UserError("caption prefixes is an empty list; name at least one prefix, or leave it out")
    for key, allowed in (("rules", RULES), ("order", ORDER)):
        for name in raw.get(key, []):
            if name not in allowed:
                raise UserError(
                    f"caption {key}: unknown {shown(name)}{suggest(name, allowed)} (accepted: {', '.join(allowed)})"
                )
    least = raw.get("least_hex", 12)
    if not isinstance(least, int) or isinstance(least, bool) or not 0 <= least <= MOST_HEX:
        raise UserError(f"caption rules: least_hex is {shown(least)}; it must be a whole number from 0 to {MOST_HEX:,}")
    tolerance = raw.get("tolerance", 2.0)
    if not isinstance(tolerance, int | float) or not 0 <= tolerance <= 100:
        raise UserError(
            f"caption rules: tolerance is {shown(tolerance)}; it must be a CIEDE2000 distance from 0 to 100"
        )
    return Rules(
        rules=tuple(raw.get("rules", RULES)),
        least_hex=least,
        prefixes=tuple(raw.get("prefixes", PREFIXES)),
        order=tuple(raw.get("order", ORDER)),
        words=DOMAIN | {word.lower() for word in raw.get("words", [])},
        tolerance=float(tolerance),
    )


@dataclass(frozen=True)
class Picture:
    """What a caption is checked against: the picture's colours, heaviest first, and each located region's paint."""

    colours: tuple[str, ...]
    lab: np.ndarray
    regions: Mapping[str, str]

    @classmethod
    def of(cls, rgb: np.ndarray) -> "Picture":
        """From uint8 RGB (height, width, 3). A region's paint is the colour most of its pixels hold."""
        picture = Indexed.of(rgb)
        order = np.lexsort((np.arange(len(picture.colours.counts)), -picture.colours.counts))
        found = find_regions(picture)
        regions = {}
        for region in LABELS:
            mask = found.mask(region)
            if mask.any():
                inside = Colours.of(rgb[mask])
                regions[region] = hex_of(inside.rgb[int(np.argmax(inside.counts))])
        return cls(
            tuple(hex_of(picture.colours.rgb[i]) for i in order),
            picture.colours.lab[order].astype(np.float64),
            regions,
        )

    def nearest(self, colour: str) -> tuple[str, float]:
        """The picture's colour nearest to `#rrggbb`, and its CIEDE2000."""
        distance = ciede2000(self.lab, lab(np.array(parse_hex(colour), dtype=np.uint8)))
        best = int(np.argmin(distance))
        return self.colours[best], float(distance[best])


@dataclass(frozen=True)
class Finding:
    """One fault. `line` counts from 1; `repair` is the whole caption repaired, None when a person must decide."""

    rule: str
    line: int
    message: str
    suggestion: str
    repair: str | None = field(default=None, repr=False)


def check(caption: str, rules: Rules, picture: Picture | None = None) -> list[Finding]:
    """Everything the rules find in a caption, rule by rule. `palette` needs the picture. A caption that is too long is not
    looked at: the rules compare its parts with each other."""
    if len(caption) > LONGEST:
        return [
            Finding(
                "length",
                1,
                f"the caption has {len(caption):,} characters; at most {LONGEST:,} are checked",
                "shorten it; models read some hundred words",
            )
        ]
    found: list[Finding] = []
    for rule in RULES:
        if rule in rules.rules:
            found += _RULES[rule](caption, rules, picture)
    return found


def repaired(caption: str, rules: Rules, picture: Picture | None = None) -> str:
    """The caption after all repairs, one at a time, until no finding has one."""
    seen = {caption}
    while True:
        repair = next((f.repair for f in check(caption, rules, picture) if f.repair is not None), None)
        if repair is None or repair in seen:
            return caption
        seen.add(repair)
        caption = repair


def _line(caption: str, at: int) -> int:
    return caption.count("\n", 0, at) + 1


def _prefix(caption: str, rules: Rules, picture: Picture | None) -> Iterable[Finding]:
    if not rules.prefixes or any(_starts(caption, p) for p in rules.prefixes):
        return
    repair = None
    segments = split(caption)
    for prefix in sorted(rules.prefixes, key=len, reverse=True):
        parts = [p.strip() for p in prefix.split(",")]
        head = [s.strip() for s in segments[: len(parts)]]
        if get_close_matches(", ".join(head).lower(), [prefix.lower()], n=1, cutoff=0.85):
            repair = ", ".join([prefix, *(s.strip() for s in segments[len(parts) :])])
            break
    yield Finding(
        "prefix",
        1,
        "the caption does not start with an accepted prefix",
        f"start with {shown(rules.prefixes[0])}",
        repair,
    )


def _starts(caption: str, prefix: str) -> bool:
    return bool(re.match(rf"{re.escape(prefix)}\s*(,|$)", caption))


def split(caption: str) -> list[str]:
    """The comma-separated parts of a caption; commas in parentheses do not separate."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(caption):
        depth = max(0, depth + (letter == "(") - (letter == ")"))
        if letter == "," and depth == 0:
            parts.append(caption[start:at])
            start = at + 1
    return [*parts, caption[start:]]


def _kind(segment: str) -> str | None:
    """Which part of the order a segment belongs to; None for one that stays with the segment before it."""
    lower = segment.lower()
    if "palette" in lower:
        return "palette"
    if expression(segment) and not HEX.search(segment):
        return "expression"
    feature = feature_of(segment)
    if feature in ORDER:
        return feature
    if feature is not None:
        return "accessories"
    return "style" if STYLE & set(re.findall(r"[a-z]+", lower)) else None


def _order(caption: str, rules: Rules, picture: Picture | None) -> Iterable[Finding]:
    prefix = next((p for p in sorted(rules.prefixes, key=len, reverse=True) if _starts(caption, p)), "")
    head = len(prefix.split(",")) if prefix else 0
    segments = split(caption)
    groups: list[tuple[int, list[str]]] = []
    for segment in segments[head:]:
        kind = _kind(segment)
        if kind in rules.order:
            groups.append((rules.order.index(kind), [segment]))
        elif groups:
            groups[-1][1].append(segment)
        else:
            groups.append((-1, [segment]))
    ranks = [rank for rank, _ in groups]
    if ranks == sorted(ranks):
        return
    wrong = next(i for i in range(1, len(ranks)) if ranks[i] < ranks[i - 1])
    first = caption.find(groups[wrong][1][0])
    parts = [p for _, group in sorted(groups, key=lambda g: g[0]) for p in group]
    yield Finding(
        "order",
        _line(caption, first),
        f"{shown(groups[wrong][1][0].strip())} comes after {shown(groups[wrong - 1][1][0].strip())}, which is the wrong order",
        f"use the order {', '.join(rules.order)}",
        ", ".join(p.strip() for p in [*segments[:head], *parts]),
    )


@cache
def _speller() -> Any:
    from spellchecker import SpellChecker

    return SpellChecker(distance=1)


def _typo(caption: str, rules: Rules, picture: Picture | None) -> Iterable[Finding]:
    known = frozenset(rules.words | ACCESSORIES | FEATURES.keys() | EXPRESSIONS.keys())
    speller = _speller()
    for match in re.finditer(r"[A-Za-z]{3,}", HEX.sub(lambda m: " " * len(m.group()), caption)):
        word = match.group().lower()
        if word in known or not speller.unknown([word]):
            continue
        right = _correction(word, known)
        repair = None
        if right:
            styled = right.capitalize() if match.group()[0].isupper() else right
            repair = caption[: match.start()] + styled + caption[match.end() :]
        yield Finding(
            "typo",
            _line(caption, match.start()),
            f"{shown(match.group())} is in no dictionary",
            f"write {shown(right)}" if right else "correct it, or add it to `words` in the rules",
            repair,
        )


@cache
def _correction(word: str, known: frozenset[str]) -> str | None:
    """The likeliest word one slip away; a word of the trade goes first."""
    speller = _speller()
    near = speller.edit_distance_1(word)
    trade = sorted(w for w in near if w in known)
    if trade:
        return str(trade[0])
    candidates = sorted(speller.known(near), key=lambda w: (-speller.word_usage_frequency(w), w))
    return str(candidates[0]) if candidates else None


def _palette(caption: str, rules: Rules, picture: Picture | None) -> Iterable[Finding]:
    if picture is None:
        return
    for match in HEX.finditer(caption):
        nearest, distance = picture.nearest(match.group())
        if distance > rules.tolerance:
            yield Finding(
                "palette",
                _line(caption, match.start()),
                f"{match.group()} is not in the picture",
                f"write {nearest}, the nearest colour of the picture (distance {distance:.1f})",
                caption[: match.start()] + nearest + caption[match.end() :],
            )


def _background(caption: str, rules: Rules, picture: Picture | None) -> Iterable[Finding]:
    labels = [one for one in labelled(caption) if one.feature]
    ground = {one.colour for one in labels if one.feature == "background"}
    for one in labels:
        if one.feature != "background" and one.colour in ground:
            yield Finding(
                "background-hex",
                _line(caption, one.start),
                f"{shown(one.label)} has the same colour as the background, {one.colour}",
                f"give {one.feature} the colour it has in the picture",
                _recoloured(caption, one, ground, picture),
            )


def _shared(caption: str, rules: Rules, picture: Picture | None) -> Iterable[Finding]:
    owners: dict[str, Labelled] = {}
    for one in labelled(caption):
        if one.feature is None:
            continue
        first = owners.setdefault(one.colour, one)
        if first.feature != one.feature:
            taken = {other.colour for other in labelled(caption)}
            wrong = _less_right(first, one, picture)
            yield Finding(
                "shared-hex",
                _line(caption, one.start),
                f"{one.colour} is given for {shown(first.label)} and for {shown(one.label)}",
                f"give {wrong.feature} the colour it has in the picture, or no colour",
                _recoloured(caption, wrong, taken, picture),
            )


def _less_right(first: Labelled, second: Labelled, picture: Picture | None) -> Labelled:
    """Of two features with one colour, the one whose region shows it less; one that cannot be located gives way."""

    def away(one: Labelled) -> float:
        drawn = picture.regions.get(one.feature or "") if picture else None
        if drawn is None:
            return 1000.0
        return apart(drawn, one.colour)

    return first if away(first) > away(second) else second


def _recoloured(caption: str, one: Labelled, taken: Iterable[str], picture: Picture | None) -> str | None:
    """The caption with the feature's region colour, or without its colour where that is taken or unknown.

    None without a picture: nothing then tells which of two features is right.
    """
    if picture is None:
        return None
    drawn = picture.regions.get(one.feature or "")
    replacement = f"{one.label} ({drawn})" if drawn and drawn not in taken else one.label
    return caption[: one.start] + replacement + caption[one.end :]


def _hex_count(caption: str, rules: Rules, picture: Picture | None) -> Iterable[Finding]:
    codes = [c.lower() for c in HEX.findall(caption)]
    if len(codes) >= rules.least_hex:
        return
    lacking = rules.least_hex - len(codes)
    repair = None
    if picture is not None:
        more = [c for c in picture.colours if c not in codes][:lacking]
        if len(more) == lacking:
            repair = _with_palette(caption, more)
    yield Finding(
        "hex-count",
        1,
        f"the caption has {len(codes)} hex codes; it needs at least {rules.least_hex}",
        "add the picture's palette",
        repair,
    )


def _with_palette(caption: str, colours: list[str]) -> str:
    """Adds colours to the caption's `palette:` part, or gives it one before the style tags."""
    segments = [s.strip() for s in split(caption)]
    kinds = [_kind(s) for s in segments]
    if "palette" in kinds:
        at = kinds.index("palette") + 1
        while at < len(segments) and HEX.fullmatch(segments[at]):
            at += 1
        return ", ".join([*segments[:at], *colours, *segments[at:]])
    at = kinds.index("style") if "style" in kinds else len(segments)
    return ", ".join([*segments[:at], f"palette: {', '.join(colours)}", *segments[at:]])


def _lips(caption: str, rules: Rules, picture: Picture | None) -> Iterable[Finding]:
    if not re.search(r"\b(lips?|mouth|lipstick)\b", caption.lower()):
        yield Finding("lips", 1, "the lips are not mentioned", "add lips (#rrggbb)")


def _expression(caption: str, rules: Rules, picture: Picture | None) -> Iterable[Finding]:
    if expression(caption) is None:
        kinds = ", ".join(sorted(set(EXPRESSIONS.values())))
        yield Finding("expression", 1, "the caption names no known expression", f"add one of {kinds}")


_RULES = {
    "prefix": _prefix,
    "typo": _typo,
    "order": _order,
    "palette": _palette,
    "background-hex": _background,
    "shared-hex": _shared,
    "hex-count": _hex_count,
    "lips": _lips,
    "expression": _expression,
}
