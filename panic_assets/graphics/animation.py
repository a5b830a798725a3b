"""Animations over epochs: a scene is computed first, then drawn. The axes are the same in all frames.

A scene becomes one self-contained HTML page (play button, slider, epoch) or the frames of a GIF or MP4. Checkpoints
are rarely evenly spaced, so a strip below the picture shows where on the axis of epochs each frame lies.
"""

import colorsys
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from panic_assets.errors import UserError
from panic_assets.extras import extra
from panic_assets.lake.files import appearing

Kind = Literal["points", "path", "bars", "heat"]
Colour = tuple[int, int, int]
INK: Colour = (40, 44, 52)
PALE: Colour = (205, 210, 218)
ACCENT: Colour = (214, 64, 69)
SIZE = (960, 720)
MARGIN = (80, 64, 40, 120)
"""Left, top, right, bottom, in pixels."""
FRAMES_PER_SECOND = 12


@dataclass(frozen=True)
class Scene:
    """What is drawn at each epoch. Each frame is (x, y), arrays of one length; for `heat`, x holds whole numbers and y is
    a matrix (rows, cols) with rows named by `rows`. `colours` (hue 0..1 per item) are the same in all frames.

    `path` frames are drawn over the pale whole of the last frame, up to their own end.
    """

    title: str
    kind: Kind
    epochs: tuple[int, ...]
    frames: tuple[tuple[np.ndarray, np.ndarray], ...]
    x_label: str
    y_label: str
    colours: np.ndarray | None = None
    equal_axes: bool = False
    rows: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """One line of text per frame, shown beside the epoch; empty for none."""

    def __post_init__(self) -> None:
        if not self.epochs or len(self.epochs) != len(self.frames):
            raise UserError(
                f"the scene has {len(self.epochs)} epochs and {len(self.frames)} frames; it needs one frame per epoch"
            )
        if self.notes and len(self.notes) != len(self.epochs):
            raise UserError(
                f"the scene has {len(self.notes)} notes for {len(self.epochs)} frames; it needs one per frame, or none"
            )

    @property
    def ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges of x and y that hold every frame, with a margin: the same for all of them."""
        x = _range(np.concatenate([np.ravel(f[0]) for f in self.frames]))
        if self.kind == "heat":
            columns = self.frames[0][0]
            return (float(columns.min()) - 0.5, float(columns.max()) + 0.5), (-0.5, len(self.rows) - 0.5)
        y = _range(np.concatenate([np.ravel(f[1]) for f in self.frames]), at_zero=self.kind == "bars")
        return (x, y)


def _range(values: np.ndarray, at_zero: bool = False) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return (0.0 if at_zero else low - pad), high + pad


# --- one page ----------------------------------------------------------------------------------


def html(scene: Scene) -> str:
    """One self-contained page that needs no network."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, row_heights=[0.93, 0.07], vertical_spacing=0.12)
    (x_range, y_range), epochs = scene.ranges, scene.epochs
    for trace in _traces(scene, len(epochs) - 1 if scene.kind == "path" else 0, whole=True):
        figure.add_trace(trace, row=1, col=1)
    strip = {"y": [0] * len(epochs), "mode": "markers", "hoverinfo": "x", "showlegend": False}
    ticks = {"symbol": "line-ns", "size": 10, "line": {"width": 1, "color": _css(INK)}}
    figure.add_trace(go.Scatter(x=epochs, marker=ticks, **strip), row=2, col=1)
    figure.add_trace(
        go.Scatter(x=[epochs[0]], **{**strip, "y": [0]}, marker={"size": 12, "color": _css(ACCENT)}), row=2, col=1
    )
    moving = [*range(1 if scene.kind == "path" else 0, len(figure.data) - 2), len(figure.data) - 1]
    frames = []
    for i, epoch in enumerate(epochs):
        drawn = _traces(scene, i)
        marker = go.Scatter(x=[epoch], y=[0])
        layout = {"title": {"text": _heading(scene, i)}}
        frames.append(go.Frame(name=str(epoch), data=[*drawn, marker], traces=moving, layout=layout))
    figure.frames = frames
    if scene.kind == "path":  # the first frame is shown as its own beginning
        for trace, first in zip(moving, [*_traces(scene, 0)], strict=False):
            figure.data[trace].update(first)
    # Redrawn as a whole: else a frame's title would not be shown.
    now = {"frame": {"duration": 1000 / FRAMES_PER_SECOND, "redraw": True}, "transition": {"duration": 0}}
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    figure.update_layout(
        title={"text": _heading(scene, 0), "x": 0.02},
        template="simple_white",
        showlegend=False,
        width=SIZE[0],
        height=SIZE[1] + 120,
        font={"size": 14},
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "x": 0,
                "y": -0.16,
                "xanchor": "left",
                "yanchor": "top",
                "buttons": [
                    {"label": "Play", "method": "animate", "args": [None, {**now, "fromcurrent": True}]},
                    {"label": "Pause", "method": "animate", "args": [[None], still]},
                ],
            }
        ],
        sliders=[
            {
                "x": 0.2,
                "len": 0.8,
                "y": -0.12,
                "currentvalue": {"prefix": "epoch "},
                "steps": [{"label": str(e), "method": "animate", "args": [[str(e)], still]} for e in epochs],
            }
        ],
    )
    figure.update_xaxes(range=list(x_range), title=scene.x_label, row=1, col=1)
    figure.update_yaxes(range=list(y_range), title=scene.y_label, row=1, col=1)
    if scene.equal_axes:
        figure.update_yaxes(scaleanchor="x", scaleratio=1, row=1, col=1)
    if scene.kind == "heat":
        names = list(scene.rows)
        figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, tickfont={"size": 10}, row=1, col=1)
    figure.update_xaxes(title="epoch", row=2, col=1)
    figure.update_yaxes(visible=False, row=2, col=1)
    return str(figure.to_html(include_plotlyjs=True, full_html=True, auto_play=False))


