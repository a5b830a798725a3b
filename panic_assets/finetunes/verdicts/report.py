"""The report of a run or of one of its checkpoints: one HTML file that opens offline, from rows of the lake.

It computes no statistics: every number comes from a row, and the page holds the row's id and the full value. A
statement links to its row. The same rows give the same bytes, apart from the time at the top.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from panic_assets.finetunes.pictures.colour import ciede2000, lab
from panic_assets.finetunes.verdicts import charts
from panic_assets.finetunes.verdicts.issues import ABSENT
from panic_assets.finetunes.verdicts.summary import TARGET

VERSION = "3"
_SIDE = 128
"""Side of a picture in a comparison; its heat map compares these pixels."""
_TILE = 64
_FULL = 25.0
"""CIEDE2000 at which the heat map is brightest."""

Row = dict[str, Any]
Find = Callable[[int, str, int], bytes | None]
"""(epoch, prompt, seed) -> the picture's bytes, or None when it was not drawn."""


@dataclass(frozen=True)
class Baseline:
    """What a run is compared with: a name to show, and what the cell (epoch, prompt, seed) is compared with.

    `find` gives the name of a checkpoint and its picture; None where there is nothing to compare the cell with.
    """

    name: str
    find: Callable[[int, str, int], tuple[str, bytes] | None]


@dataclass(frozen=True)
class Material:
    """Everything a report shows, as rows of the tables named. `epoch` None is the report of the whole run."""

    run: Row
    epoch: int | None
    suite: Row
    prompts: Sequence[tuple[str, tuple[int, ...], str]]
    """Prompts of the suite in order: id, seeds, text."""
    prompt_test_results: Sequence[Row]
    epoch_averages: Sequence[Row]
    epoch_choices: Sequence[Row]
    weak_areas: Sequence[Row]
    epoch_issues: Sequence[Row]
    manual_spread: Sequence[Row]
    advice: Row | None
    costs: Sequence[Row]
    lineage: Sequence[str]
    find: Find
    baseline: Baseline


def html(material: Material, made_at: str) -> str:
    """The page. `made_at` is shown as it is, and is all that two pages of the same rows differ in."""
    m = material
    shown = m.epoch if m.epoch is not None else _best(m)
    return _template().render(
        m=m,
        made_at=made_at,
        title=f"{m.run['training_run']}, epoch {m.epoch}" if m.epoch is not None else m.run["training_run"],
        shown=shown,
        deciding=next((c for c in m.epoch_choices if c["deciding"]), None),
        progress=charts.progress(m.epoch_averages, m.epoch_choices, TARGET),
        averages=sorted(
            (a for a in m.epoch_averages if m.epoch in (None, a["epoch"])),
            key=lambda a: (a["metric"] != TARGET, a["metric"], -a["prompts"], a["epoch"]),
        ),
        results=[r for r in m.prompt_test_results if r["epoch"] == shown],
        mosaics=_mosaics(m),
        comparisons=_comparisons(m, shown),
        issues=_issue_table(m.epoch_issues),
        weak=[w for w in m.weak_areas if w["weak"] and w["epoch"] == m.epoch],
        learnings=learnings(m),
        row_id=row_id,
    )


@cache
def _template() -> Any:
    import jinja2

    source = files(__package__).joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"number": _number, "image": _image, "exact": repr, "chance": _chance}
    return environment.from_string(source)


def _number(value: float | None, digits: int = 1) -> str:
    """A number for people; an en dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def _chance(p: float | None) -> str:
    """A p-value for people: three digits, never 0."""
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _prompts(count: int) -> str:
    return "1 prompt" if count == 1 else f"{count} prompts"


def _image(data: bytes) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def row_id(table: str, row: Row) -> str:
    """The anchor of a row: its table and key."""
    keys = {
        "epoch_averages": ("level", "metric", "epoch"),
        "epoch_choices": ("level", "metric"),
        "weak_areas": ("scope", "measure", "value"),
        "epoch_issues": ("issue", "epoch"),
        "prompt_test_results": ("epoch", "prompt", "seed"),
        "manual_spread": ("epoch", "criterion"),
        "costs": ("kind", "epoch", "started_at"),
        "advice": ("training_run",),
    }
    return "/".join([table, *(str(row[k]).replace(" ", "-") for k in keys[table])])


def _best(m: Material) -> int | None:
    """The epoch a run's report shows pictures of: the best, else the last that was tested."""
    deciding = next((c for c in m.epoch_choices if c["deciding"]), None)
    if deciding:
        return int(deciding["best_epoch"])
    return max((r["epoch"] for r in m.prompt_test_results), default=None)


def _webp(rgb: np.ndarray) -> bytes:
    from PIL import Image  # Late: the definitions draw nothing.

    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "WEBP", quality=85, method=2)
    return out.getvalue()


@dataclass(frozen=True)
class Mosaic:
    """The pictures of one epoch on one sheet: one column per prompt, one row per seed."""

    epoch: int
    prompts: tuple[str, ...]
    image: bytes


