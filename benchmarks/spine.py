"""What the spine itself costs: per invocation as runs grow, and how long questions take on large lakes.

    python benchmarks/spine.py [--invocations 1600 16000 160000] [--rows 1000000] [--embeddings 100000]

Prints Markdown tables. Costs are CPU seconds, which other work on the machine hardly moves; answers are wall
clock, best of three. Overhead is a stage's CPU time less that of the same model calls and image encoding alone.
"""

import argparse
import contextlib
import hashlib
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.warm import WarmWorker
from panic_assets.lake import catalogue
from panic_assets.lake.invariants import all_findings
from panic_assets.lake.lake import Lake
from panic_assets.tables import open_lake
from panic_assets.trajectories import config, missing, stages
from panic_assets.trajectories.runs.content import stored
from panic_assets.workload import Query
from panic_assets.workloads import RULES

RUNS, MODELS = 16, ["DummyT2I", "DummyI2T"]
DIMENSION = 256


class Nobody:
    """Watches nothing."""

    @contextlib.contextmanager
    def stage(self, *_: object) -> Iterator[Callable[[int], None]]:
        yield lambda count: None


def definition(length: int) -> config.Definition:
    """The reference experiment: 4 prompts x 4 unseeded runs of one network, of any length."""
    return config.parse(
        {
            "name": "reference",
            "networks": [MODELS],
            "prompts": ["a red cat", "a blue house", "rain on a window", "two boats"],
            "seed_count": 4,
            "embedding_models": ["DummyText"],
            "max_length": length,
        }
    )


def floor(length: int) -> tuple[float, list[str]]:
    """CPU seconds of the walk's model calls and image encoding alone, and the captions that came out."""
    worker, captions = WarmWorker("cpu"), list[str]()
    contents: list[Any] = [prompt for prompt in definition(length).prompts for _ in range(4)]
    for name in MODELS:
        worker.model(name)
    began = time.process_time()
    with ThreadPoolExecutor(2) as encoders:
        for step in range(length):
            outputs = worker.model(MODELS[step % 2]).generate(contents, [-1] * RUNS)
            kept = list(encoders.map(lambda output: stored(output, "png"), outputs))
            contents = [content for content, _, _ in kept]
            captions += [c for c in contents if isinstance(c, str)]
    return time.process_time() - began, captions


def peak_mb() -> float:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def overhead(length: int) -> str:
    """One row of the first table; run in a process of its own, whose peak memory is then the stages'."""
    with tempfile.TemporaryDirectory() as folder:
        lake, compute = open_lake(Path(folder) / "lake"), InProcessCompute()
        refresh = catalogue.Refresher(lake, Path(folder) / "panic.duckdb")
        wanted = definition(length)
        stages.register(lake, wanted)
        stages.plan(lake, wanted.name)
        count = wanted.runs * length
        began = time.process_time()
        stages.walk(lake, compute, Nobody(), refresh, wanted.name)
        walk = time.process_time() - began
        began = time.process_time()
        stages.embed(lake, compute, Nobody(), refresh, wanted.name)
        embed = time.process_time() - began
        memory = peak_mb()
        models, captions = floor(length)
        began = time.process_time()
        for start in range(0, len(captions), 4096):
            WarmWorker("cpu").model("DummyText").embed(captions[start : start + 4096])
        embedder = time.process_time() - began
        each = 1000 / count
        own = walk + embed - models - embedder
        size = sum(f.stat().st_size for f in Path(folder).rglob("*.parquet"))
    return (
        f"| {count:,} | {walk * each:.3f} | {models * each:.3f} | {embed * each:.3f} | {embedder * each:.3f} "
        f"| {own * each:.3f} | {memory:,.0f} | {size / count:,.0f} |"
    )


