"""Where things are in a portrait: background, face, hair and clothes as masks, found from the picture itself.

Nothing here knows what colours were asked for: a pink background where green was wanted is still found as the
background, and then scores nothing. Boxes are shares of the picture, so 24x24 and 512x512 are cut alike.
"""

from dataclasses import dataclass

import numpy as np

from panic_assets.finetunes.pictures.colour import SAME, Indexed, ciede2000

OTHER, BACKGROUND, SKIN, HAIR, CLOTHES = range(5)
LABELS = {"background": BACKGROUND, "skin": SKIN, "hair": HAIR, "clothes": CLOTHES}
"""Regions that can be located, and their label in a mask."""

_BORDER_SHARE = 0.2
"""A colour of the border belongs to the background when it holds this share of it (so checkered ones work)."""
_FIELD = 0.1
"""Less subject than this in the middle of the picture: there is no portrait, all of it is background."""
_DETAIL = 128
"""Masks of a larger picture are found on every k-th pixel, about this many a side, and enlarged.

The seam between two regions, k pixels either side, then belongs to neither, because its colours are blended.
"""
_EVERY_WAY = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Regions:
    """Labels per pixel, uint8 (height, width), and whether a face was found (hair and clothes need one)."""

    labels: np.ndarray
    face: bool

    def mask(self, region: str) -> np.ndarray:
        """Boolean mask (height, width) of a region named in LABELS."""
        return self.labels == LABELS[region]


def _box(mask: np.ndarray, rows: tuple[float, float], columns: tuple[float, float]) -> np.ndarray:
    """The part of an array between shares of its height and of its width; never empty."""
    height, width = mask.shape
    top, left = int(rows[0] * height), int(columns[0] * width)
    return mask[top : max(top + 1, round(rows[1] * height)), left : max(left + 1, round(columns[1] * width))]


@dataclass(frozen=True)
class _Paints:
    """A picture in coarse colours: Lab of each, and which one every pixel holds (height, width)."""

    lab: np.ndarray
    held: np.ndarray

    def of(self, pixels: np.ndarray, share: float) -> np.ndarray:
        """Which pixels have one of the heaviest paints of some `pixels`: boolean (height, width).

        A paint is a colour with all within SAME of it; it is heavy when it holds at least `share` of `pixels`. The
        heaviest counts even when it holds less.
        """
        weights = np.bincount(pixels.ravel(), minlength=len(self.lab))
        heavy = np.zeros(len(self.lab), dtype=bool)
        while weights.any():
            taken = ciede2000(self.lab, self.lab[np.argmax(weights)]) <= SAME
            if heavy.any() and weights[taken].sum() < share * pixels.size:
                break
            heavy |= taken
            weights[taken] = 0
        return heavy[self.held]


def _background(paints: _Paints) -> np.ndarray:
    """Border flood fill: what is connected to the picture's edge through the border's own paints.

    The paints are taken from the top row and the upper half of the sides, where no shoulders are.
    """
    from scipy import ndimage

    held = paints.held
    half = max(1, held.shape[0] // 2)
    border = np.concatenate([held[0], held[:half, 0], held[:half, -1]])
    components, count = ndimage.label(paints.of(border, _BORDER_SHARE))
    touching = np.zeros(count + 1, dtype=bool)
    for edge in (components[0], components[-1], components[:, 0], components[:, -1]):
        touching[edge] = True
    touching[0] = False
    return touching[components]


def _subject(background: np.ndarray) -> np.ndarray:
    """The foreground that reaches the middle of the picture; specks elsewhere are flaws of the background."""
    from scipy import ndimage

    foreground = ~background
    middle = _box(foreground, (0.35, 0.75), (0.3, 0.7))
    if middle.mean() < _FIELD:
        return np.zeros_like(foreground)
    components, count = ndimage.label(foreground, _EVERY_WAY)
    if count == 1:
        return foreground
    kept = np.zeros(count + 1, dtype=bool)
    kept[_box(components, (0.25, 1.0), (0.25, 0.75))] = True
    kept[0] = False
    return kept[components]


def _face(paints: _Paints, subject: np.ndarray) -> np.ndarray:
    """The connected patch of the paint most common where a face's middle is; eyes and mouth are not in it."""
    from scipy import ndimage

    centre, inside = (_box(a, (0.45, 0.7), (0.35, 0.65)) for a in (paints.held, subject))
    if not inside.any():
        return np.zeros_like(subject)
    patches, count = ndimage.label(paints.of(centre[inside], 1.0) & subject, _EVERY_WAY)
    held = np.bincount(_box(patches, (0.45, 0.7), (0.35, 0.65)).ravel(), minlength=count + 1)
    held[0] = 0
    return patches == int(np.argmax(held)) if held.any() else np.zeros_like(subject)


_LATER, _EARLIER, _ALL = slice(1, None), slice(None, -1), slice(None)
_NEIGHBOURS = (
    ((_LATER, _ALL), (_EARLIER, _ALL)),
    ((_ALL, _LATER), (_ALL, _EARLIER)),
    ((_LATER, _LATER), (_EARLIER, _EARLIER)),
    ((_LATER, _EARLIER), (_EARLIER, _LATER)),
)


def _inner(labels: np.ndarray) -> np.ndarray:
    """Pixels whose eight neighbours carry the same label; outside the picture everything agrees."""
    inner = np.ones(labels.shape, dtype=bool)
    for first, second in _NEIGHBOURS:
        same = labels[first] == labels[second]
        inner[first] &= same
        inner[second] &= same
    return inner


def find_regions(picture: Indexed) -> Regions:
    """Background, skin, hair and clothes of a portrait.

    - background: border flood fill, and loose specks outside the subject;
    - skin: the patch of paint in the middle of the subject;
    - hair: subject above the face in the face's columns, above its middle beside them (a hat counts as hair);
    - clothes: subject below the face.

    A picture with nothing in its middle is all background, and has no face.
    """
    every = max(1, min(picture.index.shape) // _DETAIL)
    held = picture.colours.bins[picture.index[::every, ::every]]
    labels, face = _labels(_Paints(picture.colours.coarse.lab, held))
    if every > 1:
        height, width = picture.index.shape
        labels = np.where(_inner(labels), labels, OTHER).astype(np.uint8)
        labels = np.repeat(np.repeat(labels, every, axis=0)[:height], every, axis=1)[:, :width]
        labels = np.ascontiguousarray(labels)
    return Regions(labels, face)


def _labels(paints: _Paints) -> tuple[np.ndarray, bool]:
    subject = _subject(_background(paints))
    labels = np.where(subject, OTHER, BACKGROUND).astype(np.uint8)
    face = _face(paints, subject)
    if not face.any():
        return labels, False
    height = len(face)
    rows = np.arange(height)[:, None]
    columns = face.any(axis=0)
    top = np.where(columns, face.argmax(axis=0), 0)
    bottom = np.where(columns, height - 1 - face[::-1].argmax(axis=0), 0)
    highest, lowest = top[columns].min(), bottom[columns].max()
    above = rows < np.where(columns, top, (highest + lowest) // 2)
    below = rows > np.where(columns, bottom, lowest)
    labels[subject & above & ~face] = HAIR
    labels[subject & below & ~face] = CLOTHES
    labels[face] = SKIN
    return labels, True
