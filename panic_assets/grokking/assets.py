"""The graph of the grokking family: runs are trained here or watched, their checkpoints measured, their outcomes found."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from panic_assets.asleep import asleep
from panic_assets.grokking.config import FAMILY
from panic_assets.grokking.missing import ANALYSIS_VERSION, TRAIN_VERSION
from panic_assets.grokking.tables import PER_CHECKPOINT, TABLES
from panic_assets.steps import GPU, Outcome, Stage, outcome
from panic_assets.training import assets as training
from panic_assets.training import settings, tables

if TYPE_CHECKING:
    from panic_assets.grokking import stages
    from panic_assets.grokking.pictures import renders as rendering
    from panic_assets.web import files as web_files
else:
    stages = asleep("panic_assets.grokking.stages")
    rendering = asleep("panic_assets.grokking.pictures.renders")
    web_files = asleep("panic_assets.web.files")

GROUP = "grokking"
T = {table.name: table for table in (*TABLES, *tables.TABLES)}
SPINE = training.spine(FAMILY, GROUP)

_of_run = training.of_run(FAMILY.name, GROUP)
# What may take hours has a lease of its own, so that other stages of the run need not wait for it.
_training: dict[str, Any] = {"lease": "training of {}", "wait_seconds": None}
_rendering: dict[str, Any] = {"lease": "rendering of {}", "wait_seconds": None}


class HomeConfig(dg.Config):
    """When a neuron has a frequency: it adopts one when its concentration reaches `threshold`, and keeps it until the
    concentration falls `hysteresis` below that. Default: the values given last, or 0.5 and 0.1."""

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
    """The training itself, with the losses of every epoch. A run that was stopped carries on, with the same result bit for
    bit. A run whose checkpoints are only watched is not trained."""
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
    """What every checkpoint's weights look like: Fourier spectra, neurons, rings, components of the classes, and losses.
    Only new or changed checkpoints are measured."""
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
    """At which epoch each weight space adopted each frequency, and which frequencies every neuron had over the epochs."""
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
    """The path of the weights over the epochs, compared with random walks; the components of each matrix; and the circle
    test, which tells whether the weights move on a ring."""
    done = stages.trajectories(here.lake, here.watcher, here.key)
    said = here.lake.sql("SELECT verdict || ': ' || reason AS said FROM grokking_circle", training_run=here.key)
    circle = said["said"].to_pylist()
    return outcome(done, circle_test=circle[0] if circle else None)


@_of_run(T["grokking_outcomes"], T["loss_events"], deps=[grokking_frequencies])
def grokking_outcomes(here: Stage) -> Outcome:
    """How the training run ended, how well its frequencies separate the answers, the events of its losses, and epochs
    whose checkpoints are worth adding."""
    done = stages.conclude(here.lake, here.key)
    found = here.lake.sql(
        "SELECT outcome, onset, separation, final_loss, final_accuracy FROM grokking_outcomes", training_run=here.key
    ).to_pylist()
    proposed = stages.proposal(here.lake, here.key)
    return outcome(done, **(found[0] if found else {}), proposed_epochs=", ".join(map(str, proposed[:50])) or "none")


@_of_run(T["renders"], deps=[SPINE.checkpoints], **_rendering)
def grokking_renders(here: Stage) -> Outcome:
    """The animations that were requested. Queued ones are drawn; those that are older than the newest checkpoint are drawn
    again."""
    done = rendering.perform(here.lake, here.watcher, here.key)
    rows = here.lake.sql("SELECT path FROM renders WHERE status = 'done' ORDER BY computed_at", training_run=here.key)
    files = [p for p in rows["path"].to_pylist() if p]
    links = [f"- [{Path(file).name}]({address})" for file in files if (address := web_files.link(Path(file)))]
    return outcome(
        done,
        files=dg.MetadataValue.text("\n".join(files)) if files else None,
        animations=dg.MetadataValue.md("\n".join(links)) if links else None,
    )


ASSETS = [
    *SPINE.assets,
    grokking_training,
    grokking_measurements,
    grokking_frequencies,
    grokking_trajectories,
    grokking_outcomes,
    grokking_renders,
]
