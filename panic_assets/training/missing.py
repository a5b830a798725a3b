"""What the training spine still has to do for a run, asked of the lake and of the run's folder."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from panic_assets.asleep import asleep
from panic_assets.errors import UserError
from panic_assets.lake.lake import Lake
from panic_assets.problems import open_problems
from panic_assets.training import names, runs
from panic_assets.training.checkpoints import list_folder
from panic_assets.workload import Missing, Query

if TYPE_CHECKING:
    from panic_assets.training import stages
else:
    stages = asleep("panic_assets.training.stages")


def current_runs(lake: Lake, family: str, key: str | None) -> list[str]:
    """Runs of a family that something may be missing of: not those of which only a tombstone is left."""
    rows = runs.every(lake, family) if key is None else [row for row in [runs.find(lake, key)] if row is not None]
    return [r["training_run"] for r in rows if r["family"] == family and r["status"] != runs.TOMBSTONE]


def spine(family: str) -> dict[str, Query]:
    """Asset of the spine of a family -> what it still has to do for a run."""

    def nothing(_: Lake, __: str | None) -> Iterable[Missing]:
        """A run's row defines it; costs grow with time; word is sent when it can be."""
        return []

    def checkpoints(lake: Lake, key: str | None) -> Iterable[Missing]:
        """Files in a run's folder that are neither registered nor known to be no checkpoints."""
        for name in current_runs(lake, family, key):
            watch = stages.watch_of(runs.get(lake, name))
            known = {(r.path, r.size, r.mtime) for r in runs.registered(lake, name)}
            refused = {row["item"] for row in open_problems(lake, source=names.asset(family, "checkpoints"))}
            try:
                pattern = watch.compiled()
                named = [(f, pattern.match(f.name)) for f in list_folder(watch.url)]
            except (UserError, OSError):
                continue  # Registering the folder's files says why it cannot be read.
            mine = [f for f, found in named if found is not None and watch.run_of(found) == name]
            new = [f for f in mine if (f.path, f.size, f.mtime) not in known and f.path not in refused]
            asset = names.asset(family, "checkpoints")
            yield Missing(asset, name, len(new), len(mine), "checkpoint files", on_request=True)

    def convergence(lake: Lake, key: str | None) -> Iterable[Missing]:
        """Advice is older than the newest metric."""
        for name in current_runs(lake, family, key):
            measured = [m.written_at for _, m in lake.partitions("metrics", training_run=name)]
            made = lake.manifest("convergence", training_run=name)
            if measured:
                late = made is None or made.written_at < max(measured)
                asset = names.asset(family, "convergence")
                yield Missing(asset, name, int(late), 1, "verdicts", stale=made is not None, on_request=True)

    queries: dict[str, Query] = {"checkpoints": checkpoints, "convergence": convergence}
    return {names.asset(family, shared): queries.get(shared, nothing) for shared in names.SPINE}
