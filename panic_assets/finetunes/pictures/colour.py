"""Colour as the eye sees it: sRGB to CIELAB, CIEDE2000, dominant colours, multi-toning and purity.

Pictures are uint8 RGB arrays (height, width, 3); Lab is CIELAB under D65 and the 2 degree observer. Everything
that counts pixels works on *weighted colours*: the distinct colours of a region and how many pixels hold each.
No arithmetic happens in 8 bits, where 0 - 255 is 1.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from panic_assets.errors import UserError
from panic_assets.graphics import images

if TYPE_CHECKING:
    from PIL import Image

HEX = re.compile(r"#[0-9a-fA-F]{6}")
SAME = 10.0
"""CIEDE2000 within which two colours count as the same paint."""
WHITE = (255, 255, 255)

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE_XYZ = np.array([0.95047, 1.0, 1.08883])
_TO_WHITE = _TO_XYZ / _WHITE_XYZ[:, None]
_TURN = 2 * np.pi


def _linear_table() -> np.ndarray:
    c = np.arange(256) / 255.0
    return np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)


_LINEAR = _linear_table()


def parse_hex(text: str) -> tuple[int, int, int]:
    """`#rrggbb` as three integers 0..255."""
    if not HEX.fullmatch(text):
        raise UserError(f"colour is {text!r}; it must be # and six hexadecimal digits, like #00ff00")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def hex_of(rgb: Sequence[int] | np.ndarray) -> str:
    """Three integers 0..255 as lower-case `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*(int(v) for v in rgb))


def flatten(image: Image.Image, matte: tuple[int, int, int] = WHITE) -> np.ndarray:
    """Any PIL picture as uint8 RGB (height, width, 3); transparency is composited over `matte`.

    Greyscale, palette (with or without a transparent entry), 16-bit and RGBA pictures are all accepted.
    """
    image = images.eight_bits(image)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA")).astype(np.float64)
        alpha = pixels[..., 3:] / 255.0
        mixed = pixels[..., :3] * alpha + np.array(matte, dtype=np.float64) * (1.0 - alpha)
        return np.rint(mixed).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def decode(data: bytes) -> np.ndarray:
    """An encoded picture (PNG, JPEG, WebP, ...) as uint8 RGB, transparency over white."""
    return flatten(images.read(data))


def encode(rgb: np.ndarray) -> bytes:
    """uint8 RGB as PNG bytes without any metadata: the same pixels give the same bytes."""
    from PIL import Image  # Late: commands that only read encode nothing.

    return images.encode(Image.fromarray(rgb, "RGB"), "small png")


def lab(rgb: np.ndarray, dtype: type[np.floating] = np.float64) -> np.ndarray:
    """uint8 sRGB (..., 3) as CIELAB (..., 3). In float32 it is within 2e-4 of float64, and several times as fast.

    Each of the three channels lies contiguous in memory, because everything reads them one at a time.
    """
    linear = _LINEAR.astype(dtype).take(np.moveaxis(rgb, -1, 0))
    xyz = np.tensordot(_TO_WHITE.astype(dtype), linear, axes=1)
    f = np.cbrt(xyz)
    dark = xyz <= 216 / 24389
    f[dark] = (24389 / 27 * xyz[dark] + 16) / 116
    return np.moveaxis(np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])]), 0, -1)


@cache
def _lab_of(colour: str) -> np.ndarray:
    return lab(np.array(parse_hex(colour), dtype=np.uint8), np.float32)


def _hue(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The angle of (a, b), from 0 to a full turn; opposite colours are exactly half a turn apart."""
    angle = np.arctan2(b, a)
    return angle + (angle < 0) * angle.dtype.type(_TURN)


def _saturation(chroma: np.ndarray) -> np.ndarray:
    """sqrt(c^7 / (c^7 + 25^7)); multiplied out, because powers are slow."""
    square = chroma * chroma
    seventh = square * square * square * chroma
    return np.sqrt(seventh / (seventh + 25.0**7))


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """CIEDE2000 between Lab colours (..., 3), broadcast against each other (Sharma, Wu and Dalal 2005).

    kL = kC = kH = 1. Computed in the inputs' precision. Symmetric; 0 for equal colours. The hue of a neutral grey
    does not matter: every term that reads a hue is then multiplied by 0.
    """
    l1, a1, b1 = first[..., 0], first[..., 1], first[..., 2]
    l2, a2, b2 = second[..., 0], second[..., 1], second[..., 2]
    b1b1, b2b2 = b1 * b1, b2 * b2
    stretch = 1.5 - 0.5 * _saturation((np.sqrt(a1 * a1 + b1b1) + np.sqrt(a2 * a2 + b2b2)) / 2)
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.sqrt(a1 * a1 + b1b1), np.sqrt(a2 * a2 + b2b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)
    turn = h2 - h1
    turn = turn - _TURN * np.rint(turn / _TURN)
    hue = h1 + turn / 2
    hue = hue - _TURN * np.floor(hue / _TURN)
    chroma = (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(hue - np.pi / 6)
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + np.pi / 30)
        - 0.20 * np.cos(4 * hue - 63 * np.pi / 180)
    )
    from_grey = (l1 + l2) / 2 - 50
    from_grey = from_grey * from_grey
    d_l = (l2 - l1) / (1 + 0.015 * from_grey / np.sqrt(20 + from_grey))
    d_c = (c2 - c1) / (1 + 0.045 * chroma)
    d_h = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2) / (1 + 0.015 * chroma * t)
    from_blue = (hue * (180 / np.pi) - 275) / 25
    rotation = -2 * np.sin(np.pi / 3 * np.exp(-from_blue * from_blue)) * _saturation(chroma)
    return np.sqrt(np.maximum(d_l * d_l + d_c * d_c + d_h * (d_h + rotation * d_c), 0.0))


@cache
def apart(first: str, second: str) -> float:
    """CIEDE2000 between two colours `#rrggbb`."""
    return float(ciede2000(_lab_of(first), _lab_of(second)))


