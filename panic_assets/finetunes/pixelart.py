"""Does it look like pixel art: is it on the grid, is the palette small, are the edges hard?"""

from dataclasses import dataclass

import numpy as np

from panic_assets.finetunes.colour import Colours, Indexed, snapped

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
    luma = np.rint(_LUMA @ picture.colours.rgb.T).astype(np.int16).take(picture.index)
    # Art pixels of a large picture are many pixels high: every k-th line crosses each of their edges.
    row, column = (max(1, size // _LINES) for size in luma.shape)
    down, across = np.abs(np.diff(luma, axis=0)), np.abs(np.diff(luma, axis=1))
    return PixelArt(
        grid=_grid(_totals(down), _totals(across.T), grid),
        palette=_palette(picture.colours),
        sharpness=_sharpness(
            (luma[::row], across[::row]),
            (np.ascontiguousarray(luma[:, ::column].T), np.ascontiguousarray(down[:, ::column].T)),
        ),
    )


def _totals(steps: np.ndarray) -> np.ndarray:
    """Sums along the rows, exact: whole numbers below 2^24 are exact in float32, whose products are fast."""
    return steps.astype(np.float32) @ np.ones(steps.shape[1], dtype=np.float32)


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


def _sharpness(*views: tuple[np.ndarray, np.ndarray]) -> float | None:
    """A view is luma with the direction looked along last, and its absolute steps along it."""
    shares = []
    for luma, steps in views:
        if luma.shape[1] < 2 * _REACH + 2:
            continue
        reach = 2 * _REACH + 1
        contrast = np.abs(luma[:, reach:] - luma[:, :-reach])
        # The largest of `reach` steps is at least their mean: where a step is not, no edge has its peak.
        row, column = np.nonzero((contrast >= _EDGE) & (steps[:, _REACH:-_REACH] * reach >= contrast))
        window = steps[row[:, None], column[:, None] + np.arange(reach)]
        step = window[:, _REACH]
        peak = step == window.max(axis=1, initial=0)
        shares.append(step[peak] / contrast[row, column][peak])
    joined = np.concatenate(shares) if shares else np.empty(0)
    return 100 * float(joined.clip(0, 1).mean()) if joined.size else None
