"""The measures of one picture: colour of regions, purity, number of tones, quality as pixel art."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from panic_assets.errors import UserError
from panic_assets.finetunes.captions.prompts import HEADWEAR
from panic_assets.finetunes.pictures import pixelart
from panic_assets.finetunes.pictures.colour import (
    SAME,
    Colours,
    Dominant,
    Indexed,
    Tones,
    apart,
    decode,
    dominant,
    share_within,
    snapped,
    spread,
    tones,
)
from panic_assets.finetunes.pictures.regions import LABELS, find_regions

MEASURED, NOT_SPECIFIED, NOT_FOUND, CANNOT_TELL = "measured", "not specified", "not found", "cannot tell"
_SNAP = 32
_TOUCHING = (
    ("hair", "skin"),
    ("hair", "background"),
    ("hair", "clothes"),
    ("skin", "clothes"),
    ("skin", "background"),
    ("clothes", "background"),
)
_LEAST = 4
"""A region of fewer pixels than this was not drawn."""


@dataclass(frozen=True)
class RegionScore:
    """One region of one picture.

    score: share of the region's pixels within CIEDE2000 10 of the expected colour, as 0..100; 0 when the region
    was not drawn (`not found`); None when no colour was asked for (`not specified`) or the region cannot be
    told from another (`cannot tell`). curve[t]: the same share, 0..1, within t = 0..20. area: share of the picture.
    purity: 100 minus the region's `spread` (RMS CIELAB distance from its mean colour), at least 0.
    """

    region: str
    status: str
    expected: str | None
    score: float | None
    curve: tuple[float, ...]
    drawn: str | None
    area: float
    tones: Tones | None
    spread: float | None
    colours: int | None

    @property
    def purity(self) -> float | None:
        """100 for flat paint, falling by one for each unit of spread."""
        return None if self.spread is None else max(0.0, 100.0 - self.spread)


@dataclass(frozen=True)
class Measures:
    """All measures of one picture. `colour` is the mean score of the regions asked for (None when none was)."""

    colour: float | None
    regions: tuple[RegionScore, ...]
    palette: tuple[Dominant, ...]
    pixel_art: pixelart.PixelArt


def score_map(colour: float) -> float:
    """A 0..100 colour score as the studio's 0..10.

    90..100 -> 9..10, 70 up to (not including) 90 -> 7..8, below 70 -> 0..7, each linear; so 70 is 7.0, 89.99 is
    8.0, and 90 is 9.0: the step at 90 is part of the studio's scale.
    """
    if not 0.0 <= colour <= 100.0:
        raise ValueError(f"a colour score of {colour} is outside 0..100")
    if colour >= 90:
        return 9 + (colour - 90) / 10
    if colour >= 70:
        return 7 + (colour - 70) / 20
    return colour / 10


def _region(region: str, own: Colours, expected: str | None, locatable: bool, total: int) -> RegionScore:
    area = own.pixels / total
    if not locatable:
        status = CANNOT_TELL if expected else NOT_SPECIFIED
        return RegionScore(region, status, expected, None, (), None, area, None, None, None)
    if own.pixels < _LEAST:
        status = NOT_FOUND if expected else NOT_SPECIFIED
        return RegionScore(region, status, expected, 0.0 if expected else None, (), None, area, None, None, None)
    curve = share_within(own, expected) if expected else np.empty(0)
    return RegionScore(
        region=region,
        status=MEASURED if expected else NOT_SPECIFIED,
        expected=expected,
        score=100 * float(curve[int(SAME)]) if expected else None,
        curve=tuple(float(v) for v in curve),
        drawn=dominant(own, most=1)[0].hex,
        area=area,
        tones=tones(own),
        spread=spread(own),
        colours=len(snapped(own, _SNAP)),
    )


def inseparable(expected: Mapping[str, str]) -> set[str]:
    """Regions asked for in the same paint (CIEDE2000 10) as one that they touch: no mask can part the two.

    The background is not among them: it is told by the border of the picture.
    """
    alike = (pair for pair in _TOUCHING if all(r in expected for r in pair) and apart(*map(expected.get, pair)) <= SAME)
    return {region for pair in alike for region in pair} - {"background"}


def measure(rgb: np.ndarray, expected: Mapping[str, str], accessories: Collection[str] = ()) -> Measures:
    """Measures a portrait, uint8 RGB (height, width, 3), against `expected` (region -> `#rrggbb`).

    Only the regions that can be located (background, skin, hair, clothes) are scored. Hair under an expected hat
    is `cannot tell`, and so are regions that are `inseparable`.
    """
    from panic_assets.finetunes.pictures import counting  # Late: compiled code is asleep until pictures are measured.

    picture = Indexed.of(rgb)
    found = find_regions(picture)
    kinds = len(picture.colours.counts)
    held = counting.by_label(found.labels, picture.index, max(LABELS.values()) + 1, kinds)
    scores, alike = [], inseparable(expected)
    for region, label in LABELS.items():
        locatable = (found.face or region == "background") and region not in alike
        if region == "hair" and HEADWEAR & set(accessories):
            locatable = False
        own = picture.colours.only(held[label])
        scores.append(_region(region, own, expected.get(region), locatable, found.labels.size))
    asked = [s.score for s in scores if s.score is not None]
    return Measures(
        colour=float(np.mean(asked)) if asked else None,
        regions=tuple(scores),
        palette=tuple(dominant(picture.colours)),
        pixel_art=pixelart.quality(picture),
    )


def content_hash(data: bytes) -> str:
    """SHA-256 of some bytes, in hex: what names a picture."""
    return hashlib.sha256(data).hexdigest()


def measure_image(data: bytes, named: str, expected: Mapping[str, str], accessories: Collection[str] = ()) -> Measures:
    """Measures encoded picture `data`, which must be the one named by the content hash `named`.

    Refuses any other picture: a number must never be stored for a picture it was not measured on.
    """
    actual = content_hash(data)
    if actual != named:
        raise UserError(
            f"the image has hash {actual[:12]}..., but its row names {named[:12]}...; "
            "measurements are stored only for the image they were made on, so draw or read it again"
        )
    return measure(decode(data), expected, accessories)
