"""From a bar of a stored persistence diagram to the images and captions that make it: a loop or void of outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from panic_assets.errors import UserError
from panic_assets.lake.lake import Lake
from panic_assets.registry import registry
from panic_assets.trajectories import missing
from panic_assets.trajectories.stages.vectors import matrix
from panic_assets.trajectories.topology import cycles, diagrams


@dataclass(frozen=True)
class Step:
    """An embedded output with what it was made from: a caption and its image, or an image and its text."""

    sequence_number: int
    text: str | None
    image: bytes | None
    image_format: str


@dataclass(frozen=True)
class Representative:
    """A bar of H1 (a loop) or H2 (a void), and outputs of the run that make it."""

    dimension: int
    bar: int
    birth: float
    death: float
    metric: str
    captions: bool
    """Whether captions are what was embedded; else images."""
    rounds: tuple[tuple[Step, ...], ...]
    """Closed walks, mostly one. H1: neighbours are no farther apart than the birth. H2: the equator of the void, whose
    poles are the first two of `death_steps`; all distances are below the death."""
    birth_steps: tuple[Step, ...]
    """The two outputs whose distance is the birth; in H2 a third."""
    death_steps: tuple[Step, ...]
    """Three outputs that fill the loop, four that fill the void; the distance of the first two is the death."""


def representative(
    lake: Lake, run: Mapping[str, Any], model: str, bar: int | None = None, dimension: int = 1
) -> Representative:
    """A loop (or void) that makes one bar of a run's diagram, by default its longest bar. Computed anew, not stored."""
    name = {1: "loop", 2: "void"}.get(dimension)
    if name is None:
        raise UserError(f"dimension is {dimension}; it must be 1 (loops) or 2 (voids)")
    place = {"experiment": run["experiment"], "embedding_model": model}
    bars = lake.sql(
        """SELECT b.*, s.metric, s.field, s.used_points FROM persistence_bars b
           JOIN persistence_summary s USING (run_id, dimension) WHERE run_id = ? AND dimension = ? ORDER BY bar""",
        [run["run_id"], dimension],
        **place,
    ).to_pylist()
    if not bars:
        raise UserError(
            f"run {run['run_id']} has no {name} by {model!r}; `panic run list` and `panic experiment status` show "
            "what there is" + ("; voids are looked for with --max-dimension 2" if dimension == 2 else "")
        )
    if bar is None:
        bar = max(range(len(bars)), key=lambda k: bars[k]["death"] - bars[k]["birth"])
    if bar >= len(bars):
        raise UserError(f"bar is {bar}; the diagram has bars 0 to {len(bars) - 1} in H{dimension}")
    rows = lake.sql(
        "SELECT invocation_id, vector FROM embeddings WHERE run_id = ? ORDER BY sequence_number",
        [run["run_id"]],
        **place,
    )
    chosen, ids = bars[bar], rows["invocation_id"].to_pylist()
    vectors = matrix(rows["vector"], registry.get(model).dimension)
    vectors = diagrams.directions(vectors) if chosen["metric"] == "angle" else vectors
    try:
        rounds = _rounds(vectors, chosen, ids)
    except ValueError as error:
        if chosen["field"] == 2:
            raise
        raise UserError(
            f"bar {bar} of H{dimension} exists with coefficients modulo {chosen['field']}, but no {name} makes it "
            "modulo 2, where it is looked for; make the diagram again with --field 2"
        ) from error
    captions = registry.get(model).input == "text"
    needed = {i for walk in (*rounds, chosen["birth_invocations"], chosen["death_invocations"]) for i in walk}
    steps = _steps(lake, run["experiment"], sorted(needed))

    def seen(walk: list[str]) -> tuple[Step, ...]:
        return tuple(steps[i] for i in walk)

    return Representative(
        dimension,
        bar,
        chosen["birth"],
        chosen["death"],
        chosen["metric"],
        captions,
        tuple(map(seen, rounds)),
        seen(chosen["birth_invocations"]),
        seen(chosen["death_invocations"]),
    )


def _rounds(vectors: np.ndarray, bar: Mapping[str, Any], ids: list[str]) -> list[list[str]]:
    """Invocations along the closed walks of a bar's representative."""
    birth, death = (np.array([ids.index(i) for i in bar[f"{end}_invocations"]]) for end in ("birth", "death"))
    if bar["dimension"] == 1:
        rounds = cycles.loop(vectors, bar["used_points"], birth)
    else:
        rounds = cycles.void(vectors, bar["used_points"], death).rounds
    return [[ids[row] for row in walk] for walk in rounds]


def _steps(lake: Lake, experiment: str, invocations: list[str]) -> dict[str, Step]:
    found = missing.definition(lake, experiment)
    image_format = found.image_format if found else "png"
    rows = lake.sql(
        """SELECT i.invocation_id, i.sequence_number, coalesce(i.output_text, p.output_text, prompt) AS text,
                  coalesce(i.output_image, p.output_image) AS image
           FROM invocations i JOIN runs USING (run_id)
           LEFT JOIN invocations p ON p.invocation_id = i.input_invocation_id
           WHERE i.invocation_id IN (SELECT unnest(?))""",
        [invocations],
        experiment=experiment,
    ).to_pylist()
    return {r["invocation_id"]: Step(r["sequence_number"], r["text"], r["image"], image_format) for r in rows}
