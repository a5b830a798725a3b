"""How the runs of an experiment move: each of them, in pairs, and all together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from panic_assets.compute.protocol import Compute
from panic_assets.lake.lake import Lake
from panic_assets.models.needs import needs_of
from panic_assets.progress import Done, Watcher
from panic_assets.registry import registry
from panic_assets.statistics.multiple import adjust
from panic_assets.statistics.streams import stream
from panic_assets.trajectories.clusters.symbols import repetition
from panic_assets.trajectories.motion import together
from panic_assets.trajectories.motion.nulls import against_chance
from panic_assets.trajectories.motion.summary import displacements, exponent_of, summarise
from panic_assets.trajectories.runs.embed import ToEmbed, Vectors, embed
from panic_assets.trajectories.runs.walked import Walked
from panic_assets.trajectories.stages.analysing import models_of, walked
from panic_assets.trajectories.stages.registering import registered
from panic_assets.trajectories.stages.similarity import sampled
from panic_assets.trajectories.versions import CODE_VERSION, SEED


def dynamics(
    lake: Lake,
    compute: Compute,
    watcher: Watcher,
    experiment: str,
    null_runs: int = 20,
    null_points: int = 300,
    replicates: int = 39,
) -> Done:
    """Drift, steps, memory, recurrence and change points of every run; divergence; recoverability of prompts.

    The first `null_points` outputs of `null_runs` runs are compared with chance.
    """
    found, done = registered(lake, experiment), Done()
    loops = _loops(lake, experiment)
    for model in models_of(lake, experiment):
        place = {"experiment": experiment, "embedding_model": model}
        origins = _prompt_vectors(compute, model, found.prompts)
        runs = lake.sql("SELECT DISTINCT run_id FROM embeddings ORDER BY run_id", **place)["run_id"].to_pylist()
        tested = set(sampled(runs, null_runs))
        nulls: list[dict[str, Any]] = []
        everything: list[Walked] = []
        with (
            lake.replacing("drift_steps", **place) as drifts,
            lake.replacing("run_dynamics", **place) as summaries,
            lake.replacing("change_points", **place) as changes,
            lake.replacing("displacements", **place) as spreads,
            watcher.stage(f"dynamics {model}", len(runs), "runs") as tell,
        ):
            for one in walked(lake, experiment, model):
                origin = origins.get(one.run["prompt"])
                lags, spread = displacements(one.vectors)
                run_id = one.run["run_id"]
                loop = loops.get(run_id)
                rng = stream(SEED, "motion", run_id, model)
                row, steps, jumps = summarise(one, origin, loop, exponent_of(lags, spread), rng)
                mark = {**place, "run_id": run_id}
                drifts.add([{**mark, **s} for s in steps])
                spreads.add(
                    [
                        {**mark, "lag": int(lag), "displacement": float(value)}
                        for lag, value in zip(lags, spread, strict=True)
                        if lag < row["outputs"]
                    ]
                )
                summaries.add([{**mark, **row, "code_version": CODE_VERSION}])
                changes.add([{**mark, "step": int(step)} for step in jumps])
                if run_id in tested:
                    about = {**mark, "seed": SEED, "code_version": CODE_VERSION}
                    some = one.vectors[:null_points]
                    nulls += [{**about, **row} for row in against_chance(some, origin, replicates, rng)]
                everything.append(one)
                done.rows += 1
                tell(1)
        stamp = {**place, "code_version": CODE_VERSION}
        diverging = [{**stamp, **row} for row in together.divergences(everything, SEED)]
        lake.replace("run_divergence", diverging, **place)
        if registry.get(model).role == "control":
            done.problems += [alarm for row in diverging if (alarm := together.alarm(model, row))]
        recovered = [{**place, **row} for row in together.recoverabilities(everything, SEED)]
        for family in (nulls, recovered):
            adjust(family)
        lake.replace("prompt_recoverability", recovered, **place)
        lake.replace("motion_nulls", nulls, **place)
    return done


def _prompt_vectors(compute: Compute, model: str, prompts: Sequence[str]) -> dict[str, np.ndarray]:
    """Vectors of the prompts, by models that embed texts; none by other models and controls."""
    spec = registry.get(model)
    if spec.input != "text" or spec.role == "control":
        return {}
    batch = ToEmbed(model, tuple(prompts))
    found: list[Vectors] = [v for _, v in compute.stream(embed, [batch], needs_of([model]), lambda t: t)]
    return {p: v for p, v in zip(prompts, found[0].values, strict=True) if np.isfinite(v).all()}


def _loops(lake: Lake, experiment: str) -> dict[str, Any]:
    rows = lake.sql(
        """SELECT run_id, any_value(len(models)) AS period, list(content_hash ORDER BY sequence_number) AS hashes
           FROM invocations JOIN runs USING (run_id) GROUP BY run_id""",
        experiment=experiment,
    ).to_pylist()
    return {row["run_id"]: repetition(row["hashes"], row["period"]) for row in rows}
