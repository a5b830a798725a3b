"""The settings of an installation, in `training.yaml`: rates, watched folders, targets, receivers of messages, auto-stop.

The file is in PANIC_HOME, or where PANIC_TRAINING says. Without it there are no rates, watched folders and receivers.

    rates:                                  # prices per hour; `storage` is priced per GB and 30 days
      - {card: A40, price: 1.69, from: 2026-01-01}
      - {card: storage, price: 0.02, from: 2026-01-01}
    watch:
      - {family: finetune, url: /runs/portraits, epochs: 10}
    targets: {grokking: {test_accuracy: 0.02}}    # metric -> tolerance, by family
    notify: ["json://127.0.0.1:8080/hook"]        # Apprise URLs; $NAME is taken from the environment
    stop: {threshold: 20, on: projected, dry_run: true}
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from panic_assets.errors import UserError, suggest
from panic_assets.settings import home
from panic_assets.training.cost import RateTable, StopRule
from panic_assets.training.families import families
from panic_assets.training.watch import Watch

FIELDS = ("rates", "watch", "targets", "notify", "stop")


@dataclass(frozen=True)
class Settings:
    """The settings in force."""

    rates: RateTable = field(default_factory=lambda: RateTable([]))
    watches: tuple[Watch, ...] = ()
    targets: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: default_targets())
    notify: tuple[str, ...] = ()
    stop: StopRule | None = None


def default_targets() -> dict[str, Mapping[str, float]]:
    """Target metrics and tolerances by family, unless the settings or a run's own configuration name others."""
    return {name: family.targets for name, family in families().items() if family.targets}


def path() -> Path:
    """Where the settings are."""
    from panic_assets import variables  # Late: `panic training list` needs no pydantic.

    return variables.read().training or home().root / "training.yaml"


def read() -> Settings:
    """The settings in force now."""
    where = path()
    if not where.exists():
        return Settings()
    try:
        raw = yaml.safe_load(where.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{where} cannot be read: {' '.join(str(error).split())}") from None
    return parse(raw or {})


def parse(raw: Any) -> Settings:
    """Validate what the file holds. The first thing wrong raises UserError."""
    if not isinstance(raw, Mapping):
        raise UserError(f"training.yaml is not a mapping; it must be one with fields of {', '.join(FIELDS)}")
    for key in raw:
        if key not in FIELDS:
            raise UserError(
                f"unknown training setting {key!r}{suggest(str(key), FIELDS)} (accepted: {', '.join(FIELDS)})"
            )
    targets = default_targets()
    for family, metrics in _mapping(raw, "targets").items():
        targets[str(family)] = parse_targets(metrics, f"targets.{family}")
    return Settings(
        RateTable.parse(_items(raw, "rates")),
        tuple(_watch(w) for w in _items(raw, "watch")),
        targets,
        tuple(os.path.expandvars(str(url)) for url in raw.get("notify") or ()),
        _stop(raw.get("stop")),
    )


def parse_targets(raw: Any, name: str) -> dict[str, float]:
    """Metric -> tolerance."""
    if not isinstance(raw, Mapping) or not raw:
        raise UserError(f"{name} is {raw!r}; it must map metrics to tolerances, as in {{test_accuracy: 0.02}}")
    for metric, tolerance in raw.items():
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < float("inf"):
            raise UserError(f"{name}.{metric} is {tolerance!r}; it must be a tolerance of 0 or more")
    return {str(metric): float(tolerance) for metric, tolerance in raw.items()}


def _mapping(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name) or {}
    if not isinstance(value, Mapping):
        raise UserError(f"{name} is {value!r}; it must be a mapping of names to values")
    return value


def _items(raw: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = raw.get(name) or []
    if not isinstance(value, list) or not all(isinstance(v, Mapping) for v in value):
        raise UserError(f"{name} is {value!r}; it must be a list of mappings")
    return value


def _watch(raw: Mapping[str, Any]) -> Watch:
    accepted = ("family", "url", "pattern", "run", "epochs")
    for key in raw:
        if key not in accepted:
            raise UserError(
                f"unknown field {key!r} of watch{suggest(str(key), accepted)} (accepted: {', '.join(accepted)})"
            )
    lacking = [field for field in ("family", "url") if not raw.get(field)]
    if lacking:
        raise UserError(f"watch {dict(raw)} lacks {' and '.join(lacking)}; every watch needs family and url")
    known = families()
    if raw["family"] not in known:
        near = suggest(str(raw["family"]), known)
        raise UserError(f"watch names the family {raw['family']!r}{near} (accepted: {', '.join(known)})")
    if not known[raw["family"]].pattern and not raw.get("pattern"):
        raise UserError(
            f"watch of family {raw['family']!r} lacks a pattern; give one, as in model-{{epoch:04d}}.safetensors"
        )
    epochs = raw.get("epochs")
    if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
        raise UserError(f"watch.epochs is {epochs!r}; it must be a whole number of 1 or more")
    url = str(raw["url"])
    if "://" not in url:
        url = str(Path(url).expanduser().absolute())
    watch = Watch(str(raw["family"]), url, str(raw.get("pattern") or ""), str(raw.get("run") or ""), epochs)
    watch.compiled()
    return watch


def _stop(raw: Any) -> StopRule | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping) or not isinstance(raw.get("threshold"), int | float):
        raise UserError(f"stop is {raw!r}; it must have a number as threshold, and may have on and dry_run")
    on, dry_run = raw.get("on", "spent"), raw.get("dry_run", True)
    if on not in ("spent", "projected"):
        raise UserError(f"stop.on is {on!r}; accepted: spent, projected")
    if not isinstance(dry_run, bool):
        raise UserError(f"stop.dry_run is {dry_run!r}; accepted: true, false")
    return StopRule(float(raw["threshold"]), on, dry_run)