def synthetic(lake: Lake, rows: int, experiments: int = 10) -> None:
    """A complete lake of `rows` invocations in runs of 1,000, half of them captions with a vector and a diagram."""
    length = 1000
    rng = np.random.default_rng(7)
    now = datetime.now(UTC)
    for number in range(experiments):
        name = f"experiment-{number}"
        runs = rows // experiments // length
        wanted = config.parse(
            {
                "name": name,
                "networks": [MODELS],
                "prompts": [f"prompt {p}" for p in range(runs)],
                "seeds": [-1],
                "embedding_models": ["DummyText"],
                "max_length": length,
            }
        )
        stages.register(lake, wanted)
        stages.plan(lake, name)
        planned = lake.sql("SELECT * FROM runs ORDER BY run_id", experiment=name).to_pylist()
        for row in planned:
            row |= {"length": length, "stop_reason": "length", "started_at": now, "completed_at": now}
        lake.replace("runs", planned, experiment=name)
        count = runs * length
        ids = np.array([f"{number:08x}-0000-7000-8000-{i:012x}" for i in range(count)], dtype=object)
        hashes = np.array([hashlib.sha256(i.encode()).hexdigest() for i in ids], dtype=object)
        run_ids = np.repeat(np.array([row["run_id"] for row in planned], dtype=object), length)
        sequence = np.tile(np.arange(length, dtype=np.int32), runs)
        image = sequence % 2 == 0
        before = np.concatenate([[None], ids[:-1]])
        before[sequence == 0] = None
        input_hash = np.concatenate([["0" * 64], hashes[:-1]])

        def same(value: object, of: int = count) -> pa.Array:
            return pa.repeat(pa.scalar(value), of)

        texts = np.array([f"a caption {h[:12]} of a house" for h in hashes], dtype=object)
        texts[image] = None
        pictures = np.array([h[:40].encode() for h in hashes], dtype=object)
        pictures[~image] = None
        invocations = pa.table(
            {
                "invocation_id": ids,
                "run_id": run_ids,
                "experiment": same(name),
                "sequence_number": sequence,
                "model": np.where(image, *MODELS),
                "model_revision": same("built-in"),
                "settings_id": same("measured"),
                "type": np.where(image, "image", "text"),
                "seed": same(-1),
                "input_invocation_id": pa.array(before, pa.string()),
                "input_hash": input_hash,
                "content_hash": hashes,
                "output_text": pa.array(texts, pa.string()),
                "output_image": pa.array(pictures, pa.binary()),
                "blank": same(False),
                "tokens_given": pa.nulls(count),
                "tokens_read": pa.nulls(count),
                "finished": pa.nulls(count),
                "started_at": pa.array([now + timedelta(milliseconds=i) for i in range(count)]),
                "completed_at": same(now),
                "batch_size": same(16),
                "duration_share": same(0.001),
                "code_version": same("1"),
            }
        )
        place = {"experiment": name, "embedding_model": "DummyText"}
        with lake.writer("invocations", experiment=name) as out:
            for start in range(0, count, 50_000):
                out.add(invocations.slice(start, 50_000))
        half = count // 2
        with lake.writer("embeddings", **place) as out:
            for start in range(0, half, 50_000):
                chosen = invocations.filter(pa.array(~image)).slice(start, 50_000)
                part = len(chosen)
                values = rng.standard_normal(part * DIMENSION, dtype=np.float32)
                out.add(
                    chosen.select(["invocation_id", "run_id", "experiment", "sequence_number", "content_hash"])
                    .append_column("embedding_model", same("DummyText", part))
                    .append_column("model_revision", same("built-in", part))
                    .append_column("settings_id", same("measured", part))
                    .append_column("tokens_given", pa.nulls(part))
                    .append_column("tokens_read", pa.nulls(part))
                    .append_column("normalised", same(True, part))
                    .append_column(
                        "vector",
                        pa.ListArray.from_arrays(np.arange(part + 1, dtype=np.int32) * DIMENSION, values),
                    )
                    .append_column("embedded_at", same(now, part))
                    .append_column("code_version", same("1", part))
                )
        bars, summaries = [], []
        for row in planned:
            for dimension, found in ((0, 500), (1, 100)):
                births = np.sort(rng.random(found))
                bars += [
                    {**place, "run_id": row["run_id"], "dimension": dimension, "bar": b, "birth": x, "death": x + 0.1}
                    for b, x in enumerate(births)
                ]
                summaries.append(
                    {
                        **place,
                        "run_id": row["run_id"],
                        "dimension": dimension,
                        "points": length // 2,
                        "distinct_points": length // 2,
                        "used_points": length // 2,
                        "error_bound": 0.0,
                        "bars": found,
                        "finite_bars": found,
                        "entropy": float(np.log(found)),
                        "normalised_entropy": 1.0,
                        "total_persistence": 0.1 * found,
                        "max_persistence": 0.1,
                        "seconds": 0.1,
                        "computed_at": now,
                        "code_version": "1",
                    }
                )
        lake.replace("persistence_bars", bars, **place)
        lake.replace("persistence_summary", summaries, **place)


