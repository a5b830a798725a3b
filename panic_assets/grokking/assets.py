"""The graph of the grokking family: trained here or watched, measured at every checkpoint, concluded over the run."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from panic_assets.asleep import asleep
from panic_assets.grokking.config import FAMILY
from panic_assets.grokking.missing import ANALYSIS_VERSION, TRAIN_VERSION
from panic_assets.grokking.tables import PER_CHECKPOINT, TABLES
from panic_assets.steps import GPU, WAIT_SECONDS, Outcome, Stage, outcome
from panic_assets.training import assets as training
from panic_assets.training import settings, tables

if TYPE_CHECKING:
    from panic_assets.grokking import stages
    from panic_assets.grokking.pictures import renders as rendering
else:
    stages = asleep("panic_assets.grokking.stages")
    rendering = asleep("panic_assets.grokking.pictures.renders")

GROUP = "grokking"
T = {table.name: table for table in (*TABLES, *tables.TABLES)}
SPINE = training.spine(FAMILY, GROUP)

_of_run = training.of_run(FAMILY.name, GROUP)
# Others do not wait for what may take hours: it has a lease of its own.
_training: dict[str, Any] = {"lease": "training of {}", "wait_seconds": WAIT_SECONDS}
_rendering: dict[str, Any] = {"lease": "rendering of {}", "wait_seconds": WAIT_SECONDS}


class HomeConfig(dg.Config):
    """From which concentration a neuron has a frequency, and how far below it may fall; as the last time unless given."""

    threshold: float | None = None
    hysteresis: float | None = None


@_of_run(
    T["grokking_losses"],
    T["training_times"],
    deps=[SPINE.training_runs],
    version=TRAIN_VERSION,
    needs=GPU,
    compute=True,
    **_training,
)
def grokking_training(here: Stage) -> Outcome:
    """Trains a run to its end, and goes on bit for bit where it was stopped. A watched run has nothing to train."""
    done = stages.train_unless_watched(here.lake, here.compute, here.watcher, here.refresh, settings.read(), here.key)
    last = here.lake.sql(
        "SELECT epoch, train_loss, test_loss FROM grokking_losses ORDER BY epoch DESC LIMIT 1", training_run=here.key
    ).to_pylist()
    return outcome(done, **(last[0] if last else {}))


@_of_run(
    *(T[name] for name in PER_CHECKPOINT),
    T["grokking_analyses"],
    T["metrics"],
    deps=[SPINE.checkpoints],
    version=ANALYSIS_VERSION,
)
def grokking_measurements(here: Stage) -> Outcome:
    """Every checkpoint's spectra, neurons, rings, class components and losses. Only new or changed ones are measured."""
    return outcome(stages.measure(here.lake, here.watcher, here.refresh, here.key))


@_of_run(
    T["grokking_adoptions"],
    T["grokking_neuron_paths"],
    T["grokking_sensitivity"],
    T["grokking_abandoned"],
    deps=[grokking_measurements],
    config=HomeConfig,
)
def grokking_frequencies(here: Stage) -> Outcome:
    """When each weight space adopted each frequency; and every neuron's path through frequencies, with how the number
    of changes depends on the threshold."""
    given = here.config(HomeConfig)
    return outcome(stages.frequencies(here.lake, here.key, given.threshold, given.hysteresis))


@_of_run(
    T["grokking_trajectory"],
    T["grokking_products"],
    T["grokking_row_pca"],
    T["grokking_row_scores"],
    T["grokking_lissajous"],
    T["grokking_tones"],
    T["grokking_ratios"],
    T["grokking_circle"],
    deps=[grokking_measurements],
)
def grokking_trajectories(here: Stage) -> Outcome:
    """The path through parameter space beside its nulls, each matrix's components, the ring's tones, the circle test."""
    done = stages.trajectories(here.lake, here.watcher, here.key)
    said = here.lake.sql("SELECT verdict || ': ' || reason AS said FROM grokking_circle", training_run=here.key)
    circle = said["said"].to_pylist()
    return outcome(done, circle_hypothesis=circle[0] if circle else None)


@_of_run(T["grokking_outcomes"], T["loss_events"], deps=[grokking_frequencies])
def grokking_outcomes(here: Stage) -> Outcome:
    """How the run ended, how well its frequencies keep answers apart, the events of its losses, and epochs whose
    checkpoints are worth adding."""
    done = stages.conclude(here.lake, here.key)
    found = here.lake.sql(
        "SELECT outcome, onset, separation, final_loss, final_accuracy FROM grokking_outcomes", training_run=here.key
    ).to_pylist()
    proposed = stages.proposal(here.lake, here.key)
    return outcome(done, **(found[0] if found else {}), proposed_epochs=", ".join(map(str, proposed[:50])) or "none")


@_of_run(T["renders"], deps=[SPINE.checkpoints], **_rendering)
def grokking_renders(here: Stage) -> Outcome:
    """The animations that were asked for: queued ones are drawn, outdated ones are drawn again."""
    done = rendering.perform(here.lake, here.watcher, here.key)
    rows = here.lake.sql("SELECT path FROM renders WHERE status = 'done' ORDER BY computed_at", training_run=here.key)
    files = [p for p in rows["path"].to_pylist() if p]
    return outcome(done, files=dg.MetadataValue.text("\n".join(files)) if files else None)


ASSETS = [
    *SPINE.assets,
    grokking_training,
    grokking_measurements,
    grokking_frequencies,
    grokking_trajectories,
    grokking_outcomes,
    grokking_renders,
]
