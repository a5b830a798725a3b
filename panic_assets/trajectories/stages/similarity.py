"""How far apart the diagrams of runs are, within an experiment and from those of others: computed once, and stored.

A pair is known by both diagrams' bars: recomputed diagrams that come out the same keep their distances, changed ones
lose them. Only diagrams of one metric and field are compared.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np

from panic_assets.lake.lake import Lake
from panic_assets.progress import Watcher

CODE_VERSION = "2"


@dataclass(frozen=True)
class Diagrams:
    """Diagrams of some runs of one experiment by one embedding model."""

    experiment: str
    kind: tuple[str, int]
    """Metric and field."""
    bars: Mapping[tuple[str, int], np.ndarray]
    """(run, dimension) -> (b, 2) its finite bars."""

    def runs(self, most: int) -> list[str]:
        """At most `most` of the runs."""
        return sampled({run for run, _ in self.bars}, most)


@dataclass(frozen=True)
class _Pair:
    run_id: str
    other_experiment: str
    other_run_id: str
    dimension: int
    diagrams: tuple[np.ndarray, np.ndarray]

    @property
    def key(self) -> tuple[Any, ...]:
        """What a stored row of the pair must agree in to be kept; the same from either side."""
        return frozenset((self.run_id, self.other_run_id)), self.dimension, self.diagrams_hash

    @property
    def diagrams_hash(self) -> str:
        hashes = sorted(hashlib.blake2b(bars.tobytes(), digest_size=16).hexdigest() for bars in self.diagrams)
        return "".join(hashes)


def similarity(lake: Lake, watcher: Watcher, place: dict[str, str], distance_runs: int, across_runs: int) -> int:
    """Compute and store the distances that are missing; returns how many those were.

    Between all pairs of `distance_runs` runs of the experiment, and of `across_runs` runs with as many of each other.
    """
    from panic_assets.trajectories.topology.bar_distances import distances

    here = diagrams_of(lake, place, distance_runs)
    mine, elsewhere = _stored(lake, place, here=True), _stored(lake, place, here=False)
    kept: list[dict[str, Any]] = []
    todo: list[_Pair] = []
    for pair in _pairs(lake, place, here, across_runs):
        if pair.key in mine:
            kept.append(mine[pair.key])
        elif pair.key not in elsewhere:
            todo.append(pair)
    manifest = lake.manifest("diagram_distances", **place)
    if manifest is not None and len(kept) != manifest.rows:
        lake.replace("diagram_distances", kept, **place)
    bars = [pair.diagrams for pair in todo]
    found = zip(todo, distances(bars), distances(bars, np.inf, np.inf), strict=True)
    with (
        lake.writer("diagram_distances", **place) as out,
        watcher.stage(f"distances {place['embedding_model']}", len(todo), "distances") as tell,
    ):
        for pair, wasserstein, bottleneck in found:
            row = {
                "run_id": pair.run_id,
                "other_experiment": pair.other_experiment,
                "other_run_id": pair.other_run_id,
                "dimension": pair.dimension,
                "wasserstein": wasserstein,
                "bottleneck": bottleneck,
                "diagrams_hash": pair.diagrams_hash,
                "computed_at": datetime.now(UTC),
                "code_version": CODE_VERSION,
            }
            out.add([{**place, **row}])
            tell(1)
    return len(todo)


def _pairs(lake: Lake, place: dict[str, str], here: Diagrams | None, across_runs: int) -> Iterator[_Pair]:
    """Every pair whose distance is wanted. Other experiments are loaded one at a time."""
    if here is None:
        return
    for run, other in combinations(here.runs(len(here.bars)), 2):
        yield from _of_two(here, run, here, other)
    for partition, _ in lake.partitions("persistence_summary", embedding_model=place["embedding_model"]):
        there = diagrams_of(lake, partition, across_runs) if partition != place and across_runs else None
        if there is not None and there.kind == here.kind:
            for run, other in product(here.runs(across_runs), there.runs(across_runs)):
                yield from _of_two(here, run, there, other)


def _of_two(here: Diagrams, run: str, there: Diagrams, other: str) -> Iterator[_Pair]:
    for dimension in range(3):
        bars = here.bars.get((run, dimension)), there.bars.get((other, dimension))
        if bars[0] is not None and bars[1] is not None:
            yield _Pair(run, there.experiment, other, dimension, (bars[0], bars[1]))


def _stored(lake: Lake, place: dict[str, str], here: bool) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Rows of the experiment's partition, or those about it that other experiments store."""
    where = "experiment = ?" if here else "other_experiment = ? AND experiment <> other_experiment"
    rows = lake.sql(
        f"SELECT * FROM diagram_distances WHERE {where} AND code_version = ?",
        [place["experiment"], CODE_VERSION],
        **(place if here else {"embedding_model": place["embedding_model"]}),
    ).to_pylist()
    return {(frozenset((r["run_id"], r["other_run_id"])), r["dimension"], r["diagrams_hash"]): r for r in rows}


def diagrams_of(lake: Lake, place: dict[str, str], most: int) -> Diagrams | None:
    """Finite bars of at most `most` runs of an experiment by a model; None if it has no diagrams."""
    made = lake.sql("SELECT run_id, dimension, metric, field FROM persistence_summary", **place).to_pylist()
    if not made:
        return None
    runs = set(sampled({r["run_id"] for r in made}, most))
    rows = lake.sql(
        """SELECT run_id, dimension, birth, death FROM persistence_bars
           WHERE isfinite(death) AND run_id IN (SELECT unnest(?)) ORDER BY ALL""",
        [list(runs)],
        **place,
    )
    keys = list(zip(rows["run_id"].to_pylist(), rows["dimension"].to_pylist(), strict=True))
    values = np.column_stack([rows["birth"].to_numpy(), rows["death"].to_numpy()])
    starts = [i for i in range(len(keys)) if i == 0 or keys[i] != keys[i - 1]]
    bars = {(r["run_id"], r["dimension"]): np.empty((0, 2)) for r in made if r["run_id"] in runs}
    bars |= {keys[a]: values[a:b] for a, b in pairwise([*starts, len(keys)])}
    return Diagrams(place["experiment"], (made[0]["metric"], made[0]["field"]), bars)


def sampled(runs: Sequence[str] | set[str], most: int) -> list[str]:
    """At most `most` runs, chosen by the hash of their ids, so that a larger sample contains a smaller one. Sorted."""
    return sorted(sorted(runs, key=lambda run: hashlib.blake2b(run.encode()).digest())[:most])
