"""What a user may write in a fine-tune file (`*.finetune.yaml`), validated.

name: portraits                # as in the checkpoints' file names
folder: /runs/portraits        # where checkpoints appear, {name}-{epoch:06d}.safetensors
base: SD15                     # model the LoRA belongs to (`panic model list`), or Synthetic
precision: bfloat16            # numbers that the base's weights must be held in; without it, what the card has room for
epochs: 10
suite: suite.yaml              # beside this file; by default the 15 portraits that come with panic
depth: full                    # or {epochs: {medium: [5, 8, 9], full: [7, 10]}, otherwise: quick}
images: /drawn                 # pictures drawn elsewhere, instead of drawing
image_pattern: epoch-{epoch}/{prompt}_{seed}.png
baseline: {run: older, epoch: 7}
captions: /data/captions       # captions to check before training
caption_rules: {least_hex: 12}
detector: Qwen3VL              # model that looks for accessories and expressions; without one they are not judged
alignment: Jina                # model that judges how well picture and prompt fit; a detector like Jina does it too
targets: {colour: 2.0}         # metric -> tolerance, for the convergence rule
parent: {run: other, epoch: 3}
card: A40
budget: 20
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panic_assets.asleep import asleep
from panic_assets.errors import UserError, shown, suggest
from panic_assets.finetunes.drawing import depth, ingest, suites
from panic_assets.finetunes.drawing.suites import Suite
from panic_assets.reading import parse_yaml, read_yaml
from panic_assets.registry import registry
from panic_assets.settings import home
from panic_assets.training.checkpoints import Pattern
from panic_assets.training.lineage import Parent
from panic_assets.training.names import LARGEST_EPOCH, NAME
from panic_assets.training.settings import parse_targets
from panic_assets.workload import Family, later

if TYPE_CHECKING:
    from panic_assets.finetunes.captions import rules
    from panic_assets.finetunes.drawing import generate
    from panic_assets.finetunes.pictures import attributes
else:
    rules = asleep("panic_assets.finetunes.captions.rules")
    attributes = asleep("panic_assets.finetunes.pictures.attributes")
    generate = asleep("panic_assets.finetunes.drawing.generate")

SUFFIX = ".finetune.yaml"
FAMILY = Family(
    name="finetune",
    pattern="{name}-{epoch:06d}.safetensors",
    targets={"colour": 2.0},
    metrics="finetune_summary",
    briefing=later("panic_assets.finetunes.stages:briefing"),
    reports="finetune_reports",
)
TARGETS = {"colour": 2.0}
"""Metric and tolerance of the convergence rule, where a file names none."""
FIELDS = (
    "name",
    "folder",
    "pattern",
    "base",
    "precision",
    "scale",
    "epochs",
    "suite",
    "depth",
    "images",
    "image_pattern",
    "baseline",
    "captions",
    "caption_rules",
    "detector",
    "alignment",
    "targets",
    "parent",
    "card",
    "budget",
)


@dataclass(frozen=True)
class FineTune:
    """A valid fine-tune. `stored` is its configuration as plain JSON; the suite is stored apart, by version."""

    name: str
    folder: str
    stored: Mapping[str, Any]
    suite: Suite
    parent: Parent | None
    epochs: int | None
    card: str | None
    budget: float | None


def read(path: Path) -> FineTune:
    """The fine-tune in a YAML or JSON file; relative paths in it are relative to it."""
    name = path.name.removesuffix(SUFFIX).removesuffix(".yaml")
    return _parse(read_yaml(path), path.parent, name, str(path))


def parse_text(text: str, beside: Path, name: str = "") -> FineTune:
    """The fine-tune in YAML or JSON text. `name` is used when the text gives none."""
    return _parse(parse_yaml(text, "the fine-tune"), beside, name, "the fine-tune")


def _parse(raw: Any, beside: Path, name: str, what: str) -> FineTune:
    if not isinstance(raw, dict):
        raise UserError(f"{what} is not a mapping; it must be one with fields of {', '.join(FIELDS)}")
    return parse({"name": name, **raw}, beside)


def parse(raw: Mapping[str, Any], beside: Path) -> FineTune:
    """A fine-tune from plain data."""
    for key in raw:
        if key not in FIELDS:
            raise UserError(f"unknown field {shown(key)}{suggest(key, FIELDS)} (accepted: {', '.join(FIELDS)})")
    name = _text(raw, "name")
    if not NAME.fullmatch(name):
        raise UserError(
            f"name is {shown(name)}; it must be 1 to 100 letters, digits, '_', '.' or '-', start with a letter or digit, "
            "and not contain '...'"
        )
    images = _path(raw, "images", beside)
    base = raw.get("base")
    if base is None and images is None:
        raise UserError(
            f"fine-tune {shown(name)} names neither a base model to draw with nor a folder of images to read; "
            "add base or images"
        )
    if base is not None:
        check_base(_text(raw, "base"))
    check_precision(raw.get("precision"), base)
    folder = _path(raw, "folder", beside) or str(home().root / "training" / name)
    targets = TARGETS if raw.get("targets") is None else parse_targets(raw["targets"], "targets")
    depth.parse(raw.get("depth"))
    rules.parse_rules(raw.get("caption_rules"))
    pattern = _text(raw, "pattern") if raw.get("pattern") else ""
    Pattern(pattern or FAMILY.pattern)
    image_pattern = ingest.PATTERN if raw.get("image_pattern") is None else _text(raw, "image_pattern")
    ingest.compile_pattern(image_pattern)
    attributes.Viewers.of(raw)
    suite_file = _path(raw, "suite", beside)
    stored = {
        "base": base,
        "precision": raw.get("precision"),
        "scale": _number(raw, "scale", 1.0),
        "pattern": pattern,
        "depth": raw.get("depth"),
        "images": images,
        "image_pattern": image_pattern,
        "baseline": _baseline(raw.get("baseline")),
        "captions": _path(raw, "captions", beside),
        "caption_rules": raw.get("caption_rules"),
        "detector": raw.get("detector"),
        "alignment": raw.get("alignment"),
        "targets": targets,
    }
    budget = raw.get("budget")
    return FineTune(
        name=name,
        folder=folder,
        stored=json.loads(json.dumps(stored)),
        suite=suites.read(Path(suite_file)) if suite_file else suites.default(),
        parent=_parent(raw.get("parent")),
        epochs=_whole(raw, "epochs"),
        card=None if raw.get("card") is None else _text(raw, "card"),
        budget=None if budget is None else _number(raw, "budget", 0.0),
    )


def check_base(base: str) -> None:
    """Refuses a base that is not a text-to-image model of the registry."""
    if base == generate.SYNTHETIC:
        return
    known = [
        generate.SYNTHETIC,
        *(s.name for s in registry.generators() if s.output == "image" and s.family == "diffusion"),
    ]
    if base not in known:
        raise UserError(f"base is {shown(base)}{suggest(base, known)} (accepted: {', '.join(known)})")


def check_precision(precision: Any, base: Any) -> None:
    """Refuses a precision that the base model cannot be held in."""
    if precision is None:
        return
    if base is None or base == generate.SYNTHETIC:
        raise UserError(f"precision is {shown(precision)}; it needs a base model with weights")
    registry.get(f"{base}@{precision}")


def _text(raw: Mapping[str, Any], field: str) -> str:
    value = raw.get(field)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{field} is {shown(value)}; it must be a text that is not blank")
    return value.strip()


def _path(raw: Mapping[str, Any], field: str, beside: Path) -> str | None:
    value = raw.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise UserError(f"{field} is {shown(value)}; it must be a path")
    if "://" in value:
        return value
    try:
        return str((beside / Path(value).expanduser()).resolve())
    except (OSError, RuntimeError) as error:  # A link to itself; the home of a person who is not known here.
        raise UserError(f"{field} is {shown(value)}, which cannot be followed: {error}") from None


def _number(raw: Mapping[str, Any], field: str, default: float) -> float:
    value = raw.get(field, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= sys.float_info.max:
        raise UserError(f"{field} is {shown(value)}; it must be a number of 0 or more")
    return float(value)


def _whole(raw: Mapping[str, Any], field: str) -> int | None:
    value = raw.get(field)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST_EPOCH):
        raise UserError(f"{field} is {shown(value)}; it must be a whole number from 1 to {LARGEST_EPOCH:,}")
    return value


def _at(raw: Any, field: str) -> tuple[str, int]:
    fits = isinstance(raw, dict) and set(raw) == {"run", "epoch"} and isinstance(raw["epoch"], int)
    if (
        not fits
        or isinstance(raw["epoch"], bool)
        or not isinstance(raw["run"], str)
        or not 0 <= raw["epoch"] <= LARGEST_EPOCH
    ):
        raise UserError(f"{field} is {shown(raw)}; it must name a checkpoint, as in {{run: name, epoch: 7}}")
    return raw["run"], raw["epoch"]


def _baseline(raw: Any) -> dict[str, Any] | None:
    if raw is None:
        return None
    run, epoch = _at(raw, "baseline")
    return {"run": run, "epoch": epoch}


def _parent(raw: Any) -> Parent | None:
    return None if raw is None else Parent(*_at(raw, "parent"))
