"""For notebooks and training loops: the results as data frames, and metrics from a loop of one's own.

    import panic_assets as panic

    panic.runs("cats")                       # one row for each run of an experiment
    panic.embeddings("cats", "MiniLM")       # one row for each output, with its vector
    panic.connect().sql("SELECT ...").df()   # anything else
    panic.log("mine", epoch, {"accuracy": 0.9}, f"out/mine-{epoch:06d}.safetensors", family="finetune")

Frames are read from the lake, so they hold what is stored at that moment, also while an experiment runs.
"""

import atexit
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import duckdb
import pandas as pd

from panic_assets.errors import UserError, suggest
from panic_assets.lake import catalogue, generations
from panic_assets.lake.generations import AsOf
from panic_assets.lake.lake import Lake, literal
from panic_assets.settings import Home, home
from panic_assets.tables import open_lake
from panic_assets.training import runs as registry
from panic_assets.training import stages
from panic_assets.training.checkpoints import BrokenFile, Checkpoint, Named, Seen, inspect
from panic_assets.training.families import families
from panic_assets.training.series import Direction, Measurement
from panic_assets.training.watch import Arrival

OWN = "training"
"""The family of people's own training loops."""
SOURCE = "log"
"""Under which table `metrics` keeps what `log` was given."""
LOWER_IS_BETTER = ("loss", "error", "perplexity")
_logged: dict[Home, catalogue.Refresher] = {}
"""Homes whose catalogue may lack the last of what this process logged."""


# --- reading -----------------------------------------------------------------------------------


def connect() -> duckdb.DuckDBPyConnection:
    """The home's `panic.duckdb`, read-only; built first where there is none.

    The connection keeps to the state it was opened in. Connect again to see what was stored since; the older connection
    may stay open. `as_of` says which state it is.
    """
    here = home()
    if _logged.pop(here, None) or not here.catalogue.exists():
        catalogue.build(open_lake(here.lake), here.catalogue)
    return generations.opened(here.catalogue)


def as_of(connection: duckdb.DuckDBPyConnection) -> AsOf:
    """Which generation of the catalogue a connection shows, and when that was made: `generation 42 of 2026-05-01 ...`."""
    return generations.as_of(connection)


def runs(of: str | Sequence[str] | None = None) -> pd.DataFrame:
    """One row for each run of an experiment, or of a list of run ids; of all experiments when nothing is named."""
    return _frame("runs", of, "ORDER BY experiment, network, prompt, seed, replicate")


def invocations(of: str | Sequence[str] | None = None, images: bool = False) -> pd.DataFrame:
    """One row for each model call, in the order of the run. `images`: with the pictures, as the bytes of their files."""
    return _frame("invocations", of, "ORDER BY run_id, sequence_number", "" if images else "EXCLUDE (output_image)")


def embeddings(of: str | Sequence[str] | None, model: str) -> pd.DataFrame:
    """One row for each embedded output; `np.stack(frame["vector"])` is the matrix of their vectors."""
    stored = sorted({partition["embedding_model"] for partition, _ in _lake().partitions("embeddings")})
    if model not in stored:
        raise UserError(
            f"nothing is embedded by {model!r}{suggest(model, stored)} (stored: {', '.join(stored) or 'none'})"
        )
    return _frame("embeddings", of, "ORDER BY run_id, sequence_number", embedding_model=model)


def metrics(run: str | Sequence[str] | None = None) -> pd.DataFrame:
    """One row for each epoch and metric of a training run, or of several; of all when nothing is named."""
    names = [run] if isinstance(run, str) else run
    for name in names or ():
        registry.get(_lake(), name)
    chosen = "" if names is None else f"WHERE {_among('training_run', names)}"
    return _lake().sql(f"SELECT * FROM metrics {chosen} ORDER BY training_run, metric, epoch").to_pandas()


def _frame(table: str, of: str | Sequence[str] | None, order: str, columns: str = "", **where: str) -> pd.DataFrame:
    lake = _lake()
    chosen = ""
    if isinstance(of, str):
        known = [partition["experiment"] for partition, _ in lake.partitions("experiments")]
        if of not in known:
            raise UserError(f"there is no experiment {of!r}{suggest(of, known)} (`panic experiment list` shows them)")
        where["experiment"] = of
    elif of is not None:
        known = lake.sql(f"SELECT run_id FROM runs WHERE {_among('run_id', of)}")["run_id"].to_pylist()
        if absent := [run for run in of if run not in known]:
            raise UserError(f"there is no run {absent[0]!r} (`panic run list` shows them)")
        chosen = f"WHERE {_among('run_id', of)}"
    return lake.sql(f"SELECT * {columns} FROM {table} {chosen} {order}", **where).to_pandas()


