"""Small drawings for reports: a progression as SVG, distances as heat colours, thumbnails."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from panic_assets.finetunes.pictures.colour import decode

Row = dict[str, Any]
PAINTS = ("#7a5195", "#ef5675", "#003f5c", "#ffa600", "#2f8f6b")
_W, _H, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 300, 46, 150, 16, 34
_RAMP = np.array([[8, 10, 28], [70, 20, 100], [180, 50, 90], [245, 140, 50], [252, 250, 190]], dtype=np.float64)


def thumbnail(picture: bytes, side: int) -> np.ndarray:
    """Every k-th pixel of an encoded picture, uint8 (side, side, 3): art keeps its edges, no colour is invented."""
    rgb = decode(picture)
    rows = (np.arange(side) * 2 + 1) * rgb.shape[0] // (2 * side)
    columns = (np.arange(side) * 2 + 1) * rgb.shape[1] // (2 * side)
    return rgb[rows][:, columns]


def heat_colours(share: np.ndarray) -> np.ndarray:
    """0..1 (clipped) as dark to bright, uint8 (..., 3)."""
    at = np.clip(share, 0, 1) * (len(_RAMP) - 1)
    low = np.minimum(at.astype(np.int64), len(_RAMP) - 2)
    part = (at - low)[..., None]
    return np.rint(_RAMP[low] * (1 - part) + _RAMP[low + 1] * part).astype(np.uint8)


def progress(averages: Sequence[Row], choices: Sequence[Row], metric: str) -> str:
    """Averages by epoch as SVG: one line per level with its interval; best epoch and inflection where marked.

    Only numbers and level names enter the picture; the names are escaped. Empty without averages.
    """
    rows = [a for a in averages if a["metric"] == metric]
    if not rows:
        return ""
    epochs = sorted({a["epoch"] for a in rows})
    bounds = [v for a in rows for v in (a["mean"], a["low"], a["high"]) if v is not None]
    low, high = max(0.0, 10 * np.floor(min(bounds) / 10)), min(100.0, 10 * np.ceil(max(bounds) / 10))
    high = high if high > low else low + 10

    def x(epoch: float) -> float:
        span = max(epochs[-1] - epochs[0], 1)
        return _LEFT + (epoch - epochs[0] + 0.0) / span * (_W - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_H - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {_W} {_H}" width="{_W}" height="{_H}" role="img" aria-label="{_text(metric)} by epoch">'
    ]
    for tick in np.linspace(low, high, 5):
        parts.append(
            f'<line x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>'
            f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.0f}</text>'
        )
    for epoch in epochs:
        parts.append(f'<text x="{x(epoch):.1f}" y="{_H - _BOTTOM + 18}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<text x="{(_LEFT + _W - _RIGHT) / 2}" y="{_H - 2}" text-anchor="middle">epoch</text>')
    by_level: dict[str, list[Row]] = {}
    for a in sorted(rows, key=lambda a: (a["prompts"], a["epoch"])):
        by_level.setdefault(a["level"], []).append(a)
    written: set[tuple[str, int]] = set()
    for number, (level, held) in enumerate(by_level.items()):
        parts += _line(level, held, PAINTS[number % len(PAINTS)], number, x, y)
        choice = next((c for c in choices if c["level"] == level and c["metric"] == metric), None)
        parts += _marks(choice, held, PAINTS[number % len(PAINTS)], written, x, y) if choice else []
    return "".join([*parts, "</svg>"])


def _line(level: str, held: Sequence[Row], paint: str, number: int, x: Any, y: Any) -> list[str]:
    parts = []
    banded = [a for a in held if a["low"] is not None]
    if len(banded) > 1:
        upper = [f"{x(a['epoch']):.1f},{y(a['high']):.1f}" for a in banded]
        lower = [f"{x(a['epoch']):.1f},{y(a['low']):.1f}" for a in reversed(banded)]
        parts.append(f'<polygon points="{" ".join([*upper, *lower])}" fill="{paint}" opacity="0.15"/>')
    points = " ".join(f"{x(a['epoch']):.1f},{y(a['mean']):.1f}" for a in held)
    parts.append(f'<polyline points="{points}" fill="none" stroke="{paint}" stroke-width="2"/>')
    for a in held:
        parts.append(f'<circle cx="{x(a["epoch"]):.1f}" cy="{y(a["mean"]):.1f}" r="3" fill="{paint}"/>')
    prompts = held[0]["prompts"]
    label = f"{_text(level)}: {prompts} prompt{'s' if prompts != 1 else ''}"
    return [
        *parts,
        f'<rect x="{_W - _RIGHT + 14}" y="{_TOP + 20 * number}" width="10" height="10" fill="{paint}"/>'
        f'<text x="{_W - _RIGHT + 30}" y="{_TOP + 20 * number + 9}">{label}</text>',
    ]


def _marks(choice: Row, held: Sequence[Row], paint: str, written: set[tuple[str, int]], x: Any, y: Any) -> list[str]:
    """A ring at the best epoch, a dashed line at the turn; the word beside each is written once per epoch."""
    at = {a["epoch"]: a["mean"] for a in held}
    parts = []
    best, turn = choice["best_epoch"], choice["inflection_epoch"]
    if choice["marked"] and best in at:
        parts.append(
            f'<circle cx="{x(best):.1f}" cy="{y(at[best]):.1f}" r="8" fill="none" stroke="{paint}" stroke-width="2"/>'
        )
        if ("best", best) not in written:
            parts.append(f'<text x="{x(best) + 12:.1f}" y="{y(at[best]) + 4:.1f}" class="mark">best</text>')
    if choice["inflection_marked"] and turn in at and ("turns", turn) not in written:
        parts.append(
            f'<line x1="{x(turn):.1f}" x2="{x(turn):.1f}" y1="{_TOP}" y2="{_H - _BOTTOM}" stroke="{paint}" '
            f'stroke-dasharray="4 4"/><text x="{x(turn) + 5:.1f}" y="{_H - _BOTTOM - 6}" class="mark">turns</text>'
        )
    written |= {("best", best), ("turns", turn)}
    return parts


def _text(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
