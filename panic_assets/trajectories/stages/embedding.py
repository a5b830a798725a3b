"""Every output gets its vectors."""

from panic_assets.compute.protocol import Compute
from panic_assets.lake.lake import Lake
from panic_assets.models.needs import needs_of
from panic_assets.models.preflight import refuse
from panic_assets.progress import Done, Refresh, Watcher
from panic_assets.registry import registry
from panic_assets.trajectories import missing
from panic_assets.trajectories.stages.vectors import embed_missing


def embed(lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, name: str) -> Done:
    """Give every output a vector by every embedding model of its modality that the experiment names."""
    done = Done()
    for left in missing.left(lake, "embeddings", name):
        spec = registry.get(left.of)
        with watcher.stage(f"embeddings {spec.name}", left.count, "vectors") as tell:
            if left.count:
                needs = needs_of([spec.name])
                refuse(compute, needs, [spec.name])
                rows, problems = embed_missing(lake, compute, needs, name, spec, tell, refresh)
                done.rows += rows
                done.problems += problems
    return done
