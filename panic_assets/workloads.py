"""The list of all workloads. To add one, write a folder and add one line here, or install a package.

A package adds a workload by an entry point of the group `panic_assets.workloads`, which names its `Workload`.
"""

from collections import Counter
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from panic_assets.errors import UserError
from panic_assets.finetunes.workload import WORKLOAD as FINETUNES
from panic_assets.grokking.workload import WORKLOAD as GROKKING
from panic_assets.lake.invariants import Rules
from panic_assets.model_settings import MODEL_SETTINGS
from panic_assets.problems import PROBLEMS
from panic_assets.training.workload import WORKLOAD as TRAINING
from panic_assets.trajectories.workload import WORKLOAD as TRAJECTORIES
from panic_assets.workload import Family, Graph, Space, Workload

if TYPE_CHECKING:
    from panic_assets.instance.graph import AssetGraph

ENTRY_POINTS = "panic_assets.workloads"


def _installed() -> tuple[Workload, ...]:
    """Workloads of other installed packages, by name. One that cannot be loaded is an error: silence would hide it."""
    found = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda p: p.name):
        try:
            workload = point.load()
        except Exception as error:
            raise UserError(
                f"the workload {point.name} ({point.value}) cannot be loaded: {error}; repair or uninstall its package"
            ) from error
        if not isinstance(workload, Workload):
            raise UserError(
                f"the entry point {point.name} ({point.value}) names a {type(workload).__name__}; it must name a Workload"
            )
        found.append(workload)
    return tuple(found)


def _without_clashes(workloads: tuple[Workload, ...]) -> tuple[Workload, ...]:
    """Refuses two workloads that have something of the same name."""
    for what, names in (
        ("name", [w.name for w in workloads]),
        (
            "table",
            [PROBLEMS.name, MODEL_SETTINGS.name]
            + [t.name for w in workloads for t in w.tables]
            + [v for w in workloads for v in w.views],
        ),
        ("space", [s.name for w in workloads for s in w.spaces]),
        ("family", [w.family.name for w in workloads if w.family]),
        ("rule", [r for w in workloads for r in w.rules]),
        ("suffix", [s for w in workloads for d in w.drops for s in d.suffixes]),
        ("command", [c.name for w in workloads for c in w.commands]),
    ):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise UserError(f"two workloads have a {what} called {twice[0]!r}; rename one of them")
    return workloads


WORKLOADS: tuple[Workload, ...] = _without_clashes((TRAJECTORIES, TRAINING, GROKKING, FINETUNES, *_installed()))
SPACES: dict[str, Space] = {space.name: space for workload in WORKLOADS for space in workload.spaces}
FAMILIES: dict[str, Family] = {workload.family.name: workload.family for workload in WORKLOADS if workload.family}
RULES: Rules = {name: rule for workload in WORKLOADS for name, rule in workload.rules.items()}


def families() -> dict[str, Family]:
    """The families of training runs, for the training spine, which imports this when it runs."""
    return FAMILIES


@cache
def graphs() -> tuple[Graph, ...]:
    """What each workload adds to the definitions. Imports Dagster."""
    return tuple(workload.graph() for workload in WORKLOADS)


@cache
def asset_graph() -> "AssetGraph":
    """Which asset depends on which: what a deletion follows."""
    from panic_assets.instance.graph import graph_of

    return graph_of([asset for graph in graphs() for asset in graph.assets])
