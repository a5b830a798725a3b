"""What every stage of the graph does around its work: it is the only one that works on its partition, it says what it
did and what went wrong, and it is tried again when that may help.

`stage` makes an asset of a function that takes a `Stage` (what it works with) and returns an `Outcome` (what it did).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg

from panic_assets.asleep import asleep
from panic_assets.compute.protocol import Compute, Needs
from panic_assets.compute.tags import DEVICE, op_tags
from panic_assets.errors import UserError
from panic_assets.executors import executor_name
from panic_assets.instance.home import GPU_POOL
from panic_assets.lake.lake import Lake
from panic_assets.lake.lease import LeaseHeld
from panic_assets.lake.schema import DUCKDB, Table
from panic_assets.operations import operation
from panic_assets.progress import Done, Refresh, Watcher
from panic_assets.resources import LakeResource

if TYPE_CHECKING:
    import duckdb
else:
    duckdb = asleep("duckdb")

OWNERS = ["team:panic"]
WAIT_SECONDS = 30.0
"""How long a stage waits for another process that works on the same thing before it gives up and is tried again."""
RETRIES = 2
BACKOFF_SECONDS = 5.0
PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 8
PREVIEW_CHARACTERS = 40
PROBLEMS_SHOWN = 100

CPU = Needs()
GPU = Needs(device="gpu", gpus=1.0, memory_gb=16.0)

C = TypeVar("C", bound=dg.Config)


def on(needs: Needs) -> dict[str, Any]:
    """What an asset with these needs is declared with: a tag for people, and what the executor must be told."""
    return {"tags": {DEVICE: needs.device}, "op_tags": op_tags(needs, executor_name())}


@dataclass(frozen=True)
class Outcome:
    """What a stage did."""

    done: Done
    shown: Mapping[str, Any] = field(default_factory=dict)
    """Named values for the asset's page: verdict sentences first, then numbers that a person would plot."""
    version: str | None = None
    """Data version: what was made from another one shows as stale."""


def outcome(done: Done, /, version: str | None = None, **shown: Any) -> Outcome:
    """An outcome with its named values. Those that are None are left out, and numbers have six digits: people read them."""
    told = {name.replace("_", " "): v for name, v in shown.items() if v is not None}
    return Outcome(done, {n: float(f"{v:.6g}") if isinstance(v, float) else v for n, v in told.items()}, version)


class Stage:
    """What a stage works with: its partition key, the lake, models, and whom to tell about progress."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self._context = context
        self._lake: LakeResource = context.resources.lake

    @property
    def key(self) -> str:
        """The key of the partition."""
        return self._context.partition_key

    @property
    def lake(self) -> Lake:
        """The tables."""
        return self._lake.lake

    @property
    def compute(self) -> Compute:
        """Where models run."""
        compute: Compute = self._context.resources.compute
        return compute

    @cached_property
    def watcher(self) -> Watcher:
        """Who is told of progress."""
        watcher: Watcher = self._context.resources.progress.watcher(self._context)
        return watcher

    @property
    def refresh(self) -> Refresh:
        """Shows analysts what was stored so far; call it as often as you like."""
        return self._lake.refresher()

    def config(self, kind: type[C]) -> C:
        """What the person who asked for the run gave."""
        return kind(**self._context.op_execution_context.op_config)

    def say(self, sentence: str) -> None:
        """Write a sentence into the run's log."""
        self._context.log.info(sentence)


def stage(
    *tables: Table,
    space: dg.PartitionsDefinition,
    group: str,
    lease: str,
    kinds: set[str],
    deps: Sequence[Any] = (),
    version: str = "1",
    needs: Needs = CPU,
    compute: bool = False,
    config: type[dg.Config] | None = None,
    automation: dg.AutomationCondition | None = None,
    name: str = "",
    changes: Sequence[Table] = (),
    wait_seconds: float | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Callable[[Callable[[Stage], Outcome]], dg.AssetsDefinition]:
    """Makes an asset of a function: its docstring describes it, and `tables` are what it writes, the main one first.

    `lease` names what it works on, with `{}` for the key: two stages with one lease never work on one key together.
    `compute` says that it runs models, or other work that worker processes share. `name` is the asset's; without one, the
    asset has the function's name. `changes` are tables of another asset whose rows it changes.
    """
    resources = {"lake", "progress", *(["compute"] if compute else [])}

    def make(work: Callable[[Stage], Outcome]) -> dg.AssetsDefinition:
        def perform(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            here, began = Stage(context), time.monotonic()
            with working_on(context, context.resources.lake, lease.format(here.key), wait_seconds):
                told = work(here)
            return _result(context, here, tables, told, time.monotonic() - began)

        declare = dg.asset(
            name=name or work.__name__,
            description=work.__doc__,
            partitions_def=space,
            group_name=group,
            owners=OWNERS,
            kinds=kinds,
            deps=list(deps),
            code_version=version,
            pool=GPU_POOL if needs.device == "gpu" else None,
            automation_condition=automation,
            required_resource_keys=resources,
            config_schema=config.to_config_schema() if config else None,
            metadata={
                **_described(tables),
                "changes": [t.name for t in changes],
                **_written_in(work),
                **(metadata or {}),
            },
            **on(needs),
        )
        made: Any = declare(perform)
        assert isinstance(made, dg.AssetsDefinition)
        return made

    return make


def tables_of(asset: dg.AssetsDefinition) -> tuple[str, ...]:
    """The tables that an asset writes, the main one first."""
    return tuple(asset.metadata_by_key[asset.key].get("tables", ()))


def checked_tables(asset: dg.AssetsDefinition) -> tuple[str, ...]:
    """The tables whose rules an asset's checks ask: those that it writes, and those whose rows it changes."""
    return (*tables_of(asset), *asset.metadata_by_key[asset.key].get("changes", ()))


def place(table: Table, key: str) -> dict[str, str]:
    """Where a partition's rows are in a table: the first of the columns that it is partitioned by names the key."""
    return {table.partitioned_by[0]: key}


def _described(tables: Sequence[Table]) -> dict[str, Any]:
    """What the UI shows of the tables: their names and columns with descriptions. The main one has Dagster's own tab."""
    shown: dict[str, Any] = {"tables": [table.name for table in tables]}
    for index, table in enumerate(tables):
        schema = dg.TableSchema(
            columns=[
                dg.TableColumn(
                    column.name,
                    DUCKDB[column.type],
                    column.doc,
                    constraints=dg.TableColumnConstraints(nullable=column.nullable),
                )
                for column in table.columns
            ]
        )
        if index == 0:
            shown |= {"dagster/table_name": table.name, "dagster/column_schema": schema}
        else:
            shown[f"columns of {table.name}"] = dg.MetadataValue.table_schema(schema)
    return shown


def _written_in(work: Callable[[Stage], Outcome]) -> dict[str, Any]:
    """The UI's link to the code of an asset."""
    code = work.__code__
    here = dg.LocalFileCodeReference(file_path=code.co_filename, line_number=code.co_firstlineno)
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[here])}


