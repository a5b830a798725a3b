"""Every output gets its vectors."""

from panic_assets.compute.protocol import Compute
from panic_assets.lake.lake import Lake
from panic_assets.model_settings import Recorder, held_before
from panic_assets.models.needs import needs_of
from panic_assets.models.preflight import refuse
from panic_assets.progress import Done, Refresh, Watcher
from panic_assets.registry import registry
from panic_assets.trajectories import missing
from panic_assets.trajectories.stages.registering import registered
from panic_assets.trajectories.stages.vectors import embed_missing


def embed(
    lake: Lake, compute: Compute, watcher: Watcher, refresh: Refresh, name: str, other_precision: bool = False
) -> Done:
    """Give every output a vector by every embedding model of its modality that the experiment names.

    A model that would be held in another way than for the rows that exist is refused, unless `other_precision`.
    """
    done, precision = Done(), registered(lake, name).precision
    before = None if other_precision else held_before(lake, "embeddings", experiment=name)
    for left in missing.left(lake, "embeddings", name):
        spec = registry.get(registry.pinned(left.of, precision))
        with watcher.stage(f"embeddings {spec.name}", left.count, "vectors") as tell:
            if left.count:
                needs = needs_of([spec.asked])
                held = refuse(compute, needs, [spec.asked], before=before)[spec.name]
                recorder = Recorder(lake, before)
                rows, problems = embed_missing(lake, compute, needs, name, spec, held, recorder, tell, refresh)
                done.rows += rows
                done.problems += problems
    return done
