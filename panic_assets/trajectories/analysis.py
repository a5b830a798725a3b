"""The stages that analyse finished runs: read from the lake, call the pure modules, write to the lake.

Everything is seeded with `SEED`, so that doing it again gives the same rows. None of them knows Dagster;
`analyses.py` wraps them. What is quadratic in runs is done for a sample of them, of a stated size.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from panic_assets.compute.protocol import Compute
from panic_assets.lake.lake import Lake
from panic_assets.models.needs import needs_of
from panic_assets.progress import Watcher
from panic_assets.registry import registry
from panic_assets.statistics.distinct import distinct
from panic_assets.statistics.multiple import adjust
from panic_assets.trajectories.motion import measures
from panic_assets.trajectories.null_tests import null_tests
from panic_assets.trajectories.runs.embed import Batch, Vectors, embed
from panic_assets.trajectories.runs.vectors import matrix
from panic_assets.trajectories.stages import Done, homology_of, registered
from panic_assets.trajectories.topology.curve_tables import vectorised
from panic_assets.trajectories.topology.similarity import sampled, similarity

CODE_VERSION = "3"
SEED = 0
RUNS_A_QUERY = 64
GRID = 24
"""Steps at which recoverability is asked, spread over the run, early ones closer together."""
PAIRS = 200
"""Pairs of runs of each kind that divergence is measured on."""
RECURRENCE_POINTS = 2000
"""Outputs, from a run's start, that recurrence (quadratic) is quantified on."""
WALKS = 20
LAYOUT_POINTS = 20_000


@dataclass(frozen=True)
class Walked:
    """One run as one embedding model sees it, in order."""

    run: Mapping[str, Any]
    invocations: list[str]
    sequence: np.ndarray
    vectors: np.ndarray

    def until(self, steps: int) -> np.ndarray | None:
        """The first `steps` vectors; a run that stopped because it loops goes on round its loop. None if too short."""
        n = len(self.vectors)
        if n >= steps:
            return self.vectors[:steps]
        if self.run["stop_reason"] != "loop" or n == 0:
            return None
        period = int((self.sequence > self.sequence[-1] - self.run["loop_length"]).sum())
        later = np.arange(n, steps)
        return self.vectors[np.append(np.arange(n), n - period + (later - n) % period)]


def walked(lake: Lake, experiment: str, model: str, only: Sequence[str] | None = None) -> Iterator[Walked]:
    """Complete runs, or some of them, with vectors of one model, a few in memory at once."""
    runs = lake.sql(
        "SELECT * FROM runs WHERE stop_reason IS NOT NULL AND (? IS NULL OR run_id IN (SELECT unnest(?))) ORDER BY run_id",
        [only, only],
        experiment=experiment,
    ).to_pylist()
    for start in range(0, len(runs), RUNS_A_QUERY):
        some = {r["run_id"]: r for r in runs[start : start + RUNS_A_QUERY]}
        rows = lake.sql(
            "SELECT run_id, invocation_id, sequence_number, vector FROM embeddings "
            "WHERE run_id IN (SELECT unnest(?)) ORDER BY run_id, sequence_number",
            [list(some)],
            experiment=experiment,
            embedding_model=model,
        )
        if not rows.num_rows:
            continue
        vectors = matrix(rows["vector"], registry.get(model).dimension)
        owner = np.array(rows["run_id"].to_pylist())
        ids, sequence = rows["invocation_id"].to_pylist(), rows["sequence_number"].to_numpy()
        starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
        for a, b in pairwise([*starts.tolist(), len(owner)]):
            yield Walked(some[owner[a]], ids[a:b], sequence[a:b], vectors[a:b])


def models_of(lake: Lake, experiment: str) -> list[str]:
    """Embedding models with vectors of this experiment."""
    return sorted(p["embedding_model"] for p, m in lake.partitions("embeddings", experiment=experiment) if m.rows)


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
            lake.replacing("displacements", **place) as displacements,
            watcher.stage(f"dynamics {model}", len(runs), "runs") as tell,
        ):
            for one in walked(lake, experiment, model):
                origin = origins.get(one.run["prompt"])
                lags, spread = _displacements(one.vectors)
                exponent = _exponent(lags, spread)
                row, steps, jumps = _motion(one, origin, loops.get(one.run["run_id"]), exponent)
                mark = {**place, "run_id": one.run["run_id"]}
                drifts.add([{**mark, **s} for s in steps])
                displacements.add(
                    [
                        {**mark, "lag": int(lag), "displacement": float(value)}
                        for lag, value in zip(lags, spread, strict=True)
                        if lag < row["outputs"]
                    ]
                )
                summaries.add([{**mark, **row, "code_version": CODE_VERSION}])
                changes.add([{**mark, "step": int(step)} for step in jumps])
                if one.run["run_id"] in tested:
                    some = one.vectors[:null_points]
                    nulls += [{**mark, **n} for n in _motion_nulls(some, origin, replicates)]
                everything.append(one)
                done.rows += 1
                tell(1)
        lake.replace("run_divergence", [{**place, **row} for row in _divergence(everything)], **place)
        recovered = [{**place, **row} for row in _recoverability(everything)]
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
    batch = Batch(model, tuple(prompts))
    found: list[Vectors] = [v for _, v in compute.stream(embed, [batch], needs_of([model]), lambda t: t)]
    return {p: v for p, v in zip(prompts, found[0].values, strict=True) if np.isfinite(v).all()}


