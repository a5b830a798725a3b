"""What a workload is: one frozen object that says everything it brings.

The platform iterates over `panic_assets.workloads.WORKLOADS` and names no workload. What is listed here is all that a
workload can add; docs/add_a_workload.md builds one step by step.

A workload's `workload.py` is read by every command, so it imports nothing heavy. What needs more is named as text and
imported when it is called (`later`): the graph when the definitions are built, a command when somebody types it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import dagster as dg

    from panic_assets.lake.invariants import Finding, Rules
    from panic_assets.lake.lake import Lake
    from panic_assets.lake.schema import Table
    from panic_assets.operations.house import House


def later(where: str) -> Callable[..., Any]:
    """The function at `module:name`, imported when it is called: a workload's own file must stay quick to import."""

    def call(*arguments: Any) -> Any:
        module, _, name = where.partition(":")
        return getattr(import_module(module), name)(*arguments)

    return call


@dataclass(frozen=True)
class Missing:
    """What one stage still has to do for one partition: `count` of `total`, in `unit`. A count of 0: nothing."""

    stage: str
    key: str
    count: int
    total: int
    unit: str
    of: str = ""
    """Which part of the partition, where there are several: an embedding model of an experiment."""
    stale: bool = False
    """It was made, but from something else than there is now. That is no illness: it is made again on request."""
    on_request: bool = False
    """Nobody makes it unless a person asks for it, not even a repair."""

    def __str__(self) -> str:
        what = f"{self.unit} of {self.of}" if self.of else self.unit
        if self.stale:
            return f"{self.key} has stale {what}: what they were made from has changed since"
        return f"{self.key} lacks {self.count:,} of {self.total:,} {what}"


Query: TypeAlias = "Callable[[Lake, str | None], Iterable[Missing]]"
"""A missing-work query: asked of the lake, for one key or (None) for all keys."""


def outdated(asset: str, table: str, upstream: Sequence[str], column: str) -> Query:
    """The missing-work query of an asset that is made on request: what it was made from was written after it."""

    def ask(lake: Lake, key: str | None) -> list[Missing]:
        where = {column: key} if key is not None else {}
        made: dict[str, float] = {}
        for partition, manifest in lake.partitions(table, **where):
            made[partition[column]] = max(manifest.written_at, made.get(partition[column], 0.0))
        changed: dict[str, float] = {}
        for source in upstream:
            for partition, manifest in lake.partitions(source, **where):
                changed[partition[column]] = max(manifest.written_at, changed.get(partition[column], 0.0))
        return [
            Missing(asset, name, int(made.get(name, 0.0) < at), 1, "results", stale=name in made, on_request=True)
            for name, at in sorted(changed.items())
        ]

    return ask


@dataclass(frozen=True)
class Space:
    """A space of partition keys that a workload owns: which table defines its keys, what is missing, how to repair it."""

    name: str
    """Of the space in Dagster."""
    noun: str
    """What a key names, in words: "training run"."""
    table: str
    """The table that the keys are about."""
    missing: Mapping[str, Query]
    """Asset -> what it still has to do, for one key or for all keys. Upstream assets first."""
    repair: Callable[[Lake, str], Iterator[str]]
    """Removes what is provably wrong in the rows of a key, or makes it again from other rows. Says what it did."""
    lease: str
    """What whoever works on a key holds, with `{}` for the key: "experiment {}"."""
    makes: str | None
    """The job that makes what is missing of a key; None where people make it elsewhere."""
    delete: Callable[[House, str, str], None] | None = None
    """Deletes what else a key has, given the space and the key: the key itself is gone already."""
    defined: Callable[[Lake], Iterable[str]] | None = None
    """Which keys there should be; without it, those of the partitions of `table`."""

    column: str = ""
    """The column that names a key in tables; that of the space's own name unless given."""

    @property
    def key_column(self) -> str:
        """The column that names a key in tables."""
        return self.column or self.name

    def keys(self, lake: Lake) -> set[str]:
        """The keys that there should be: another key of Dagster is an orphan."""
        if self.defined is not None:
            return set(self.defined(lake))
        return {partition[self.key_column] for partition, _ in lake.partitions(self.table)}

    def left(self, lake: Lake, key: str | None = None) -> Iterator[Missing]:
        """Everything that is missing of one key, or of all keys."""
        for query in self.missing.values():
            yield from query(lake, key)


