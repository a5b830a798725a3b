"""Training runs in the lake: registering, lineage, status and checkpoints. Every function may be repeated safely."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from panic_assets.errors import UserError, shown, suggest
from panic_assets.lake.lake import Lake
from panic_assets.operations import operation
from panic_assets.training.lineage import Lineage, Parent
from panic_assets.training.names import NAME
from panic_assets.training.settings import Settings, parse_targets
from panic_assets.training.watch import Registered

LEASE = "training_run {}"
"""What whoever works on a run holds."""
TOMBSTONE = "tombstone"


@dataclass(frozen=True)
class NewRun:
    """A training run to register. `config` is the family's own, as plain JSON values; it may hold `targets`."""

    name: str
    family: str
    config: Mapping[str, Any]
    folder: str
    parent: Parent | None = None
    data_seed: int | None = None
    sweep: str | None = None
    status: str = "registered"
    planned_epochs: int | None = None
    card: str | None = None
    budget: float | None = None


def register(lake: Lake, new: NewRun) -> bool:
    """Store a run; True when it is new. Refuses a bad name, a name taken by another configuration, a parent or a
    parent's checkpoint that is not there. A tombstone of the same configuration comes back to life."""
    if not NAME.fullmatch(new.name):
        raise UserError(
            f"run name {shown(new.name)} must be 1 to 100 letters, digits, '_', '.' or '-', start with a letter or digit, "
            "and not contain '...'"
        )
    text = json.dumps(new.config, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    operation.refuse_unfinished(LEASE.format(new.name))
    with lake.lease("training run registration", wait_seconds=30):
        old = find(lake, new.name)
        if old is not None and old["status"] != TOMBSTONE:
            if (old["family"], old["config_hash"]) == (new.family, digest):
                return False
            before = json.loads(old["config"])
            fields = sorted(k for k in {*before, *new.config} if before.get(k) != json.loads(text).get(k))
            raise UserError(
                f"run {shown(new.name)} already exists with different {', '.join(fields) or 'family'}; "
                "give the new run another name"
            )
        epochs = None if new.parent is None else [r["epoch"] for r in checkpoints(lake, new.parent.run)]
        others = lineage(lake)
        others.with_run(new.name, new.parent, epochs)
        row = {
            "training_run": new.name,
            "family": new.family,
            "config": text,
            "config_hash": digest,
            "parent_run": new.parent.run if new.parent else None,
            "parent_epoch": new.parent.epoch if new.parent else None,
            "data_seed": new.data_seed,
            "sweep": new.sweep,
            "status": new.status,
            "failure": None,
            "folder": new.folder,
            "planned_epochs": new.planned_epochs,
            "card": new.card,
            "budget": new.budget,
            "created_at": datetime.now(UTC),
            "started_at": None,
            "finished_at": None,
        }
        lake.replace("training_runs", [row], training_run=new.name)
    return True


def find(lake: Lake, name: str) -> dict[str, Any] | None:
    """The row of a run; None when there is none."""
    rows = lake.sql("SELECT * FROM training_runs", training_run=name).to_pylist()
    return rows[0] if rows else None


def get(lake: Lake, name: str) -> dict[str, Any]:
    """The row of a run; UserError if there is none."""
    row = find(lake, name)
    if row is None:
        known = [p["training_run"] for p, _ in lake.partitions("training_runs")]
        raise UserError(
            f"there is no training run {shown(name)}{suggest(name, known)} (`panic training list` shows them)"
        )
    return row


def every(lake: Lake, family: str | None = None) -> list[dict[str, Any]]:
    """All runs (of a family), oldest first."""
    rows = lake.sql("SELECT * FROM training_runs ORDER BY created_at, training_run").to_pylist()
    return [r for r in rows if family is None or r["family"] == family]


def change(lake: Lake, name: str, **fields: Any) -> None:
    """Change fields of a run's row."""
    with lake.lease("training run registration", wait_seconds=30):
        lake.replace("training_runs", [{**get(lake, name), **fields}], training_run=name)


def lineage(lake: Lake) -> Lineage:
    """The forest of all runs, tombstones included."""
    rows = every(lake)
    return Lineage(
        {r["training_run"]: Parent(r["parent_run"], r["parent_epoch"]) if r["parent_run"] else None for r in rows}
    )


def bury(lake: Lake, row: Mapping[str, Any]) -> None:
    """Leave a tombstone of a deleted run: its name and lineage."""
    lake.replace("training_runs", [{**row, "status": TOMBSTONE}], training_run=row["training_run"])


def unknown(child: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a run's parent of which only the name is known."""
    empty = dict.fromkeys(
        ("parent_run", "parent_epoch", "data_seed", "sweep", "failure", "planned_epochs", "card", "budget")
    )
    known = {"training_run": child["parent_run"], "config": "{}", "folder": ""}
    times = {"started_at": None, "finished_at": None}
    return {**child, **empty, **times, **known, "config_hash": hashlib.sha256(b"{}").hexdigest()}


def checkpoints(lake: Lake, name: str) -> list[dict[str, Any]]:
    """Current checkpoints of a run, by epoch."""
    return lake.sql("SELECT * FROM checkpoints WHERE current ORDER BY epoch", training_run=name).to_pylist()


def registered(lake: Lake, name: str) -> list[Registered]:
    """Every version of every checkpoint of a run, as a watcher needs it."""
    fields = "training_run, epoch, version, path, size, mtime_ns, content_hash"
    rows = lake.sql(f"SELECT {fields} FROM checkpoints", training_run=name)
    return [Registered(*values) for values in zip(*(column.to_pylist() for column in rows.columns), strict=True)]


def targets(row: Mapping[str, Any], settings: Settings) -> dict[str, float]:
    """Target metrics of a run and their tolerances: its own, else its family's. May be empty."""
    own = json.loads(row["config"]).get("targets")
    if own:
        return parse_targets(own, f"targets of run {row['training_run']}")
    return dict(settings.targets.get(row["family"], {}))
