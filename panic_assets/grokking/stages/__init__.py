"""The stages of the grokking family: read from the lake, call the pure functions, write to the lake. No Dagster."""

from panic_assets.grokking.stages.conclusions import conclude, control_differs, loss_curves, proposal
from panic_assets.grokking.stages.histories import HYSTERESIS, THRESHOLD, frequencies, neuron_history
from panic_assets.grokking.stages.measuring import (
    SOURCE,
    measure,
)
from panic_assets.grokking.stages.paths import DRAWS, LOW_LOSS, trajectories
from panic_assets.grokking.stages.registering import folder, intervene, register
from panic_assets.grokking.stages.training import (
    COPY_SECONDS,
    SHARED,
    Task,
    add_checkpoints,
    store_losses,
    train,
    train_task,
    train_unless_watched,
)

__all__ = [
    "COPY_SECONDS",
    "DRAWS",
    "HYSTERESIS",
    "LOW_LOSS",
    "SHARED",
    "SOURCE",
    "THRESHOLD",
    "Task",
    "add_checkpoints",
    "conclude",
    "control_differs",
    "folder",
    "frequencies",
    "intervene",
    "loss_curves",
    "measure",
    "neuron_history",
    "proposal",
    "register",
    "store_losses",
    "train",
    "train_task",
    "train_unless_watched",
    "trajectories",
]