def _heading(scene: Scene, i: int) -> str:
    note = f"   {scene.notes[i]}" if scene.notes else ""
    return f"{scene.title}   epoch {scene.epochs[i]:,}{note}"


def _traces(scene: Scene, i: int, whole: bool = False) -> list[Any]:
    """Traces of one frame; with `whole`, also what lies behind all of them."""
    import plotly.graph_objects as go

    x, y = scene.frames[i]
    colours = [_css(c) for c in _colours(scene, len(x))]
    if scene.kind == "points":
        marker = {"color": colours, "size": 9, "line": {"width": 0.5, "color": _css(INK)}}
        return [go.Scatter(x=x, y=y, mode="markers", marker=marker)]
    if scene.kind == "bars":
        return [go.Bar(x=x, y=y, marker={"color": colours})]
    if scene.kind == "heat":
        top = max(float(np.nanmax(f[1])) for f in scene.frames)
        return [go.Heatmap(x=x, z=y, zmin=0, zmax=top, colorscale="Blues")]
    line = go.Scatter(x=x, y=y, mode="lines", line={"color": _css(INK), "width": 2})
    head = go.Scatter(x=x[-1:], y=y[-1:], mode="markers", marker={"color": _css(ACCENT), "size": 12})
    if not whole:
        return [line, head]
    last = scene.frames[-1]
    return [go.Scatter(x=last[0], y=last[1], mode="lines", line={"color": _css(PALE), "width": 1}), line, head]


def _css(colour: Colour) -> str:
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"


def _colours(scene: Scene, count: int) -> list[Colour]:
    if scene.colours is None:
        return [INK] * count
    out = []
    for hue in np.asarray(scene.colours)[:count]:
        r, g, b = colorsys.hsv_to_rgb(float(hue), 0.75, 0.85)
        out.append((int(r * 255), int(g * 255), int(b * 255)))
    return out


# --- frames ------------------------------------------------------------------------------------


