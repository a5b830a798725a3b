"""Which part of a network decides: models of every outcome, and every measure against chance."""

from typing import Any

from panic_assets.lake.lake import Lake
from panic_assets.progress import Done, Watcher
from panic_assets.statistics.multiple import adjust
from panic_assets.trajectories.runs.factors import contrasts, parts, random_terms
from panic_assets.trajectories.stages.null_tests import null_tests
from panic_assets.trajectories.versions import CODE_VERSION, SEED

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
    """Mixed models of every outcome by parts of the network and embedder, each of which may differ between prompts;
    contrasts; and every measure against chance, all runs together."""
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
            mark = {"experiment": experiment, "outcome": outcome}
            about = {**mark, "seed": SEED, "code_version": CODE_VERSION}
            compared += [{**about, **row} for row in contrasts(frame, SEED)]
            by_model = frame["embedding_model"].notna().all() and frame["embedding_model"].nunique() > 1
            explained = [*factors, "embedding_model"] if by_model else factors
            try:
                found = mixed.fit(frame.rename(columns={"value": outcome}), outcome, explained, random_terms(explained))
                sentences = mixed.sentences(found)
            except ValueError as error:
                sentences = [f"{outcome} cannot be modelled: {error}."]
            else:
                for e in found.estimates:
                    effects.append(
                        {
                            **mark,
                            "effect": e.name,
                            "estimate": e.value,
                            "low": e.low,
                            "high": e.high,
                            "standard_error": e.error,
                            "degrees": e.degrees,
                            "p_value": e.p_value,
                            "rows": found.rows,
                            "prompts": found.groups,
                            "code_version": CODE_VERSION,
                        }
                    )
                total = sum(deviation**2 for deviation in found.deviations.values())
                for name, deviation in found.deviations.items():
                    source = "run" if name == "run_id" else name
                    share = deviation**2 / total
                    variances.append({**mark, "source": source, "deviation": deviation, "share": share})
                for t in found.terms:
                    terms.append(
                        {
                            **mark,
                            "term": t.name,
                            "f": t.statistic,
                            "degrees": t.degrees,
                            "residual_degrees": t.residual_degrees,
                            "p_value": t.p_value,
                        }
                    )
            for position, sentence in enumerate(sentences):
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
