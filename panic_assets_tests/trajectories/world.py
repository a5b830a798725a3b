"""A lake, a compute and an experiment small enough to perform in a second. Importable by child processes."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.protocol import Compute
from panic_assets.lake import catalogue
from panic_assets.lake.lake import Lake, Writer
from panic_assets.trajectories import stages
from panic_assets.trajectories.config import Definition, parse

LOOP = ["DummyT2I", "DummyI2T"]
LONG = ["DummyT2I", "DummyI2T", "DummyT2I2", "DummyI2T2"]


class Nobody:
    """Watches nothing."""

    @contextlib.contextmanager
    def stage(self, *_: object) -> Iterator[Callable[[int], None]]:
        yield lambda count: None


def definition(name: str = "a", **fields: Any) -> Definition:
    """A valid definition, with what a test cares about replaced."""
    usual: dict[str, Any] = {
        "networks": [LOOP],
        "prompts": ["a red cat"],
        "seeds": [1],
        "embedding_models": ["DummyText"],
        "max_length": 10,
        "image_size": 16,
    }
    return parse({"name": name, **usual, **fields})


def nothing() -> None:
    """Refreshes nothing."""


def perform(
    lake: Lake, wanted: Definition, compute: Compute | None = None, refresh: Callable[[], None] = nothing
) -> None:
    """Every stage, one after another, as the graph would."""
    compute = compute or InProcessCompute()
    stages.register(lake, wanted)
    with lake.lease(f"experiment {wanted.name}", wait_seconds=60):
        stages.plan(lake, wanted.name)
        for stage in (stages.walk, stages.embed, stages.diagrams):
            done = stage(lake, compute, Nobody(), refresh, wanted.name)
            assert not done.problems, done.problems


def trace(lake: Lake, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything a result is, in a fixed order, without ids and times."""
    key = "network, prompt, runs.seed, replicate"
    queries = {
        "runs": f"SELECT {key}, max_length, length, stop_reason, loop_length FROM runs ORDER BY ALL",
        "invocations": f"""SELECT {key}, sequence_number, model, model_revision, type, i.seed, input_hash, content_hash,
            output_text, output_image, blank FROM invocations i JOIN runs USING (run_id) ORDER BY ALL""",
        "embeddings": f"""SELECT {key}, sequence_number, embedding_model, model_revision, content_hash, normalised, vector
            FROM embeddings JOIN runs USING (run_id) ORDER BY ALL""",
        "persistence_bars": f"""SELECT {key}, embedding_model, dimension, bar, birth, death
            FROM persistence_bars JOIN runs USING (run_id) ORDER BY ALL""",
        "persistence_summary": f"""SELECT {key}, embedding_model, dimension, points, distinct_points, bars, finite_bars,
            entropy, total_persistence FROM persistence_summary JOIN runs USING (run_id) ORDER BY ALL""",
    }
    return {
        table: [tuple(row.values()) for row in lake.sql(query, experiment=name).to_pylist()]
        for table, query in queries.items()
    }


def flushing_every(seconds: float) -> None:
    """In a child process that is about to be killed: rows become durable this often, so that kills find them."""
    assert Writer.__init__.__kwdefaults__ is not None
    Writer.__init__.__kwdefaults__["every_seconds"] = seconds


def main() -> None:
    """A child process: `world.py ROOT SECONDS DEFINITION` performs an experiment in the lake under ROOT."""
    from panic_assets.trajectories.config import from_json

    root, seconds, text = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    flushing_every(seconds)
    lake = Lake(root / "lake")
    print("ready", flush=True)
    perform(lake, from_json(text), refresh=lambda: catalogue.build(lake, root / "panic.duckdb"))
    catalogue.build(lake, root / "panic.duckdb")


if __name__ == "__main__":
    main()