def _loops(lake: Lake, experiment: str) -> dict[str, Any]:
    from panic_assets.trajectories.clusters.symbols import repetition

    rows = lake.sql(
        """SELECT run_id, any_value(len(models)) AS period, list(content_hash ORDER BY sequence_number) AS hashes
           FROM invocations JOIN runs USING (run_id) GROUP BY run_id""",
        experiment=experiment,
    ).to_pylist()
    return {row["run_id"]: repetition(row["hashes"], row["period"]) for row in rows}


def _motion(
    one: Walked, prompt: np.ndarray | None, loop: Any, exponent: float | None
) -> tuple[dict[str, Any], list[dict[str, Any]], np.ndarray]:
    from panic_assets.statistics.surrogates import random_walk
    from panic_assets.trajectories.motion.changes import change_points

    vectors = one.vectors
    n = len(vectors)
    origin = vectors[0] if prompt is None else prompt
    drift, angle, step = measures.drift(vectors, origin), measures.angle(vectors, origin), measures.steps(vectors)
    jumps = change_points(drift)
    rng = np.random.default_rng([SEED, n])
    walks = [len(change_points(measures.drift(random_walk(vectors, rng), origin))) for _ in range(WALKS)]
    again = _recurrence(vectors)
    row = {
        "outputs": n,
        "distinct_outputs": len(distinct(vectors).first),
        "final_drift": float(drift[-1]),
        "mean_step": number(step.mean()) if n > 1 else None,
        "displacement_exponent": exponent,
        "autocorrelation_time": number(measures.autocorrelation_time(vectors)),
        "recurrence_radius": again.radius,
        "recurrence_rate": again.rate,
        "determinism": again.determinism,
        "laminarity": again.laminarity,
        "trapping_time": again.trapping_time,
        "mean_diagonal": again.mean_diagonal,
        "longest_diagonal": again.longest_diagonal,
        "diagonal_entropy": again.diagonal_entropy,
        "changes": len(jumps),
        "walk_changes": float(np.mean(walks)),
        "loop_start": loop.first if loop else None,
        "loop_time": loop.again if loop else None,
    }
    steps = [
        {
            "invocation_id": one.invocations[k],
            "sequence_number": int(one.sequence[k]),
            "step": k,
            "origin": "first output" if prompt is None else "prompt",
            "drift_chord": float(drift[k]),
            "drift_angle": number(angle[k]),
            "step_chord": float(step[k - 1]) if k else None,
        }
        for k in range(n)
    ]
    return row, steps, jumps


def _recurrence(vectors: np.ndarray) -> measures.Recurrence:
    radius = 0.1 * float(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).mean())
    return measures.quantify(measures.recurrent(vectors[:RECURRENCE_POINTS], radius), radius)


def _motion_nulls(vectors: np.ndarray, prompt: np.ndarray | None, replicates: int) -> Iterator[dict[str, Any]]:
    from panic_assets.statistics.nulls import standings
    from panic_assets.statistics.surrogates import random_walk, shuffled_time
    from panic_assets.trajectories.motion.changes import change_points

    if len(vectors) < 3:
        return
    origin = vectors[0] if prompt is None else prompt

    def measured(points: np.ndarray) -> dict[str, float | None]:
        drift, again = measures.drift(points, origin), _recurrence(points)
        return {
            "final_drift": float(drift[-1]),
            "displacement_exponent": _exponent(*_displacements(points)),
            "autocorrelation_time": number(measures.autocorrelation_time(points)),
            "recurrence_rate": again.rate,
            "determinism": again.determinism,
            "laminarity": again.laminarity,
            "trapping_time": again.trapping_time,
            "changes": float(len(change_points(drift))),
        }

    rng = np.random.default_rng([SEED, len(vectors)])
    nulls = {
        "random walk": [measured(random_walk(vectors, rng)) for _ in range(replicates)],
        "shuffled time": [measured(shuffled_time(vectors, rng)) for _ in range(replicates)],
    }
    observed = measured(vectors)
    for name, chance in nulls.items():
        for statistic, found in standings(observed, chance):
            if (name, statistic) == ("shuffled time", "recurrence_rate"):
                continue  # how many places are the same does not depend on their order
            yield {
                "statistic": statistic,
                "null_model": name,
                "points": len(vectors),
                "seed": SEED,
                "code_version": CODE_VERSION,
                **vars(found),
            }