def _among(column: str, values: Sequence[str]) -> str:
    return f"{column} IN ({', '.join(map(literal, values))})" if values else "false"


def _lake() -> Lake:
    return open_lake(home().lake)


# --- writing -----------------------------------------------------------------------------------


def log(
    run: str,
    epoch: int,
    metrics: Mapping[str, float],
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    family: str | None = None,
    directions: Mapping[str, Direction] | None = None,
) -> None:
    """Store what a training loop of your own measured after an epoch, and the safetensors file it wrote, if any.

    A run that is not known yet is registered: as one of `family`, or else of the family `training`, which is for loops
    of your own. Logging an epoch again replaces its values.
    Larger values are better, except for metrics called loss, error or perplexity; `directions` says otherwise, as in
    `{"distance": "down"}`.
    """
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
        raise UserError(f"epoch is {epoch!r}; it must be a whole number of 0 or more")
    _refuse_family(run, family)
    file = None if checkpoint is None else _checkpoint(run, epoch, Path(checkpoint).absolute())
    measured = [_measurement(run, epoch, name, value, directions or {}, file) for name, value in metrics.items()]
    if registry.find(_lake(), run) is None:
        _register(run, family or OWN)
    if file is not None:
        stages.store_arrivals(_lake(), [Arrival(file, 1)])
    _store(run, measured)
    _refresh()


def _refuse_family(run: str, family: str | None) -> None:
    known = registry.find(_lake(), run)
    accepted = families()
    if known is None and family not in (None, *accepted):
        near = suggest(str(family), accepted)
        raise UserError(f"training run {run!r}: its family is {family!r}{near} (accepted: {', '.join(accepted)})")
    if known is not None and family not in (None, known["family"]):
        raise UserError(f"training run {run!r} is of family {known['family']!r}, not {family!r}; use another name")


def _checkpoint(run: str, epoch: int, path: Path) -> Checkpoint:
    try:
        stat = path.stat()
        return inspect(Seen(str(path), stat.st_size, stat.st_mtime_ns), run, Named(run, epoch), ())
    except BrokenFile as why:
        raise UserError(f"checkpoint {path} is not stored: {why}") from None
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read: {error.strerror or error}") from None


def _measurement(
    run: str, epoch: int, name: str, value: float, directions: Mapping[str, Direction], file: Checkpoint | None
) -> Measurement:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UserError(f"metric {name} of run {run} at epoch {epoch} is {value!r}; it must be a number") from None
    usual: Direction = "down" if any(word in name.lower() for word in LOWER_IS_BETTER) else "up"
    return Measurement(run, epoch, name, number, directions.get(name, usual), SOURCE, file.content_hash if file else "")


def _register(run: str, family: str) -> None:
    """Its row, and its key for Dagster. It has no folder of its own: nobody watches for its files."""
    from panic_assets.instance.home import open_instance
    from panic_assets.training.registration import add_keys

    folder = home().root / "logged" / run
    registry.register(_lake(), registry.NewRun(run, family, {"logged": True}, str(folder), status="watched"))
    with open_instance(home()) as instance:
        add_keys(instance, family, [run])


def _store(run: str, new: Sequence[Measurement]) -> None:
    """Beside what was logged before: of an epoch and metric the newest value stays."""
    fields = ", ".join(Measurement.__dataclass_fields__)
    with _lake().lease(f"metrics logged of {run}", wait_seconds=30):
        old = _lake().sql(f"SELECT {fields} FROM metrics", training_run=run, source=SOURCE).to_pylist()
        rows = {(row["epoch"], row["metric"]): row for row in (*old, *map(asdict, new))}
        stages.store_metrics(_lake(), run, SOURCE, [Measurement(**row) for row in rows.values()])


def _refresh() -> None:
    """Rebuild the catalogue while a loop runs, seldom enough to cost it little; as it ends, once more."""
    here = home()
    if here not in _logged:
        _logged[here] = catalogue.Refresher(open_lake(here.lake), here.catalogue)
    _logged[here]()


@atexit.register
def _finish() -> None:
    for here in [here for here in _logged if here.lake.exists()]:
        catalogue.build(open_lake(here.lake), here.catalogue)
