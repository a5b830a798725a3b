"""A lake, a compute and an experiment small enough to perform in a second. Importable by child processes."""

import contextlib
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.protocol import Compute
from panic_assets.errors import UserError
from panic_assets.lake import catalogue
from panic_assets.lake.lake import Lake, Writer
from panic_assets.tables import open_lake
from panic_assets.trajectories import stages
from panic_assets.trajectories.config import Definition, from_json, parse

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
    with lake.lease(f"experiment {wanted.name}", wait_seconds=600):
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


def child(
    root: Path, text: str, seconds: float = 0.05, file_limit: int | None = None, for_analysts: bool = True
) -> None:
    """What a child process does: perform the experiment in the lake under `root`, showing rows every `seconds`, and
    build the catalogue for analysts meanwhile."""
    assert Writer.__init__.__kwdefaults__ is not None
    Writer.__init__.__kwdefaults__["every_seconds"] = seconds
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    lake, path = open_lake(root / "lake"), root / "panic.duckdb"
    built = 0.0

    def refresh() -> None:
        nonlocal built
        if for_analysts and time.monotonic() - built > 0.5:
            catalogue.build(lake, path)
            built = time.monotonic()

    try:
        perform(lake, from_json(text), refresh=refresh)
        if for_analysts:
            catalogue.build(lake, path)
    except UserError as error:
        (root / "refusal").write_text(str(error))
        os._exit(3)


FORKSERVER = multiprocessing.get_context("forkserver")
"""Children start from a process that has imported everything and has no threads."""
FORKSERVER.set_forkserver_preload([__name__, "panic_assets.trajectories.topology.diagrams", "gph"])


@contextlib.contextmanager
def started(root: Path, wanted: Definition, **options: Any) -> Iterator[multiprocessing.process.BaseProcess]:
    """A child that performs an experiment; ended, at the latest, with the block."""
    process = FORKSERVER.Process(target=child, args=(root, wanted.json), kwargs=options)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