def pack(rgb: np.ndarray) -> np.ndarray:
    """uint8 RGB (..., 3) as one uint32 code 0xrrggbb a pixel."""
    wide = np.zeros((*rgb.shape[:-1], 4), dtype=np.uint8)
    for channel in range(3):
        wide[..., 2 - channel] = rgb[..., channel]
    return wide.view("<u4")[..., 0]


def unpack(codes: np.ndarray) -> np.ndarray:
    """Codes 0xrrggbb as uint8 RGB (..., 3), each channel contiguous in memory."""
    return np.moveaxis(np.array([codes >> 16 & 255, codes >> 8 & 255, codes & 255], dtype=np.uint8), 0, -1)


@dataclass(frozen=True)
class Colours:
    """Distinct colours of some pixels: rgb uint8 (n, 3), Lab float32 (n, 3), pixels holding each int64 (n,).

    bins: for each colour the number of its coarse bin, int64 (n,); colours that share the top five bits of every
    channel share a bin. Parts of one picture number them alike.
    """

    rgb: np.ndarray
    lab: np.ndarray
    counts: np.ndarray
    bins: np.ndarray

    @classmethod
    def of(cls, rgb: np.ndarray) -> Colours:
        """The distinct colours of pixels (..., 3), in order of their code."""
        codes, counts = np.unique(pack(rgb.reshape(-1, 3)), return_counts=True)
        return cls.holding(codes, counts)

    @classmethod
    def holding(cls, codes: np.ndarray, counts: np.ndarray) -> Colours:
        """From distinct colours, as codes, and the number of pixels that have each."""
        rgb = unpack(codes)
        top = (codes >> 9 & 0x7C00 | codes >> 6 & 0x3E0 | codes >> 3 & 0x1F).astype(np.intp)
        present = np.zeros(1 << 15, dtype=bool)
        present[top] = True
        return cls(rgb, lab(rgb, np.float32), counts, (np.cumsum(present) - 1)[top])

    def only(self, counts: np.ndarray) -> Colours:
        """The same colours held by other numbers of pixels; colours held by none are dropped."""
        held = np.flatnonzero(counts)
        rgb, lab = (values.T.take(held, axis=1).T for values in (self.rgb, self.lab))
        return Colours(rgb, lab, counts[held], self.bins[held])

    @cached_property
    def pixels(self) -> int:
        """How many pixels there are in all."""
        return int(self.counts.sum())

    @cached_property
    def coarse(self) -> Colours:
        """The same pixels with the colours of each bin merged into their weighted mean; bins keep their order."""
        from panic_assets.finetunes.pictures import (
            counting,  # Late: compiled code is asleep until pictures are measured.
        )

        rgb, lab = np.ascontiguousarray(self.rgb.T), np.ascontiguousarray(self.lab.T)
        total = counting.sums(self.bins, self.counts, rgb, lab, int(self.bins.max(initial=-1)) + 1)
        held = np.flatnonzero(total[0])
        weights = total[0, held]
        mean = total[1:, held] / weights
        rgb, lab = np.rint(mean[:3]).astype(np.uint8), mean[3:].astype(np.float32)
        return Colours(rgb.T, lab.T, weights.astype(np.int64), held)


_LOCAL = threading.local()


@dataclass(frozen=True)
class Indexed:
    """A picture as its distinct colours and, for every pixel, which one it holds: index (height, width)."""

    colours: Colours
    index: np.ndarray

    @classmethod
    def of(cls, rgb: np.ndarray) -> Indexed:
        """Indexes uint8 RGB (height, width, 3); colours are in the order in which they first occur."""
        from panic_assets.finetunes.pictures import (
            counting,  # Late: compiled code is asleep until pictures are measured.
        )

        if not hasattr(_LOCAL, "slots"):
            _LOCAL.slots = np.zeros(1 << 24, dtype=np.uint32)
        codes, counts, index = counting.distinct(np.require(rgb, np.uint8, ["C", "W"]), _LOCAL.slots)
        return cls(Colours.holding(codes, counts), index)


@dataclass(frozen=True)
class Dominant:
    """One dominant colour: its mean as `#rrggbb`, the share of pixels it stands for, and its mean in Lab."""

    hex: str
    area: float
    lab: tuple[float, ...]