def picture(scene: Scene, i: int) -> Any:
    """One frame as a PIL image, with axes, epoch, and the strip that shows where its epoch lies."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(image)
    place = _axes(draw, scene)
    x, y = scene.frames[i]
    if scene.kind == "heat":
        _heat(image, scene, i)
    elif scene.kind == "bars":
        floor = place(0.0, 0.0)[1]
        width = max(2.0, 0.8 * (place(1.0, 0.0)[0] - place(0.0, 0.0)[0])) if len(x) > 1 else 20.0
        for xi, yi, colour in zip(x, y, _colours(scene, len(x)), strict=True):
            px, py = place(float(xi), float(yi))
            draw.rectangle([px - width / 2, min(py, floor), px + width / 2, floor], fill=colour)
    elif scene.kind == "points":
        for xi, yi, colour in zip(x, y, _colours(scene, len(x)), strict=True):
            px, py = place(float(xi), float(yi))
            draw.ellipse([px - 6, py - 6, px + 6, py + 6], fill=colour, outline=INK)
    else:
        for (xs, ys), colour, width in ((scene.frames[-1], PALE, 1), ((x, y), INK, 2)):
            line = [place(float(a), float(b)) for a, b in zip(xs, ys, strict=True)]
            if len(line) > 1:
                draw.line(line, fill=colour, width=width, joint="curve")
        px, py = place(float(x[-1]), float(y[-1]))
        draw.ellipse([px - 7, py - 7, px + 7, py + 7], fill=ACCENT)
    _strip(draw, scene, i)
    draw.text((MARGIN[0], 18), _heading(scene, i), fill=INK, font=_font(20))
    return image


def _axes(draw: Any, scene: Scene) -> Callable[[float, float], tuple[float, float]]:
    """Draw the frame and its ticks; returns where a point of the scene lies, in pixels."""
    left, top, right, bottom = MARGIN[0], MARGIN[1], SIZE[0] - MARGIN[2], SIZE[1] - MARGIN[3]
    (x0, x1), (y0, y1) = scene.ranges
    sx, sy = (right - left) / (x1 - x0), (bottom - top) / (y1 - y0)
    if scene.equal_axes:
        sx = sy = min(sx, sy)
    cx, cy = (left + right) / 2, (top + bottom) / 2

    def place(x: float, y: float) -> tuple[float, float]:
        return cx + (x - (x0 + x1) / 2) * sx, cy - (y - (y0 + y1) / 2) * sy

    draw.rectangle([left, top, right, bottom], outline=PALE)
    half_x, half_y = (right - left) / 2 / sx, (bottom - top) / 2 / sy
    for value in nice_ticks((x0 + x1) / 2 - half_x, (x0 + x1) / 2 + half_x):
        px, _ = place(value, 0)
        draw.line([px, bottom, px, bottom + 5], fill=INK)
        draw.text((px, bottom + 8), f"{value:g}", fill=INK, font=_font(13), anchor="ma")
    if scene.kind != "heat":
        for value in nice_ticks((y0 + y1) / 2 - half_y, (y0 + y1) / 2 + half_y):
            _, py = place(0, value)
            draw.line([left - 5, py, left, py], fill=INK)
            draw.text((left - 8, py), f"{value:g}", fill=INK, font=_font(13), anchor="rm")
    draw.text((right, bottom + 26), scene.x_label, fill=INK, font=_font(14), anchor="ra")
    draw.text((left, top - 6), scene.y_label, fill=INK, font=_font(14), anchor="lb")
    return place


def _heat(image: Any, scene: Scene, i: int) -> None:
    from PIL import Image, ImageDraw

    left, top, right, bottom = MARGIN[0], MARGIN[1], SIZE[0] - MARGIN[2], SIZE[1] - MARGIN[3]
    highest = max(float(np.nanmax(f[1])) for f in scene.frames) or 1.0
    shade = np.nan_to_num(scene.frames[i][1]) / highest
    rgb = np.stack([255 * (1 - shade), 255 * (1 - 0.75 * shade), 255 * (1 - 0.35 * shade)], -1).astype(np.uint8)
    cells = Image.fromarray(rgb[::-1]).resize((right - left, bottom - top), Image.Resampling.NEAREST)
    image.paste(cells, (left, top))
    draw = ImageDraw.Draw(image)
    height = (bottom - top) / len(scene.rows)
    for row, name in enumerate(scene.rows):
        draw.text((left - 8, bottom - (row + 0.5) * height), name, fill=INK, font=_font(12), anchor="rm")


def _strip(draw: Any, scene: Scene, i: int) -> None:
    """The axis of epochs with a line per checkpoint and the current one marked, so that uneven spacing is seen."""
    left, right, y = MARGIN[0], SIZE[0] - MARGIN[2], SIZE[1] - 38
    first, last = scene.epochs[0], scene.epochs[-1]
    span = max(last - first, 1)
    draw.line([left, y, right, y], fill=PALE)
    for epoch in scene.epochs:
        px = left + (epoch - first) / span * (right - left)
        draw.line([px, y - 6, px, y + 6], fill=INK)
    px = left + (scene.epochs[i] - first) / span * (right - left)
    draw.ellipse([px - 6, y - 6, px + 6, y + 6], fill=ACCENT)
    draw.text((left, y + 10), f"epoch {first:,}", fill=INK, font=_font(13))
    draw.text((right, y + 10), f"{last:,}", fill=INK, font=_font(13), anchor="ra")


def nice_ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers within a range, about `wanted` of them.

    >>> nice_ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / max(wanted - 1, 1)
    if not raw > 0:
        return [low]
    power = 10 ** np.floor(np.log10(raw))
    step = next(float(s * power) for s in (1, 2, 5, 10) if s * power >= raw * (1 - 1e-9))
    first = int(np.ceil(low / step - 1e-9))
    return [round(n * step, 12) for n in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def draw_frames(scene: Scene, folder: Path) -> Iterator[int]:
    """Draw the frames that are not in `folder` yet, each written whole; yields how many are there after each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(len(scene.epochs)):
        path = frame_path(folder, i)
        if not path.exists():
            beside = path.with_suffix(".part")
            picture(scene, i).save(beside, format="PNG")
            os.replace(beside, path)
        yield i + 1


def frame_path(folder: Path, i: int) -> Path:
    """Where frame i is kept."""
    return folder / f"frame_{i:05d}.png"


def gif(frames: Sequence[Path], out: Path) -> None:
    """Frames as an endless GIF; the last one stays a second."""
    from PIL import Image

    # By octree: a small mark in a colour of its own keeps it, which the median cut gives to larger areas.
    images = [Image.open(path).convert("RGB").quantize(128, Image.Quantize.FASTOCTREE) for path in frames]
    durations = [1000 // FRAMES_PER_SECOND] * (len(images) - 1) + [1000]
    with appearing(out) as file:
        images[0].save(file, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


def mp4(frames: Sequence[Path], out: Path) -> None:
    """Frames as an H.264 film that every browser plays."""
    with extra("video"):
        import imageio_ffmpeg
    from PIL import Image

    beside = out.with_name(f"{out.stem}.part.mp4")
    writer = imageio_ffmpeg.write_frames(str(beside), SIZE, fps=FRAMES_PER_SECOND, macro_block_size=8)
    writer.send(None)
    for path in frames:
        writer.send(np.ascontiguousarray(np.asarray(Image.open(path).convert("RGB"))))
    writer.close()
    os.replace(beside, out)