def _result(
    context: dg.AssetExecutionContext, here: Stage, tables: Sequence[Table], told: Outcome, seconds: float
) -> dg.MaterializeResult:
    """What a materialisation shows: what the stage says, problems, a preview, and last how much was stored."""
    metadata: dict[str, Any] = dict(told.shown)
    for problem in told.done.problems:
        context.log.warning(problem)
    if told.done.problems:
        metadata["problems"] = dg.MetadataValue.text("\n".join(told.done.problems[:PROBLEMS_SHOWN]))
    lake = here.lake
    if tables:
        metadata["preview"] = dg.MetadataValue.md(_preview(lake, tables[0], place(tables[0], here.key)))
    for index, table in enumerate(tables):
        rows = sum(m.rows for _, m in lake.partitions(table.name, **place(table, here.key)))
        metadata["dagster/row_count" if index == 0 else f"{table.name} rows"] = rows
    metadata |= {"new rows": told.done.rows, "seconds": round(seconds, 3)}
    version = dg.DataVersion(told.version) if told.version else None
    return dg.MaterializeResult(metadata=metadata, data_version=version)


def _preview(lake: Lake, table: Table, where: Mapping[str, str]) -> str:
    """A few rows as a person reads them: rounded, without pictures, vectors, ids, hashes and the partition's own key."""
    hidden = [c.name for c in table.columns if c.type in ("binary", "vector") or c.name.endswith(("_id", "_hash"))]
    shown = [name for name in table.names if name not in hidden and name not in where][:PREVIEW_COLUMNS]
    columns = ", ".join(f'"{name}"' for name in shown)
    rows = lake.sql(f"SELECT {columns} FROM {table.name} LIMIT {PREVIEW_ROWS}", **where).to_pylist() if shown else []
    if not rows:
        return "no rows"
    return markdown(shown, (row.values() for row in rows))


def markdown(columns: Sequence[str], rows: Iterable[Iterable[Any]], characters: int = PREVIEW_CHARACTERS) -> str:
    """A small table for the UI: numbers rounded to four digits, longer texts cut."""

    def cell(value: Any) -> str:
        text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
        cut = text if len(text) <= characters else f"{text[: characters - 1]}…"
        return cut.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")

    lines = [list(columns), ["---"] * len(columns), *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@contextmanager
def working_on(
    context: dg.AssetExecutionContext, lake: LakeResource, what: str, wait_seconds: float | None = None
) -> Iterator[None]:
    """Be the one process that works on `what`, after waiting for another to end; afterwards analysts see what it did.

    What a user did wrong fails at once, in one sentence. What may pass (files, memory, devices, dead workers) is
    tried again, twice, after 5 and 10 seconds; a mistake of ours is not. An interruption ends the run: under one of
    Dagster's own retry policies it would start the step again.
    """
    try:
        with lake.lake.lease(what, WAIT_SECONDS if wait_seconds is None else wait_seconds, context.log.info):
            operation.refuse_unfinished(what)
            try:
                yield
            finally:
                lake.refresh()
    except UserError as error:
        if isinstance(error, LeaseHeld) and context.retry_number < RETRIES:
            raise _again(context) from error
        raise dg.Failure(str(error), allow_retries=False) from error
    except (OSError, RuntimeError, duckdb.Error) as error:
        if context.retry_number < RETRIES:
            context.log.warning(f"failed, and is tried again: {error}")
            raise _again(context) from error
        raise


def _again(context: dg.AssetExecutionContext) -> dg.RetryRequested:
    return dg.RetryRequested(RETRIES, BACKOFF_SECONDS * 2**context.retry_number)
