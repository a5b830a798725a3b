"""Diagrams are compared: with one another, and with those of chance."""

from typing import Any

from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Watcher
from panic_assets.statistics.multiple import adjust
from panic_assets.statistics.streams import stream
from panic_assets.trajectories.stages.analysing import models_of, walked
from panic_assets.trajectories.stages.curves import vectorised
from panic_assets.trajectories.stages.persistence import homology_of
from panic_assets.trajectories.stages.similarity import sampled, similarity
from panic_assets.trajectories.versions import CODE_VERSION, SEED


def topology(
    lake: Lake,
    watcher: Watcher,
    experiment: str,
    distance_runs: int = 100,
    across_runs: int = 20,
    null_runs: int = 20,
    null_points: int = 300,
    replicates: int = 39,
) -> Done:
    """Diagrams as curves and images; distances between them, also of other experiments; how they stand among nulls."""
    from panic_assets.trajectories.topology.diagrams import SMALL
    from panic_assets.trajectories.topology.nulls import against_chance

    done = Done()
    wanted = homology_of(lake, experiment)
    # What `lunes` does not compute takes minutes for some hundred points, and nulls are many diagrams.
    most = null_points if wanted.max_dimension <= 1 and wanted.field == 2 else min(null_points, SMALL)
    for model in models_of(lake, experiment):
        place = {"experiment": experiment, "embedding_model": model}
        done.rows += vectorised(lake, place)
        done.rows += similarity(lake, watcher, place, distance_runs, across_runs)
        runs = lake.sql("SELECT DISTINCT run_id FROM persistence_summary", **place)["run_id"].to_pylist()
        tested = sampled(runs, null_runs)
        nulls: list[dict[str, Any]] = []
        with (
            lake.replacing("curve_nulls", **place) as curves,
            watcher.stage(f"nulls {model}", len(tested), "runs") as tell,
        ):
            for one in walked(lake, experiment, model, tested):
                mark = {**place, "run_id": one.run["run_id"], "code_version": CODE_VERSION}
                vectors = one.vectors[:most]
                own = stream(SEED, "topology", one.run["run_id"], model)
                found, drawn = against_chance(vectors, wanted, replicates, own)
                nulls += [{**mark, **row} for row in found]
                curves.add([{**mark, **row} for row in drawn])
                tell(1)
        adjust(nulls)
        lake.replace("topology_nulls", nulls, **place)
        done.rows += len(nulls) + curves.rows
    return done