def _mosaics(m: Material) -> list[Mosaic]:
    sheets = []
    tested: dict[int, set[str]] = {}
    for r in m.prompt_test_results:
        if m.epoch in (None, r["epoch"]):
            tested.setdefault(r["epoch"], set()).add(r["prompt"])
    for epoch, seen in sorted(tested.items()):
        prompts = [p for p in m.prompts if p[0] in seen]
        high = max(len(seeds) for _, seeds, _ in prompts)
        sheet = np.full((high * (_TILE + 2), len(prompts) * (_TILE + 2), 3), 255, dtype=np.uint8)
        for x, (prompt, seeds, _) in enumerate(prompts):
            for y, seed in enumerate(seeds):
                png = m.find(epoch, prompt, seed)
                if png is not None:
                    at = (y * (_TILE + 2), x * (_TILE + 2))
                    sheet[at[0] : at[0] + _TILE, at[1] : at[1] + _TILE] = charts.thumbnail(png, _TILE)
        sheets.append(Mosaic(epoch, tuple(p[0] for p in prompts), _webp(sheet)))
    return sheets


@dataclass(frozen=True)
class Comparison:
    """The same prompt and seed twice, and where they differ: mean CIEDE2000 over the pixels shown."""

    prompt: str
    text: str
    seed: int
    baseline: str
    before: bytes
    now: bytes
    heat: bytes
    difference: float


def _comparisons(m: Material, epoch: int | None) -> list[Comparison]:
    """One seed per prompt in a run's report, every seed in an epoch's."""
    if epoch is None:
        return []
    found = []
    for prompt, seeds, text in m.prompts:
        for seed in seeds if m.epoch is not None else seeds[:1]:
            before, now = m.baseline.find(epoch, prompt, seed), m.find(epoch, prompt, seed)
            if before is None or now is None:
                continue
            first, second = charts.thumbnail(before[1], _SIDE), charts.thumbnail(now, _SIDE)
            apart = heat(first, second)
            found.append(
                Comparison(
                    prompt, text, seed, before[0], _webp(first), _webp(second), _webp(charts.heat_colours(apart / _FULL)),
                    float(apart.mean()),
                )
            )  # fmt: skip
    return found


def heat(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """CIEDE2000 of each pixel pair of two pictures of one shape: float32 (height, width)."""
    return ciede2000(lab(first, np.float32), lab(second, np.float32))


def _issue_table(rows: Sequence[Row]) -> dict[str, Any]:
    """Issues that ever were, by epoch: {epochs, rows: [(name, {epoch: row})]}."""
    names = sorted({r["issue"] for r in rows if r["state"] != ABSENT})
    return {
        "epochs": sorted({r["epoch"] for r in rows if r["issue"] in names}),
        "rows": [(n, {r["epoch"]: r for r in rows if r["issue"] == n}) for n in names],
    }


@dataclass(frozen=True)
class Learning:
    """One statement and the anchor of the row that supports it."""

    text: str
    row: str


def learnings(m: Material) -> list[Learning]:
    """What the rows say, in sentences. A difference is stated only if it is more than noise."""
    said = []
    for c in m.epoch_choices:
        if c["marked"]:
            said.append(
                Learning(
                    f"On {_prompts(c['prompts'])} ({c['level']}), epoch {c['best_epoch']} is best. Its lead is "
                    f"more than noise (p {_p(c['p'])}), and {100 * c['confidence']:.0f}% of resamples choose it.",
                    row_id("epoch_choices", c),
                )
            )
        elif c["best_epoch"] is not None:
            said.append(
                Learning(
                    f"On {_prompts(c['prompts'])} ({c['level']}), no epoch is better beyond noise (p {_p(c['p'])}).",
                    row_id("epoch_choices", c),
                )
            )
        if c["last_below_low"] is not None and c["last_below_low"] > 0:
            said.append(
                Learning(
                    f"The last epoch, {c['last_epoch']}, scores {c['last_below']:.1f} points below epoch "
                    f"{c['best_epoch']} on {_prompts(c['prompts'])} "
                    f"(95% interval {c['last_below_low']:.1f} to {c['last_below_high']:.1f}).",
                    row_id("epoch_choices", c),
                )
            )
        if c["inflection_marked"]:
            said.append(
                Learning(
                    f"The trend turns at epoch {c['inflection_epoch']} (p {_p(c['inflection_p'])}, {c['level']}).",
                    row_id("epoch_choices", c),
                )
            )
    for w in m.weak_areas:
        if w["weak"] and w["epoch"] == m.epoch:
            said.append(Learning(f"Weak area in {w['scope']}: {w['sentence']}.", row_id("weak_areas", w)))
    if m.advice is not None:
        said.append(Learning(f"Convergence rule: {m.advice['sentence']}", row_id("advice", m.advice)))
    return said