def _displacements(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lags up to a quarter of the run, closer together where short, and the mean squared displacement at each."""
    lags = np.unique(np.geomspace(1, max(len(vectors) // 4, 1), 12).astype(int))
    return lags, measures.mean_squared_displacement(vectors, lags)


def _exponent(lags: np.ndarray, spread: np.ndarray) -> float | None:
    if len(lags) < 3 or not (spread > 0).all():
        return None
    return float(np.polyfit(np.log(lags), np.log(spread), 1)[0])


def number(value: float) -> float | None:
    """The value; None where it is not finite, which tables do not hold."""
    return float(value) if math.isfinite(value) else None


def _divergence(everything: Sequence[Walked]) -> Iterator[dict[str, Any]]:
    from panic_assets.trajectories.motion.divergence import diverge

    for network in sorted({w.run["network"] for w in everything}):
        mine = [w for w in everything if w.run["network"] == network]
        steps = min((len(w.vectors) for w in mine if w.run["stop_reason"] == "length"), default=0)
        steps = steps or max(len(w.vectors) for w in mine)
        whole = [(w.run["prompt"], v) for w in mine if (v := w.until(steps)) is not None]
        if steps < 8:
            continue
        for kind in ("same prompt", "different prompts"):
            pairs = [
                (i, j)
                for i, j in combinations(range(len(whole)), 2)
                if (whole[i][0] == whole[j][0]) == (kind == "same prompt")
            ]
            if not pairs:
                continue
            chosen = np.array(pairs)[np.random.default_rng(SEED).permutation(len(pairs))[:PAIRS]]
            distances = np.array([measures.chord(whole[i][1], whole[j][1]) for i, j in chosen])
            found = diverge(distances, np.unique(chosen, return_inverse=True)[1].reshape(chosen.shape), seed=SEED)
            yield {
                "network": network,
                "pairs_of": kind,
                "pairs": len(chosen),
                "outputs": steps,
                "verdict": found.verdict,
                **{
                    k: number(getattr(found, k))
                    for k in ("rate", "rate_low", "rate_high", "tau", "tau_low", "tau_high")
                },
                "growth_r2": found.growth.r2,
                "relaxation_r2": found.relaxation.r2,
                "growth_aic": found.growth.aic,
                "relaxation_aic": found.relaxation.aic,
                "constant_aic": found.constant.aic,
                "growth_held_out": found.growth.held_out,
                "relaxation_held_out": found.relaxation.held_out,
                "constant_held_out": found.constant.held_out,
                "first_distance": float(distances[:, 0].mean()),
                "last_distance": float(distances[:, -1].mean()),
                "code_version": CODE_VERSION,
            }


def _recoverability(everything: Sequence[Walked]) -> Iterator[dict[str, Any]]:
    from panic_assets.trajectories.motion.recoverability import recoverability

    longest = max((len(w.vectors) for w in everything), default=0)
    for step in np.unique(np.geomspace(1, max(longest, 1), GRID).astype(int)) - 1:
        there = [(w.run, v[step]) for w in everything if (v := w.until(int(step) + 1)) is not None]
        if not there:
            continue
        found = recoverability(
            np.array([v for _, v in there]),
            [r["prompt"] for r, _ in there],
            [r["network"] for r, _ in there],
            seed=SEED,
        )
        if found is not None:
            yield {
                "step": int(step),
                "accuracy": found.accuracy,
                "chance": found.chance.null_mean,
                "p_value": found.chance.p_value,
                "runs": found.runs,
                "prompts": found.prompts,
            }


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
                rng = np.random.default_rng([SEED, len(vectors)])
                found, drawn = against_chance(vectors, wanted, replicates, rng)
                nulls += [{**mark, **row} for row in found]
                curves.add([{**mark, **row} for row in drawn])
                tell(1)
        adjust(nulls)
        lake.replace("topology_nulls", nulls, **place)
        done.rows += len(nulls) + curves.rows
    return done


def layouts(lake: Lake, watcher: Watcher, experiment: str) -> Done:
    """Flat maps of all outputs by embedding, and of runs by the distance of their diagrams."""
    from panic_assets.trajectories.layouts import layout, layout_of_distances

    done, models = Done(), models_of(lake, experiment)
    with watcher.stage("layouts", len(models), "models") as tell:
        for model in models:
            place = {"experiment": experiment, "embedding_model": model}
            ids: list[tuple[str, str]] = []
            blocks = []
            for one in walked(lake, experiment, model):
                ids += [(i, one.run["run_id"]) for i in one.invocations]
                blocks.append(one.vectors)
            chosen = np.sort(np.random.default_rng(SEED).permutation(len(ids))[:LAYOUT_POINTS])
            rows = _placed("outputs", [ids[i] for i in chosen], layout(np.vstack(blocks)[chosen], SEED)) if ids else []
            pairs = lake.sql("SELECT * FROM diagram_distances WHERE other_experiment = experiment", **place).to_pylist()
            runs = sorted({r[k] for r in pairs for k in ("run_id", "other_run_id")})
            position = {run: i for i, run in enumerate(runs)}
            for dimension in (0, 1):
                distances = np.zeros((len(runs), len(runs)))
                for r in (r for r in pairs if r["dimension"] == dimension):
                    i, j = position[r["run_id"]], position[r["other_run_id"]]
                    distances[i, j] = distances[j, i] = r["wasserstein"]
                rows += _placed(f"runs H{dimension}", [(r, r) for r in runs], layout_of_distances(distances, SEED))
            lake.replace("layout_points", [{**place, **row} for row in rows], **place)
            done.rows += len(rows)
            tell(1)
    return done


def _placed(kind: str, items: Sequence[tuple[str, str]], found: Any) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "item_id": item,
            "run_id": run,
            "x": float(x),
            "y": float(y),
            "trustworthiness": number(found.trustworthiness),
        }
        for (item, run), (x, y) in zip(items, found.positions, strict=True)
    ]


OUTCOMES = {
    "entropy H0": "SELECT run_id, embedding_model, entropy AS value FROM persistence_summary WHERE dimension = 0",
    "entropy H1": "SELECT run_id, embedding_model, entropy AS value FROM persistence_summary WHERE dimension = 1",
    "final drift": "SELECT run_id, embedding_model, final_drift AS value FROM run_dynamics",
    "mean step": "SELECT run_id, embedding_model, mean_step AS value FROM run_dynamics",
    "mean stay": """SELECT run_id, embedding_model, avg(length) AS value FROM cluster_dwells
                    WHERE cluster >= 0 AND NOT censored GROUP BY ALL""",
    "loop length": "SELECT run_id, NULL AS embedding_model, loop_length::DOUBLE AS value FROM runs",
    "run length": "SELECT run_id, NULL AS embedding_model, length::DOUBLE AS value FROM runs WHERE stop_reason IS NOT NULL",
}
"""What mixed models explain. Each homology dimension is an outcome of its own: H0 and H1 are different quantities.

Stays are those of the current clusters, which pool all experiments: there are none before clusters were analysed."""


def statistics(lake: Lake, watcher: Watcher, experiment: str) -> Done:
    """Mixed models of every outcome by parts of the network and embedder, intercepts by prompt and run; contrasts; and
    every measure against chance, all runs together."""
    from panic_assets.statistics import mixed

    done = Done()
    effects: list[dict[str, Any]] = []
    terms: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    variances: list[dict[str, Any]] = []
    runs = lake.sql("SELECT run_id, network, models, prompt FROM runs", experiment=experiment).to_pandas()
    factors = parts(runs)
    with watcher.stage("statistics", len(OUTCOMES), "outcomes") as tell:
        for outcome, query in OUTCOMES.items():
            frame = lake.sql(query, experiment=experiment).to_pandas().merge(runs, on="run_id")
            frame = frame.sort_values(["run_id", "embedding_model"])  # queries promise no order, and sums depend on it
            frame["value"] = frame["value"].astype(float)
            compared += [{"experiment": experiment, "outcome": outcome, **row} for row in _contrasts(frame)]
            by_model = frame["embedding_model"].notna().all() and frame["embedding_model"].nunique() > 1
            try:
                found = mixed.fit(
                    frame.rename(columns={"value": outcome}),
                    outcome,
                    [*factors, "embedding_model"] if by_model else factors,
                    "prompt",
                    within="run_id" if by_model else None,
                )
                sentences = mixed.sentences(found)
            except ValueError as error:
                sentences = [f"{outcome} cannot be modelled: {error}."]
            else:
                for e in found.estimates:
                    effects.append(
                        {
                            "experiment": experiment,
                            "outcome": outcome,
                            "effect": e.name,
                            "estimate": e.value,
                            "low": e.low,
                            "high": e.high,
                            "standard_error": e.error,
                            "p_value": number(e.p_value),
                            "rows": found.rows,
                            "prompts": found.groups,
                            "converged": found.converged,
                            "code_version": CODE_VERSION,
                        }
                    )
                mark = {"experiment": experiment, "outcome": outcome}
                total = sum(deviation**2 for deviation in found.deviations.values())
                for source, deviation in found.deviations.items():
                    share = deviation**2 / total if total else 0.0
                    variances.append({**mark, "source": SOURCES[source], "deviation": deviation, "share": share})
                for t in found.terms:
                    mark = {"experiment": experiment, "outcome": outcome, "term": t.name}
                    terms.append({**mark, "chi2": t.chi2, "degrees": t.degrees, "p_value": t.p_value})
            for position, sentence in enumerate(sentences):
                mark = {"experiment": experiment, "outcome": outcome}
                said.append({**mark, "position": position, "sentence": sentence})
            done.rows += len(sentences)
            tell(1)
    for family in (terms, compared):
        adjust(family)
    lake.replace("contrasts", compared, experiment=experiment)
    tests = null_tests(lake, experiment)
    lake.replace("null_tests", tests, experiment=experiment)
    done.rows += len(tests)
    lake.replace("model_effects", effects, experiment=experiment)
    lake.replace("model_terms", terms, experiment=experiment)
    lake.replace("model_variances", variances, experiment=experiment)
    lake.replace("findings", said, experiment=experiment)
    return done


SOURCES = {"prompt": "prompt", "run_id": "run", "residual": "residual"}


def parts(runs: Any) -> list[str]:
    """What about the network can be told apart: generator, captioner or both; else only the network as a whole.

    Adds those columns to a frame of runs: the models that give images, and those that give texts, in order. Both are
    told apart when some generator meets several captioners, and some captioner several generators.
    """
    for part, output in (("generator", "image"), ("captioner", "text")):
        chosen = [[m for m in models if registry.get(m).output == output] for models in runs["models"]]
        runs[part] = ["+".join(models) for models in chosen]
    varying = [part for part in ("generator", "captioner") if runs[part].nunique() > 1]
    whole = runs.groupby(["generator", "captioner"])["network"].nunique().max() == 1
    crossed = all(
        runs.groupby(one)[other].nunique().max() > 1
        for one, other in (("generator", "captioner"), ("captioner", "generator"))
    )
    return varying if whole and (len(varying) == 1 or crossed) else ["network"]


def _contrasts(frame: Any) -> Iterator[dict[str, Any]]:
    """Networks in pairs, as each embedding model sees them; embedding models against each control, run by run."""
    from panic_assets.statistics.contrasts import contrast

    frame = frame[frame["value"].notna()].assign(measured_by=frame["embedding_model"].fillna("run"))
    controls = [m for m in frame["measured_by"].unique() if m != "run" and registry.get(m).role == "control"]
    wanted = [
        ("network", measured, frame[frame["measured_by"] == measured], "network", pair, "prompt")
        for measured in frame["measured_by"].unique()
        for pair in combinations(sorted(frame.loc[frame["measured_by"] == measured, "network"].unique()), 2)
    ] + [
        ("embedding_model", model, frame, "measured_by", (model, control), "run_id")
        for control in controls
        for model in sorted(set(frame["measured_by"]) - set(controls))
    ]
    for factor, measured, part, column, (level, other), block in wanted:
        rows = part[part[column].isin([level, other])]
        if column == "measured_by":  # pairs only: a model of images has no rows where a run has none
            rows = rows[rows.groupby("run_id")["value"].transform("size") == 2]
        first = (rows[column] == level).to_numpy()
        if not first.any() or first.all():
            continue
        found = contrast(rows["value"].to_numpy(), first, rows["run_id"].to_list(), rows[block].to_list(), seed=SEED)
        yield {
            "factor": factor,
            "measured_by": measured,
            "level": level,
            "other_level": other,
            "runs": found.rows,
            "other_runs": found.other_rows,
            **{k: getattr(found, k) for k in ("mean", "other_mean", "difference", "low", "high", "cliffs_delta")},
            "hedges_g": number(found.hedges_g),
            "p_value": found.p_value,
            "permutations": found.permutations,
            "seed": SEED,
            "code_version": CODE_VERSION,
        }
