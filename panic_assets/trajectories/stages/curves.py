"""Stored diagrams as curves and images, on one grid per experiment, model and dimension."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from panic_assets.lake.lake import Lake
from panic_assets.trajectories.topology.curves import betti_curve, image, landscape

VALUES = 64
SIDE = 16
CURVES = ("value", "betti", "landscape_1", "landscape_2", "landscape_3")
PIXELS = ("birth", "length", "weight")
DIAGRAMS_A_QUERY = 128


def vectorised(lake: Lake, place: dict[str, str]) -> int:
    """Replace persistence_curves and persistence_images; returns how many rows those are now."""
    extent = """SELECT dimension, max(death - birth) AS longest, max(death) AS last FROM persistence_bars
                WHERE isfinite(death) GROUP BY dimension"""
    axes = {r["dimension"]: (r["longest"], r["last"]) for r in lake.sql(extent, **place).to_pylist()}
    with (
        lake.replacing("persistence_curves", **place) as curves,
        lake.replacing("persistence_images", **place) as images,
    ):
        for run, dimension, bars in _diagrams(lake, place):
            if dimension not in axes:
                continue
            longest, last = axes[dimension]
            mark = {**place, "run_id": run, "dimension": dimension}
            values = np.linspace(0, last, VALUES)
            curves.add(_rows(mark, CURVES, values, betti_curve(bars, values), *landscape(bars, values)))
            if dimension > 0:  # In H0 all births are 0.
                births, lengths = (np.linspace(0, most, SIDE + 1) for most in (last, longest))
                weights = image(bars, births, lengths, sigma=longest / SIDE)
                middles = np.meshgrid((births[1:] + births[:-1]) / 2, (lengths[1:] + lengths[:-1]) / 2)
                images.add(_rows(mark, PIXELS, *(a.ravel() for a in middles), weights.ravel()))
        return curves.rows + images.rows


def _diagrams(lake: Lake, place: dict[str, str]) -> Iterator[tuple[str, int, np.ndarray]]:
    """Run, dimension and (b, 2) bars of every diagram, a few in memory at once."""
    made = lake.sql("SELECT run_id, dimension FROM persistence_summary ORDER BY ALL", **place).to_pylist()
    for start in range(0, len(made), DIAGRAMS_A_QUERY):
        some = made[start : start + DIAGRAMS_A_QUERY]
        rows = lake.sql(
            """SELECT run_id, dimension, list([birth, death] ORDER BY bar) AS bars FROM persistence_bars
               WHERE run_id IN (SELECT unnest(?)) GROUP BY ALL""",
            [[r["run_id"] for r in some]],
            **place,
        ).to_pylist()
        found = {(r["run_id"], r["dimension"]): r["bars"] for r in rows}
        for key in ((r["run_id"], r["dimension"]) for r in some):
            yield *key, np.array(found.get(key, []), dtype=np.float64).reshape(-1, 2)


def _rows(mark: dict[str, Any], names: tuple[str, ...], *columns: np.ndarray) -> list[dict[str, Any]]:
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [{**mark, **dict(zip(names, row, strict=True))} for row in values]
