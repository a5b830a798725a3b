"""Simulated worlds: painters, writers and an embedder whose runs have a known truth. They need no weights.

A text is a place: a room and coordinates. A writer reads the place in a picture and moves it by its law; a painter may push it
before it paints it; `SimSpace` embeds a text where the place is, so distances between vectors are distances in the world.
With five painters and five writers, a panel of 25 networks can be rehearsed.
"""

from typing import Any

from panic_assets.registry.spec import ModelSpec

ROOMS = 4
NOISE = 0.05
COORDINATES = 4
PUSHES = (0.0, 0.0, 0.1, 0.2, 0.4)
"""Standard deviation, in every coordinate, of what each painter adds. The first two are the same: they have no effect."""
LAWS: dict[str, tuple[dict[str, Any], str]] = {
    "SimAttractors": (
        {"law": "attractors", "rate": 0.5},
        f"The place approaches the middle of its room, of which there are {ROOMS}, by half at each step.",
    ),
    "SimMarkov": (
        {"law": "markov", "stay": 0.9},
        "The place is near the middle of its room. With probability 0.1 it moves into one of the others.",
    ),
    "SimCircle": ({"law": "circle", "period": 12}, "The place goes round a circle of radius 1 in 12 steps."),
    "SimWalk": ({"law": "walk"}, "The place moves by independent steps: a random walk."),
    "SimRest": (
        {"law": "rest", "rate": 0.5},
        "The place approaches the middle of its room without noise, and rests there.",
    ),
}
"""Writer -> its settings, and what it does."""


def _painter(number: int, push: float) -> ModelSpec:
    what = (
        f"Pushes the place by normal noise of {push:g} in every coordinate." if push else "Paints the place as it is."
    )
    return ModelSpec(
        f"SimPainter{number}", "generator", "sim_painter", proof="real", input="text", output="image", image_size=64,
        device="cpu", batch_limit=4096, parameters=(("push", push),), doc=what,
    )  # fmt: skip


def _writer(name: str, settings: dict[str, Any], doc: str) -> ModelSpec:
    return ModelSpec(
        name, "generator", "sim_writer", proof="real", input="image", output="text", device="cpu", batch_limit=4096,
        parameters=tuple(sorted(settings.items())), doc=doc,
    )  # fmt: skip


GENERATORS = (
    *(_painter(number, push) for number, push in enumerate(PUSHES, 1)),
    *(_writer(name, settings, doc) for name, (settings, doc) in LAWS.items()),
)

EMBEDDERS = (
    ModelSpec(
        "SimSpace", "embedder", "sim_space", proof="real", input="text", dimension=32, device="cpu", batch_limit=4096,
        doc="The place that a text of a simulated world names, so that distances between vectors are known.",
    ),
)  # fmt: skip
