"""Does it look like pixel art: is it on the grid, is the palette small, are the edges hard?"""

from dataclasses import dataclass

import numpy as np

from panic_assets.finetunes.pictures.colour import Colours, Indexed, snapped

GRID = 24
"""Art pixels along each side of a portrait."""
_EDGE = 24
"""A step of luma (0..255) that counts as an edge."""
_REACH = 3
"""Pixels either side within which a hard edge must be done."""
_LINES = 128
"""Lines along which edges are looked at, about."""
_STEP = 16
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class PixelArt:
    """grid: 0..100, how much more of all change in luma lies on grid lines than chance would put there.
    palette: colours that hold 99% of the picture, channels snapped to multiples of 16.
    sharpness: 0..100, mean share of an edge's contrast that is crossed in a single pixel (100 is hard).
    grid and sharpness are None for a picture without edges, grid also when art pixels are single pixels.
    """

    grid: float | None
    palette: int
    sharpness: float | None


def quality(picture: Indexed, grid: int = GRID) -> PixelArt:
    """Pixel-art quality of a picture that is meant to show `grid` art pixels along each side."""
    from panic_assets.finetunes.pictures import counting  # Late: compiled code is asleep until pictures are measured.

    luma, index = np.rint(_LUMA @ picture.colours.rgb.T).astype(np.int16), picture.index
    down, across = counting.changes(luma, index)
    # Art pixels of a large picture are many pixels high: every k-th line crosses each of their edges.
    lines = (counting.edges(luma, view, max(1, len(view) // _LINES), _REACH, _EDGE) for view in (index, index.T))
    crossed, count = map(sum, zip(*lines, strict=True))
    return PixelArt(
        grid=_grid(down, across, grid),
        palette=_palette(picture.colours),
        sharpness=100 * crossed / count if count else None,
    )


def _grid(down: np.ndarray, across: np.ndarray, grid: int) -> float | None:
    """`down` and `across`: total change between neighbouring rows and between neighbouring columns."""
    on = 0.0
    chance = []
    for change in (down, across):
        size = len(change) + 1
        if size < 2 * grid:
            return None
        lines = np.rint(np.arange(1, grid) * size / grid).astype(np.int64) - 1
        near = np.zeros(len(change), dtype=bool)
        near[lines] = True
        if size % grid:
            near[lines - 1] = near[np.minimum(lines + 1, size - 2)] = True
        on += float(change[near].sum())
        chance.append(near.mean())
    everywhere = float(down.sum() + across.sum())
    if everywhere == 0:
        return None
    by_chance = float(np.mean(chance))
    return 100 * max(0.0, (on / everywhere - by_chance) / (1 - by_chance))


def _palette(colours: Colours) -> int:
    return int(np.searchsorted(np.cumsum(snapped(colours, _STEP)), 0.99 * colours.pixels) + 1)