def best(ask: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest of a few tries."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        took.append(time.perf_counter() - began)
    return min(took)


def _answers(query: Query, lake: Lake, key: str | None) -> int:
    return sum(m.count for m in query(lake, key))


def questions(rows: int) -> None:
    """Status and doctor over a large lake."""
    with tempfile.TemporaryDirectory() as folder:
        lake = open_lake(Path(folder) / "lake")
        synthetic(lake, rows)
        catalogue.build(lake, Path(folder) / "panic.duckdb")
        print(f"\n| over {rows:,} invocations | all, s | one experiment of ten, s |\n|---|---|---|")
        for stage, query in (missing.OF_EXPERIMENT | missing.OF_EMBEDDING_MODEL).items():
            ask = (
                best(partial(_answers, query, lake, None)),
                best(partial(_answers, query, lake, "experiment-3")),
            )
            print(f"| missing {stage} | {ask[0]:.2f} | {ask[1]:.2f} |")
        for table in ("experiments", "runs", "invocations", "embeddings", "persistence_bars", "persistence_summary"):
            found = all_findings(lake, RULES, table)
            if found:
                sys.exit(f"the synthetic lake is not sound: {found}")
            ask = (
                best(partial(all_findings, lake, RULES, table)),
                best(partial(all_findings, lake, RULES, table, experiment="experiment-3")),
            )
            print(f"| rules of {table} | {ask[0]:.2f} | {ask[1]:.2f} |")
        build = best(lambda: catalogue.build(lake, Path(folder) / "panic.duckdb"))
        print(f"| rebuild the catalogue | {build:.2f} | |")


def analysts(embeddings: int) -> None:
    """Typical queries through panic.duckdb."""
    with tempfile.TemporaryDirectory() as folder:
        lake, path = open_lake(Path(folder) / "lake"), Path(folder) / "panic.duckdb"
        synthetic(lake, 2 * embeddings, 5)
        catalogue.build(lake, path)
        queries = {
            "mean entropy by network and dimension": """
                SELECT network, dimension, avg(entropy) FROM persistence_summary JOIN runs USING (run_id)
                GROUP BY ALL ORDER BY ALL""",
            "ten nearest neighbours of a caption": """
                WITH one AS (SELECT vector FROM embeddings_DummyText LIMIT 1)
                SELECT e.invocation_id, array_cosine_distance(e.vector, one.vector) AS distance
                FROM embeddings_DummyText e, one ORDER BY distance LIMIT 10""",
            "their captions as well": """
                WITH one AS (SELECT vector FROM embeddings_DummyText LIMIT 1),
                near AS (SELECT e.invocation_id, array_cosine_distance(e.vector, one.vector) AS distance
                         FROM embeddings_DummyText e, one ORDER BY distance LIMIT 10)
                SELECT distance, output_text FROM near JOIN invocations USING (invocation_id) ORDER BY distance""",
            "invocations by model and hour": """
                SELECT model, date_trunc('hour', started_at) AS hour, count(*), sum(duration_share)
                FROM invocations GROUP BY ALL""",
        }
        print(f"\n| over {embeddings:,} embeddings | s |\n|---|---|")
        for name, query in queries.items():

            def ask(query: str = query) -> None:
                with duckdb.connect(str(path), read_only=True) as connection:
                    connection.sql(query).fetchall()

            print(f"| {name} | {best(ask):.2f} |")


def main() -> None:
    """Everything asked for, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--invocations", type=int, nargs="*", default=[1600, 16_000, 160_000])
    parser.add_argument("--rows", type=int, default=1_000_000, help="0 leaves this table out")
    parser.add_argument("--embeddings", type=int, default=100_000, help="0 leaves this table out")
    asked = parser.parse_args()
    if asked.invocations:
        print("| invocations | walk, ms each | models and encoding | embed, ms each | embedder ", end="")
        print("| overhead, ms each | peak MB | bytes each |\n|---|---|---|---|---|---|---|---|", flush=True)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for count in asked.invocations:
            print(pool.apply(overhead, (count // RUNS,)), flush=True)
    if asked.rows:
        questions(asked.rows)
    if asked.embeddings:
        analysts(asked.embeddings)


if __name__ == "__main__":
    main()
