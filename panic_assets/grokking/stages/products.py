"""Inner products of a run's checkpoints. They are stored, so only a new checkpoint's are computed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from panic_assets.grokking.spectra import pca
from panic_assets.lake.lake import Lake
from panic_assets.progress import Watcher

BLOCK = 64
"""Checkpoints whose weights are in memory at once, twice: 116 MB each time for p = 113."""
Row = Mapping[str, Any]


def grams(lake: Lake, watcher: Watcher, name: str, rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Centred Gram matrix (T, T) of each matrix's path, from the run's T checkpoints in order."""
    known = _known(lake, name, rows)
    new = [row for row in rows if row["epoch"] not in known]
    before = [row for row in rows if row["epoch"] in known]
    with (
        watcher.stage("distances", len(new), "checkpoints") as advance,
        lake.writer("grokking_products", training_run=name) as out,
    ):
        for block in _blocks(new):
            products = _products(block, before)
            for i, row in enumerate(block):
                before.append(row)
                others = [other["epoch"] for other in before]
                count = len(others) * len(products)
                columns = {
                    "training_run": [name] * count,
                    "matrix": np.repeat(list(products), len(others)),
                    "epoch": np.full(count, row["epoch"]),
                    "content_hash": [row["content_hash"]] * count,
                    "other_epoch": np.tile(others, len(products)),
                    "product": np.concatenate([found[i, : len(others)] for found in products.values()]),
                }
                out.add(pa.table(columns))  # all of a checkpoint at once: there or not
            advance(len(block))
    return _read(lake, name, [row["epoch"] for row in rows])


def _known(lake: Lake, name: str, rows: Sequence[Row]) -> set[int]:
    """Epochs whose products are stored. Drops those of checkpoints that were written again or are gone."""
    stored = lake.sql("SELECT DISTINCT epoch, content_hash FROM grokking_products", training_run=name).to_pylist()
    now = {row["epoch"]: row["content_hash"] for row in rows}
    known = {row["epoch"] for row in stored if now.get(row["epoch"]) == row["content_hash"]}
    outdated = sorted({row["epoch"] for row in stored} - known)
    if outdated:
        lake.rewrite(
            "grokking_products",
            "SELECT * FROM grokking_products WHERE NOT list_contains(?1, epoch) AND NOT list_contains(?1, other_epoch)",
            [outdated],
            training_run=name,
        )
    return known


def _blocks(rows: Sequence[Row]) -> list[Sequence[Row]]:
    return [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]


def _products(block: Sequence[Row], before: Sequence[Row]) -> dict[str, np.ndarray]:
    """Of each matrix, float64 (block, before and block): products of a block's checkpoints with all until its end."""
    mine = _stacked(block)
    found: dict[str, list[np.ndarray]] = {matrix: [] for matrix in mine}
    for part in _blocks(before):
        for matrix, theirs in _stacked(part).items():
            found[matrix].append(mine[matrix] @ theirs.T)
    return {matrix: np.hstack([*found[matrix], mine[matrix] @ mine[matrix].T]) for matrix in mine}


def _stacked(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Weights of checkpoints by matrix, float64 (checkpoints, parameters)."""
    from panic_assets.grokking.analysis import arrays, load

    return pca.stacked(arrays(load(row["path"])) for row in rows)


def _read(lake: Lake, name: str, epochs: Sequence[int]) -> dict[str, np.ndarray]:
    import pyarrow.compute as pc  # Late: the definitions do not wait for it.

    table = lake.sql("SELECT matrix, epoch, other_epoch, product FROM grokking_products", training_run=name)
    product = np.array(table["product"])
    i, j = (np.searchsorted(epochs, np.array(table[c])) for c in ("epoch", "other_epoch"))
    out = {}
    for each in pca.GROUPS["all"]:
        mine = np.array(pc.equal(table["matrix"], each))
        gram = np.empty((len(epochs), len(epochs)))
        gram[i[mine], j[mine]] = gram[j[mine], i[mine]] = product[mine]
        out[each] = pca.centred(gram)
    return out