def dominant(colours: Colours, most: int = 8, within: float = SAME) -> list[Dominant]:
    """The colours most pixels hold, largest area first, at most `most`.

    Greedy in Lab: the heaviest remaining colour takes everything within `within` (CIEDE2000) of it. No random
    start, so the same picture always has the same palette. Areas are shares of all pixels and sum to at most 1.
    """
    bins = colours.coarse
    left = np.ones(len(bins.counts), dtype=bool)
    found: list[Dominant] = []
    total = colours.pixels
    while left.any() and len(found) < most:
        seed = int(np.argmax(np.where(left, bins.counts, -1)))
        taken = left & (ciede2000(bins.lab, bins.lab[seed]) <= within)
        taken[seed] = True
        weights = bins.counts[taken]
        held = int(weights.sum())
        mean_rgb = np.rint(weights @ bins.rgb[taken].astype(np.float64) / held)
        mean_lab = weights @ bins.lab[taken] / held
        found.append(Dominant(hex_of(mean_rgb), held / total, tuple(map(float, mean_lab))))
        left &= ~taken
    return sorted(found, key=lambda d: (-d.area, d.hex))


def share_within(colours: Colours, expected: str, curve_to: int = 20) -> np.ndarray:
    """Share of pixels within CIEDE2000 0, 1, ..., `curve_to` of `#rrggbb`: float64 (curve_to + 1,), increasing."""
    distance = ciede2000(colours.lab, _lab_of(expected.lower()))
    # Single precision: 1e-4 keeps a colour at 10 exactly within 10. ceil gives -0 for equals, which is 0.
    step = np.minimum(np.ceil(distance - 1e-4), curve_to + 1).astype(np.int64)
    counts = np.bincount(step, colours.counts, curve_to + 2)
    return np.cumsum(counts)[: curve_to + 1] / colours.pixels


@dataclass(frozen=True)
class Tones:
    """A region split in two: shares of the larger and the smaller tone, and their CIEDE2000 apart."""

    larger: float
    smaller: float
    apart: float

    @property
    def two_toned(self) -> bool:
        """Both tones hold over 20% of the region and lie more than 15 apart."""
        return self.smaller > 0.20 and self.apart > 15.0


def tones(colours: Colours) -> Tones:
    """The best split of a region into two tones: weighted 2-means in Lab, started along the widest axis."""
    bins = colours.coarse
    weights, points = bins.counts / colours.pixels, bins.lab
    spread = points - weights @ points
    axis = np.linalg.eigh((spread * weights[:, None]).T @ spread)[1][:, -1]
    second = spread @ axis > 0
    if len(points) == 1 or not second.any() or second.all():
        return Tones(1.0, 0.0, 0.0)
    for _ in range(50):
        in_first, in_second = weights * ~second, weights * second
        first_centre, second_centre = in_first @ points / in_first.sum(), in_second @ points / in_second.sum()
        nearer = ((points - second_centre) ** 2).sum(1) < ((points - first_centre) ** 2).sum(1)
        if (nearer == second).all() or not nearer.any() or nearer.all():
            break
        second = nearer
    share = float(weights[second].sum())
    apart = float(ciede2000(first_centre, second_centre))
    return Tones(max(share, 1 - share), min(share, 1 - share), apart)


def spread(colours: Colours) -> float:
    """Root mean square CIELAB distance of a region's pixels from the region's mean colour; 0 for flat paint."""
    weights = colours.counts / colours.pixels
    away = colours.lab - (weights @ colours.lab).astype(np.float32)
    return float(np.sqrt((weights @ (away * away)).sum()))


def snapped(colours: Colours, step: int) -> np.ndarray:
    """Pixels of each colour that is left when channels are snapped to multiples of `step`: int64, most pixels first."""
    red, green, blue = (colours.rgb.T.astype(np.int32) + step // 2) // step
    side = 256 // step + 1
    held = np.bincount((red * side + green) * side + blue, colours.counts)
    return np.sort(held[held > 0].astype(np.int64))[::-1]


_ANCHORS = (
    "black #000000, white #ffffff, grey #808080, grey #404040, grey #c0c0c0, red #d01c1c, red #ff0000, "
    "orange #ff8c00, yellow #ffe135, green #1faa2e, green #00ff00, green #0b5d1e, cyan #20c8d0, blue #1f4fd8, "
    "blue #0000ff, blue #6fa8ff, blue #102060, purple #8a2be2, purple #5b1a80, pink #ff69b4, pink #ffb6c1, "
    "brown #7b4a21, brown #4a2f1b, brown #a87048, beige #e8c9a0"
)
_NAMES, _POINTS = zip(*(anchor.split() for anchor in _ANCHORS.split(", ")), strict=True)
_PALETTE = lab(np.array([parse_hex(p) for p in _POINTS], dtype=np.uint8))


def name_of(colour: str) -> str:
    """The everyday name nearest to `#rrggbb` in CIEDE2000, for grouping prompts ("blue hair")."""
    nearest = ciede2000(_PALETTE, lab(np.array(parse_hex(colour), dtype=np.uint8)))
    return str(_NAMES[int(np.argmin(nearest))])
