"""Stores a vector for every output that lacks one. The model is called once for each different content.

A vector that is there already is taken again only if the model would be used and held as it was for that vector.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from panic_assets.compute.protocol import Compute, Needs
from panic_assets.lake.lake import Lake
from panic_assets.model_settings import Recorder, alike
from panic_assets.models import weights
from panic_assets.models.protocol import Account
from panic_assets.models.settings import Held, settings_of
from panic_assets.registry.spec import ModelSpec
from panic_assets.trajectories.runs.embed import ToEmbed, Vectors, embed
from panic_assets.trajectories.versions import EMBED_VERSION

ROWS_A_BLOCK = {"text": 4096, "image": 256}
RUNS_A_QUERY = 64
CACHE_BYTES = 64 << 20
"""Size of the cache of vectors, for contents that repeat. Older vectors are read back from the lake."""


def matrix(column: pa.ChunkedArray, dimension: int | None) -> np.ndarray:
    """A vector column as float32 (n, dimension)."""
    flat = column.combine_chunks().flatten()
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), dimension)


def vector_array(values: np.ndarray) -> pa.Array:
    """The inverse: float32 (n, d) as an Arrow list array."""
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(values, dtype=np.float32).ravel())


def embed_missing(
    lake: Lake,
    compute: Compute,
    needs: Needs,
    experiment: str,
    spec: ModelSpec,
    held: Collection[Held],
    recorder: Recorder,
    tell: Callable[[int], None],
    refresh: Callable[[], None],
) -> tuple[int, list[str]]:
    """Store the vectors that are missing of one model; returns (rows stored, problems as sentences).

    `held` says how the workers hold the model; `recorder` stores how it ran. A block is written while the model works on the next one.
    """
    place = {"experiment": experiment, "embedding_model": spec.name}
    done = set(lake.sql("SELECT invocation_id FROM embeddings", **place)["invocation_id"].to_pylist())
    problems: list[str] = []
    with lake.writer("embeddings", **place) as out, ThreadPoolExecutor(1) as scribe:

        def flush() -> None:
            scribe.submit(out.flush).result()

        def written(one: Future[bool], rows: int) -> None:
            if one.result():
                refresh()
            tell(rows)

        if spec.role == "control":
            blocks = _walks(lake, experiment, spec, recorder, done)
        else:
            blocks = _Contents(lake, compute, needs, spec, held, recorder, flush, problems).blocks(experiment, done)
        before: tuple[Future[bool], int] | None = None
        for block in blocks:
            if before:
                written(*before)
            before = scribe.submit(out.add, _table(block, experiment, spec)), len(block.rows)
        if before:
            written(*before)
        return out.rows, problems


@dataclass(frozen=True)
class _Made:
    """How a vector was made: by which settings, and how much of the content was read."""

    settings: str
    account: Account


_Vector: TypeAlias = tuple[np.ndarray, _Made]


@dataclass(frozen=True)
class Block:
    """Rows of invocations with their vectors, and how each vector was made."""

    rows: pa.Table
    vectors: np.ndarray
    made: Sequence[_Made]


def _table(block: Block, experiment: str, spec: ModelSpec) -> pa.Table:
    rows, count = block.rows, len(block.rows)

    def constant(value: object) -> pa.Array:
        return pa.repeat(pa.scalar(value), count)

    return pa.table(
        {
            "invocation_id": rows["invocation_id"],
            "run_id": rows["run_id"],
            "experiment": constant(experiment),
            "sequence_number": rows["sequence_number"],
            "embedding_model": constant(spec.name),
            "model_revision": constant(weights.revision(spec)),
            "settings_id": pa.array([made.settings for made in block.made], pa.string()),
            "content_hash": rows["content_hash"],
            "tokens_given": pa.array([made.account.tokens_given for made in block.made], pa.int32()),
            "tokens_read": pa.array([made.account.tokens_read for made in block.made], pa.int32()),
            "normalised": constant(spec.normalised),
            "vector": vector_array(block.vectors),
            "embedded_at": constant(datetime.now(UTC)),
            "code_version": constant(EMBED_VERSION),
        }
    )


def _walks(lake: Lake, experiment: str, spec: ModelSpec, recorder: Recorder, done: set[str]) -> Iterator[Block]:
    """The control's vectors: one walk per run. It depends on the run's definition, not its id, so it can be redone."""
    from panic_assets.models.load import load

    control = load(spec)
    settings = settings_of(spec, control, "cpu")
    recorder.note(settings)
    runs = lake.sql("SELECT run_id, network, prompt, seed, replicate FROM runs ORDER BY run_id", experiment=experiment)
    for start in range(0, runs.num_rows, RUNS_A_QUERY):
        some = runs.slice(start, RUNS_A_QUERY).to_pylist()
        found = lake.sql(
            "SELECT invocation_id, run_id, sequence_number, content_hash FROM invocations "
            "WHERE run_id IN (SELECT unnest(?)) AND type = ? ORDER BY run_id, sequence_number",
            [[run["run_id"] for run in some], spec.input],
            experiment=experiment,
        )
        lengths = Counter(found["run_id"].to_pylist())
        first = 0
        for run in some:
            rows = found.slice(first, lengths[run["run_id"]])
            first += len(rows)
            new = np.array([i not in done for i in rows["invocation_id"].to_pylist()], dtype=bool)
            if new.any():
                key = "/".join([experiment, run["network"], run["prompt"], str(run["seed"]), str(run["replicate"])])
                yield Block(
                    rows.filter(pa.array(new)),
                    control.walk(key, len(rows))[new],
                    [_Made(settings.id, Account())] * int(new.sum()),
                )


class _Contents:
    """Vectors by content: each different content is embedded once by a model, in whichever runs it occurs."""

    def __init__(
        self,
        lake: Lake,
        compute: Compute,
        needs: Needs,
        spec: ModelSpec,
        held: Collection[Held],
        recorder: Recorder,
        flush: Callable[[], None],
        problems: list[str],
    ) -> None:
        self.lake, self.compute, self.needs, self.spec = lake, compute, needs, spec
        self.recorder, self.flush, self.problems = recorder, flush, problems
        self.cache: OrderedDict[str, _Vector] = OrderedDict()
        assert spec.dimension is not None
        self.cache_size = CACHE_BYTES // (4 * spec.dimension)
        self.revision = weights.revision(spec)
        self.alike = set(alike(lake, spec, held))
        """Settings whose vectors serve here."""
        stored = lake.sql(
            "SELECT DISTINCT content_hash FROM embeddings WHERE model_revision = ? AND settings_id IN (SELECT unnest(?))",
            [self.revision, list(self.alike)],
            embedding_model=spec.name,
        )
        self.known: set[bytes] = {bytes.fromhex(h)[:16] for h in stored["content_hash"].to_pylist()}

    def blocks(self, experiment: str, done: set[str]) -> Iterator[Block]:
        """Rows without a vector, in the order they were stored, with their vectors."""
        import pyarrow.compute as pc  # Late: the definitions do not wait for it.

        content = f"output_{self.spec.input}"
        columns = ["invocation_id", "run_id", "sequence_number", "content_hash", "type", content]
        for path in self.lake.files("invocations", experiment=experiment):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(ROWS_A_BLOCK[self.spec.input], columns=columns):
                    rows = pa.Table.from_batches([batch])
                    rows = rows.filter(pc.equal(rows["type"], self.spec.input))
                    if done:
                        new = [i not in done for i in rows["invocation_id"].to_pylist()]
                        rows = rows.filter(pa.array(new, pa.bool_()))
                    if rows.num_rows:
                        yield self._with_vectors(rows, content)

    def _with_vectors(self, rows: pa.Table, content: str) -> Block:
        hashes = rows["content_hash"].to_pylist()
        first = {h: index for index, h in reversed(list(enumerate(hashes)))}
        found = {h: self.cache[h] for h in first if h in self.cache}
        stored = [h for h in first if h not in found and bytes.fromhex(h)[:16] in self.known]
        if stored:
            found.update(self._stored(stored))
        fresh = [h for h in first if h not in found]
        if fresh:
            column = rows[content]
            found.update(self._computed(fresh, [column[first[h]].as_py() for h in fresh]))
        for h, vector in found.items():
            self.cache[h] = vector
            self.cache.move_to_end(h)
        while len(self.cache) > self.cache_size:
            self.cache.popitem(last=False)
        good = np.array([h in found for h in hashes], dtype=bool)
        values = np.array([found[h][0] for h in hashes if h in found], dtype=np.float32)
        made = [found[h][1] for h in hashes if h in found]
        return Block(rows.filter(pa.array(good)), values.reshape(len(made), self.spec.dimension or 0), made)

    def _stored(self, hashes: Sequence[str]) -> dict[str, _Vector]:
        """Vectors of contents embedded before, here or in another experiment."""
        self.flush()
        rows = self.lake.sql(
            "SELECT DISTINCT ON (content_hash) content_hash, vector, settings_id, tokens_given, tokens_read FROM embeddings "
            "WHERE content_hash IN (SELECT unnest(?)) AND model_revision = ? AND settings_id IN (SELECT unnest(?))",
            [list(hashes), self.revision, list(self.alike)],
            embedding_model=self.spec.name,
        )
        vectors = matrix(rows["vector"], self.spec.dimension)
        told = rows.select(["content_hash", "settings_id", "tokens_given", "tokens_read"]).to_pylist()
        return {
            r["content_hash"]: (vector, _Made(r["settings_id"], Account(r["tokens_given"], r["tokens_read"])))
            for r, vector in zip(told, vectors, strict=True)
        }

    def _computed(self, hashes: Sequence[str], contents: Sequence[str | bytes]) -> dict[str, _Vector]:
        parts = min(self.compute.width(self.needs), len(hashes))
        tasks = [ToEmbed(self.spec.asked, tuple(contents[part::parts])) for part in range(parts)]
        found: dict[str, _Vector] = {}
        result: Vectors
        for part, result in self.compute.stream(embed, tasks, self.needs, lambda task: task):
            made_by = ""
            if result.settings:
                self.recorder.note(result.settings)
                made_by = result.settings.id
                self.alike.add(made_by)
            for index, h in enumerate(hashes[part::parts]):
                if index in result.problems:
                    self.problems.append(f"content {h[:12]}: {result.problems[index]}")
                else:
                    found[h] = result.values[index], _Made(made_by, result.accounts[index])
        self.known.update(bytes.fromhex(h)[:16] for h in found)
        return found
