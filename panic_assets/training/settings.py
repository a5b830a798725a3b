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

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panic_assets.errors import UserError, cut, shown, suggest
from panic_assets.reading import read_yaml
from panic_assets.settings import home
from panic_assets.training.cost import RateTable, StopRule
from panic_assets.training.families import families
from panic_assets.training.names import LARGEST_EPOCH, NAME
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
    return parse(read_yaml(where) or {})


def parse(raw: Any) -> Settings:
    """Validate what the file holds. The first thing wrong raises UserError."""
    if not isinstance(raw, Mapping):
        raise UserError(f"training.yaml is not a mapping; it must be one with fields of {', '.join(FIELDS)}")
    for key in raw:
        if key not in FIELDS:
            raise UserError(
                f"unknown training setting {shown(key)}{suggest(key, FIELDS)} (accepted: {', '.join(FIELDS)})"
            )
    targets = default_targets()
    for family, metrics in _mapping(raw, "targets").items():
        if family not in families():
            known = families()
            raise UserError(
                f"targets names the family {shown(family)}{suggest(family, known)} (accepted: {', '.join(known)})"
            )
        targets[family] = parse_targets(metrics, f"targets.{family}")
    return Settings(
        RateTable.parse(_items(raw, "rates")),
        tuple(_watch(w) for w in _items(raw, "watch")),
        targets,
        _receivers(raw.get("notify")),
        _stop(raw.get("stop")),
    )


def parse_targets(raw: Any, name: str) -> dict[str, float]:
    """Metric -> tolerance."""
    if not isinstance(raw, Mapping) or not raw or not all(isinstance(metric, str) for metric in raw):
        raise UserError(f"{name} is {shown(raw)}; it must map metrics to tolerances, as in {{test_accuracy: 0.02}}")
    for metric, tolerance in raw.items():
        if (
            isinstance(tolerance, bool)
            or not isinstance(tolerance, int | float)
            or not 0 <= tolerance <= sys.float_info.max
        ):
            raise UserError(f"{name}.{cut(metric)} is {shown(tolerance)}; it must be a tolerance of 0 or more")
    return {metric: float(tolerance) for metric, tolerance in raw.items()}


def _mapping(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name) or {}
    if not isinstance(value, Mapping):
        raise UserError(f"{name} is {shown(value)}; it must be a mapping of names to values")
    return value


def _items(raw: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = raw.get(name) or []
    if not isinstance(value, list) or not all(isinstance(v, Mapping) for v in value):
        raise UserError(f"{name} is {shown(value)}; it must be a list of mappings")
    return value


def _watch(raw: Mapping[str, Any]) -> Watch:
    accepted = ("family", "url", "pattern", "run", "epochs")
    for key in raw:
        if key not in accepted:
            raise UserError(
                f"unknown field {shown(key)} of watch{suggest(key, accepted)} (accepted: {', '.join(accepted)})"
            )
    lacking = [field for field in ("family", "url") if not raw.get(field)]
    if lacking:
        raise UserError(f"watch {shown(raw)} lacks {' and '.join(lacking)}; every watch needs family and url")
    known = families()
    if not isinstance(raw["family"], str) or raw["family"] not in known:
        near = suggest(raw["family"], known)
        raise UserError(f"watch names the family {shown(raw['family'])}{near} (accepted: {', '.join(known)})")
    for name in ("url", "pattern", "run"):
        if not isinstance(raw.get(name, ""), str | None):
            raise UserError(f"watch.{name} is {shown(raw[name])}; it must be a text")
    if not known[raw["family"]].pattern and not raw.get("pattern"):
        raise UserError(
            f"watch of family {shown(raw['family'])} lacks a pattern; give one, as in model-{{epoch:04d}}.safetensors"
        )
    epochs = raw.get("epochs")
    if epochs is not None and (
        isinstance(epochs, bool) or not isinstance(epochs, int) or not 1 <= epochs <= LARGEST_EPOCH
    ):
        raise UserError(f"watch.epochs is {shown(epochs)}; it must be a whole number from 1 to {LARGEST_EPOCH:,}")
    url = raw["url"]
    if "://" not in url:
        try:
            url = str(Path(url).expanduser().absolute())
        except RuntimeError as error:  # The home of a person who is not known here.
            raise UserError(f"watch.url is {shown(url)}, which cannot be followed: {error}") from None
    run = raw.get("run") or ""
    if run and not NAME.fullmatch(run):
        raise UserError(
            f"watch.run is {shown(run)}; it must be 1 to 100 letters, digits, '_', '.' or '-', start with a letter or digit, "
            "and not contain '...'"
        )
    watch = Watch(raw["family"], url, raw.get("pattern") or "", run, epochs)
    watch.compiled()
    return watch


def _receivers(raw: Any) -> tuple[str, ...]:
    """One text is a list of one. Variables stay as they are named, for they are filled in when a message is sent."""
    listed = [raw] if isinstance(raw, str) else [] if raw is None else raw
    if not isinstance(listed, list):
        raise UserError(f"notify is {shown(raw)}; it must be an Apprise URL, or a list of them")
    for one in listed:
        if not isinstance(one, str) or not ("://" in one or one.startswith("$")):
            raise UserError(
                f"notify contains {shown(one)}; it must be an Apprise URL like mailto://..., or a variable like $SLACK_URL"
            )
    return tuple(dict.fromkeys(listed))


def _stop(raw: Any) -> StopRule | None:
    if raw is None:
        return None
    accepted = {"threshold", "on", "dry_run"}
    threshold = raw.get("threshold") if isinstance(raw, Mapping) and set(raw) <= accepted else None
    if (
        isinstance(threshold, bool)
        or not isinstance(threshold, int | float)
        or not 0 <= threshold <= sys.float_info.max
    ):
        raise UserError(f"stop is {shown(raw)}; it must have a number as threshold, and may have on and dry_run")
    on, dry_run = raw.get("on", "spent"), raw.get("dry_run", True)
    if on not in ("spent", "projected"):
        raise UserError(f"stop.on is {shown(on)}; accepted: spent, projected")
    if not isinstance(dry_run, bool):
        raise UserError(f"stop.dry_run is {shown(dry_run)}; accepted: true, false")
    return StopRule(float(threshold), on, dry_run)
