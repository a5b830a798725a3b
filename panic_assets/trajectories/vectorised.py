"""Stored diagrams as curves and images, on one grid an experiment, model and dimension."""

from typing import Any

import numpy as np

from panic_assets.lake.lake import Lake
from panic_assets.trajectories.vectorisations import betti_curve, image, landscape

VALUES = 64
SIDE = 16
CURVES = ("value", "betti", "landscape_1", "landscape_2", "landscape_3")
PIXELS = ("birth", "length", "weight")


def vectorised(lake: Lake, place: dict[str, str]) -> int:
    """Replace persistence_curves and persistence_images; returns how many rows those are now."""
    diagrams = lake.sql(
        """SELECT s.run_id, s.dimension, list([birth, death] ORDER BY bar) FILTER (bar IS NOT NULL) AS bars,
                  any_value(longest) AS longest, any_value(last) AS last
           FROM persistence_summary s LEFT JOIN persistence_bars b USING (run_id, dimension)
           JOIN (SELECT dimension, max(death - birth) AS longest, max(death) AS last FROM persistence_bars
                 WHERE isfinite(death) GROUP BY dimension) USING (dimension)
           GROUP BY ALL ORDER BY ALL""",
        **place,
    ).to_pylist()
    with (
        lake.replacing("persistence_curves", **place) as curves,
        lake.replacing("persistence_images", **place) as images,
    ):
        for one in diagrams:
            mark = {**place, "run_id": one["run_id"], "dimension": one["dimension"]}
            bars = np.array(one["bars"] or [], dtype=np.float64).reshape(-1, 2)
            values = np.linspace(0, one["last"], VALUES)
            curves.add(_rows(mark, CURVES, values, betti_curve(bars, values), *landscape(bars, values)))
            if one["dimension"] > 0:  # In H0 all births are 0.
                births, lengths = (np.linspace(0, one[most], SIDE + 1) for most in ("last", "longest"))
                weights = image(bars, births, lengths, sigma=one["longest"] / SIDE)
                middles = np.meshgrid((births[1:] + births[:-1]) / 2, (lengths[1:] + lengths[:-1]) / 2)
                images.add(_rows(mark, PIXELS, *(a.ravel() for a in middles), weights.ravel()))
        return curves.rows + images.rows


def _rows(mark: dict[str, Any], names: tuple[str, ...], *columns: np.ndarray) -> list[dict[str, Any]]:
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [{**mark, **dict(zip(names, row, strict=True))} for row in values]