@dataclass(frozen=True)
class Inputs:
    """Models, and about how many inputs each of them will get."""

    by_model: Mapping[str, int]
    image_size: int | None = None
    """Side length in pixels of the images that are made; None: what each model likes best."""


@dataclass(frozen=True)
class Drop:
    """A kind of file that is taken up when it is dropped into the watched folder."""

    suffixes: tuple[str, ...]
    """How its name ends. Of two kinds that fit, the one with the longer ending gets the file."""
    noun: str
    register: Callable[[Any, dg.DagsterInstance, Path], Sequence[str]]
    """Given the `LakeResource`, Dagster's instance and the file: stores what the file says and adds its partition keys. Returns the keys that have something left to do."""
    job: str | None = None
    """The job that is asked for with each of those keys; None: a sensor of the workload sees them."""
    models: Callable[[Path], Inputs] | None = None
    """The models that a file names, for `panic model check FILE`."""


def kind_of(path: Path, drops: Iterable[Drop]) -> Drop | None:
    """The kind that a file's name says; of several that fit, the one with the longest ending. None for other files."""
    name = path.name.lower()
    fits = [(len(suffix), drop) for drop in drops for suffix in drop.suffixes if name.endswith(suffix)]
    return max(fits, key=lambda fit: fit[0])[1] if fits else None


@dataclass(frozen=True)
class Command:
    """A command or a group of commands. Its module is imported when it is called."""

    name: str
    where: str
    """`module:attribute` of a function, or of a `typer.Typer` for a group."""
    help: str


@dataclass(frozen=True)
class Briefing:
    """What a message about a training run says besides its verdict."""

    sentences: tuple[str, ...] = ()
    picture: bytes | None = None
    """A PNG."""
    link: str | None = None
    """Path or URL of a report."""


@dataclass(frozen=True)
class Family:
    """A family of training runs, and what the shared training spine must know of it. Its runs have a space of their own,
    which `training.spaces.space_of` makes."""

    name: str
    """Value of the column `family` in table `training_runs`."""
    pattern: str
    """How its checkpoint files are named; see `training.checkpoints.Pattern`. Empty: whoever watches a folder says it."""
    targets: Mapping[str, float] = field(default_factory=dict)
    """Target metrics and tolerances, unless a run or training.yaml names others."""
    metrics: str | None = None
    """The asset that writes its rows of table `metrics`; None: they come from outside."""
    trains: str | None = None
    """The asset that trains its runs here, where the platform can."""
    briefing: Callable[[Lake, str], Briefing] | None = None
    """Given the lake and a run: what messages say about the run."""
    reports: str | None = None
    """The asset that the briefing is made from: messages wait for it."""


@dataclass(frozen=True)
class Graph:
    """What a workload adds to the definitions."""

    assets: Sequence[dg.AssetsDefinition]
    checks: Sequence[dg.AssetChecksDefinition] = ()
    jobs: Sequence[Any] = ()
    sensors: Sequence[dg.SensorDefinition] = ()
    schedules: Sequence[dg.ScheduleDefinition] = ()


@dataclass(frozen=True)
class Workload:
    """Everything that a workload brings."""

    name: str
    purpose: str
    """One sentence."""
    tables: tuple[Table, ...]
    graph: Callable[[], Graph]
    views: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """View -> what it holds, and its SQL."""
    rules: Rules = field(default_factory=dict)
    """What must be true of its rows beyond what the schemas say."""
    spaces: tuple[Space, ...] = ()
    family: Family | None = None
    drops: tuple[Drop, ...] = ()
    commands: tuple[Command, ...] = ()
    demo: tuple[str, ...] = ()
    """Command lines of a small real job, that begin with `panic` or `python`: `make demo` runs them."""
    examine: Callable[[Lake], Iterable[Finding]] | None = None
    """Looks for what is wrong outside of tables, such as files that no row tells of."""
    mend: Callable[[House], Iterator[str]] | None = None
    """Repairs what is not about one key. Says what it did."""
