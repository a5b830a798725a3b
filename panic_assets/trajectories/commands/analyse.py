"""panic analyse makes the analyses of an experiment; panic compare prints those of several side by side."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panic_assets.asleep import asleep
from panic_assets.cli.output import say, table
from panic_assets.cli.session import instance, lake, materialise
from panic_assets.errors import UserError, suggest
from panic_assets.registry import registry
from panic_assets.trajectories import missing, verdicts
from panic_assets.trajectories.commands.cluster import recompute_models
from panic_assets.trajectories.tables.symbols import VIEWS

if TYPE_CHECKING:
    from panic_assets.trajectories import stages
else:
    stages = asleep("panic_assets.trajectories.stages")

Name = Annotated[str, typer.Argument(help="Name of a performed experiment.")]


def analyse(
    name: Name,
    distance_runs: Annotated[
        int, typer.Option(min=2, help="Number of runs whose diagrams are compared in pairs.")
    ] = 100,
    null_runs: Annotated[int, typer.Option(min=0, help="Number of runs that are compared with chance.")] = 20,
) -> None:
    """Make every analysis of a finished experiment, and print the results.

    These are its dynamics, topology, layouts, statistics and symbolic dynamics."""
    stages.registered(lake(), name)
    left = missing.to_perform(lake(), name)
    if not left or any(m.count for m in left):
        raise UserError(f"experiment {name!r} is not finished; finish it with `panic experiment resume {name}`")
    config = {
        "ops": {
            "dynamics": {"config": {"null_runs": null_runs}},
            "topology": {"config": {"distance_runs": distance_runs, "null_runs": null_runs}},
        }
    }
    models = stages.models_of(lake(), name)
    with instance() as opened:
        stale = missing.stale_clusterings(lake())
        recompute_models(opened, [m for m in models if m in stale])
        for model in models:
            materialise(opened, "analyse_clusters", model, f"symbolic dynamics of {model}")
        materialise(opened, "analyse_experiment", name, f"analyses of {name}", config)
    compare([name])


def compare(
    names: Annotated[list[str], typer.Argument(help="Names of one or more experiments.")],
    show: Annotated[
        list[str] | None, typer.Option("--table", help="Print this table, too. May be given several times.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print all tables.")] = False,
) -> None:
    """Print what the analyses of experiments say, in sentences; with --table, also the numbers, side by side.

    Control models are listed like all other embedding models."""
    for name, times in Counter(names).items():
        stages.registered(lake(), name)
        if times > 1:
            raise UserError(f"experiment {name!r} is given {times} times; give each experiment once")
        if lake().manifest("run_dynamics", experiment=name, embedding_model=_any_model(name)) is None:
            raise UserError(f"experiment {name!r} is not analysed; analyse it with `panic analyse {name}`")
    for wanted in show or ():
        if wanted not in TABLES:
            raise UserError(f"--table is {wanted!r}{suggest(wanted, TABLES)} (accepted: {', '.join(TABLES)})")
    for name in names:
        say((name, "bold"))
        for sentence in _sentences(name):
            say("  ", sentence)
    for key, (title, query) in TABLES.items():
        if everything or key in (show or ()):
            rows = lake().rows(query, [names])
            table([c.replace("_", " ") for c in rows[0]] if rows else [], [list(r.values()) for r in rows], title=title)
    if not everything and not show:
        say("the numbers: ", (f"panic compare {' '.join(names)} --table {next(iter(TABLES))}", "bold"))
        say("tables: ", ", ".join(TABLES), "; --all prints them all")


def _sentences(name: str) -> Iterator[str]:
    """What the analyses of an experiment say, the most general first."""

    def rows(table: str, where: str = "true") -> list[dict[str, Any]]:
        return lake().rows(f"SELECT * FROM {table} WHERE {where}", experiment=name)

    yield from verdicts.against_chance(rows("null_tests"), _independent_walks())
    yield from verdicts.between_networks(rows("contrasts", "factor = 'network'"))
    yield from verdicts.divergence(rows("run_divergence"))
    yield from verdicts.recoverability(rows("prompt_recoverability"))
    found = lake().rows("SELECT sentence FROM findings ORDER BY outcome, position", experiment=name)
    yield from (row["sentence"] for row in found)


def _independent_walks() -> set[str]:
    """Controls whose steps know nothing of each other: what the random walks of a null are themselves."""
    controls = (spec for spec in registry.embedders() if spec.role == "control")
    return {spec.name for spec in controls if dict(spec.parameters).get("correlation") == 0.0}


def _any_model(name: str) -> str:
    return next(iter(stages.models_of(lake(), name)), "")


TABLES = {
    "persistence": (
        "persistence",
        """
        SELECT experiment, r.network, embedding_model, dimension, count(*) AS runs, avg(entropy) AS entropy,
               avg(total_persistence) AS total_persistence
        FROM persistence_summary JOIN runs r USING (run_id, experiment)
        WHERE experiment IN (SELECT unnest(?)) GROUP BY ALL ORDER BY dimension, embedding_model, network, experiment""",
    ),
    "chance": (
        "against chance, all runs together",
        """
        SELECT experiment, embedding_model, statistic, null_model, runs, observed, null_mean AS by_chance,
               mean_percentile, adjusted_p_value
        FROM null_tests WHERE experiment IN (SELECT unnest(?))
        ORDER BY statistic, null_model, embedding_model, experiment""",
    ),
    "distances": (
        "distances between diagrams (medians)",
        """
        SELECT least(experiment, other_experiment) AS experiment, greatest(experiment, other_experiment) AS and_experiment,
               embedding_model, dimension, count(*) AS pairs, median(wasserstein) AS wasserstein,
               median(bottleneck) AS bottleneck
        FROM diagram_distances WHERE list_has_all(?, [experiment, other_experiment])
        GROUP BY ALL ORDER BY embedding_model, dimension, experiment, and_experiment""",
    ),
    "motion": (
        "motion",
        """
        SELECT experiment, r.network, embedding_model, count(*) AS runs, avg(final_drift) AS final_drift,
               avg(mean_step) AS mean_step, avg(autocorrelation_time) AS memory, avg(recurrence_rate) AS recurrence,
               avg(determinism) AS determinism, avg(changes) AS changes, avg(walk_changes) AS changes_of_walks
        FROM run_dynamics JOIN runs r USING (run_id, experiment)
        WHERE experiment IN (SELECT unnest(?)) GROUP BY ALL ORDER BY embedding_model, network, experiment""",
    ),
    "controls": (
        "observed against control, on the same runs",
        """
        SELECT experiment, outcome, level AS observed, other_level AS control, runs, mean, other_mean AS control_mean,
               difference, low, high, cliffs_delta, adjusted_p_value
        FROM contrasts WHERE factor = 'embedding_model' AND experiment IN (SELECT unnest(?))
        ORDER BY outcome, level, other_level, experiment""",
    ),
    "networks": (
        "networks against each other",
        """
        SELECT experiment, outcome, measured_by, level AS network, other_level AS other_network, runs, other_runs,
               difference, low, high, hedges_g, adjusted_p_value
        FROM contrasts WHERE factor = 'network' AND experiment IN (SELECT unnest(?))
        ORDER BY outcome, measured_by, level, other_level, experiment""",
    ),
    "loops": (
        "loops",
        f"SELECT * FROM ({VIEWS['loops'][1]}) WHERE experiment IN (SELECT unnest(?)) ORDER BY ALL",
    ),
    "divergence": (
        "divergence",
        """
        SELECT experiment, network, embedding_model, pairs_of, pairs, verdict, rate, rate_low, rate_high, tau, tau_low,
               tau_high FROM run_divergence
        WHERE experiment IN (SELECT unnest(?)) ORDER BY embedding_model, network, pairs_of, experiment""",
    ),
    "recoverability": (
        "recoverability of the prompt",
        """
        SELECT experiment, embedding_model, step, accuracy, chance, adjusted_p_value FROM prompt_recoverability
        WHERE experiment IN (SELECT unnest(?))
        QUALIFY row_number() OVER (PARTITION BY experiment, embedding_model ORDER BY step) % 6 = 1
        ORDER BY embedding_model, experiment, step""",
    ),
    "markov": (
        "Markov state models",
        """
        SELECT experiment, network, embedding_model, lag, states, coverage, entropy_rate, timescale, timescale_low,
               timescale_high, chapman_kolmogorov_p FROM markov_models
        WHERE experiment IN (SELECT unnest(?)) ORDER BY embedding_model, network, experiment, lag""",
    ),
    "sequences": (
        "cluster sequences against the same clusters in shuffled order",
        """
        SELECT experiment, network, embedding_model, statistic, observed, null_mean AS by_chance, percentile,
               adjusted_p_value FROM symbol_nulls
        WHERE experiment IN (SELECT unnest(?)) ORDER BY statistic, embedding_model, network, experiment""",
    ),
    "variances": (
        "variance between prompts and between runs, beyond the effects",
        """
        SELECT experiment, outcome, source, deviation, share FROM model_variances
        WHERE experiment IN (SELECT unnest(?)) ORDER BY outcome, experiment, source""",
    ),
    "terms": (
        "tests of terms",
        """
        SELECT experiment, outcome, term, f, degrees, residual_degrees, p_value, adjusted_p_value FROM model_terms
        WHERE experiment IN (SELECT unnest(?)) ORDER BY outcome, term, experiment""",
    ),
}
"""Name -> title and query, whose one parameter is the list of experiments."""
