"""Which frequencies matrices and neurons had, from the first checkpoint to the last."""

from datetime import UTC, datetime

import numpy as np

from panic_assets.errors import UserError
from panic_assets.grokking.spectra import fourier, neurons
from panic_assets.lake.lake import Lake
from panic_assets.progress import Done

THRESHOLD, HYSTERESIS = 0.5, 0.1
"""Concentration at which a neuron takes up a frequency, and how far it may fall below that. They are defaults, and are
stored with every result."""


def prime_of(lake: Lake, name: str) -> int:
    found = lake.sql("SELECT max(k) AS k FROM grokking_spectra", training_run=name)["k"][0].as_py()
    if found is None:
        raise UserError(f"run {name!r} has no analysed checkpoint yet; `panic grokking analyse {name}` analyses them")
    return 2 * int(found) + 1


def frequencies(lake: Lake, name: str, threshold: float | None = None, hysteresis: float | None = None) -> Done:
    """When each weight space adopted each frequency, every neuron's path, and how both depend on the threshold.

    A threshold or hysteresis that is not given keeps its last value; the first ones are 0.5 and 0.1.
    """
    p = prime_of(lake, name)
    last = lake.sql("SELECT threshold, hysteresis FROM grokking_neuron_paths LIMIT 1", training_run=name).to_pylist()
    before = last[0] if last else {"threshold": THRESHOLD, "hysteresis": HYSTERESIS}
    threshold = before["threshold"] if threshold is None else threshold
    hysteresis = before["hysteresis"] if hysteresis is None else hysteresis
    now = datetime.now(UTC)
    level = fourier.adoption_threshold(p)
    table = lake.sql(
        "SELECT space, epoch, k, fraction FROM grokking_spectra WHERE k IS NOT NULL ORDER BY space, epoch, k",
        training_run=name,
    )
    space, epoch, fraction = (np.array(table[c]) for c in ("space", "epoch", "fraction"))
    adoption_rows = []
    for each in dict.fromkeys(space.tolist()):
        mine = space == each
        epochs = np.unique(epoch[mine])
        adopted, gone = fourier.adoptions(fraction[mine].reshape(len(epochs), -1), epochs.tolist(), level)
        for k in sorted({*adopted, *gone}):
            adoption_rows.append(
                {
                    "training_run": name,
                    "space": each,
                    "k": k,
                    "adopted_at": adopted.get(k),
                    "abandoned_at": gone.get(k),
                    "threshold": level,
                    "computed_at": now,
                }
            )
    lake.replace("grokking_adoptions", adoption_rows, training_run=name)
    checkpoints, ks, values = neuron_history(lake, name)
    paths = neurons.paths(ks, values, checkpoints, threshold, hysteresis)
    stamp = {"training_run": name, "computed_at": now}
    lake.replace(
        "grokking_neuron_paths",
        [
            {
                **stamp,
                "neuron": i,
                "stops": [str(s) for s in path.stops],
                "switches": path.switches,
                "commitment": path.commitment,
                "homeless": path.homeless,
                "threshold": threshold,
                "hysteresis": hysteresis,
            }
            for i, path in enumerate(paths)
        ],
        training_run=name,
    )
    lake.replace(
        "grokking_abandoned",
        [
            {**stamp, "k": k, "first_epoch": a, "last_epoch": b, "most_neurons": n, "threshold": threshold}
            for k, a, b, n in neurons.abandoned(ks, values, checkpoints, threshold)
        ],
        training_run=name,
    )
    lake.replace(
        "grokking_sensitivity",
        [
            {**stamp, "threshold": t, "switched": switched, "homed": homed, "neurons": ks.shape[1]}
            for t, switched, homed in neurons.sensitivity(ks, values)
        ],
        training_run=name,
    )
    return Done(len(adoption_rows) + len(paths))


def neuron_history(lake: Lake, name: str) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Epochs (T,), frequencies (T, neurons; DEAD for none) and concentrations (T, neurons) of a run."""
    table = lake.sql(
        "SELECT epoch, coalesce(k, 0) AS k, concentration FROM grokking_neurons ORDER BY epoch, neuron",
        training_run=name,
    )
    epoch, k, value = (np.array(table[c]) for c in ("epoch", "k", "concentration"))
    epochs = np.unique(epoch)
    return epochs.tolist(), k.reshape(len(epochs), -1), value.reshape(len(epochs), -1)
