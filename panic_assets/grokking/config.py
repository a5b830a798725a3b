"""What a user may write in a grokking file (`*.grokking`, YAML), validated, and the runs that it describes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from panic_assets.errors import UserError, shown, suggest
from panic_assets.grokking.learning.recipe import Gain, Recipe
from panic_assets.reading import read_yaml
from panic_assets.training.names import NAME
from panic_assets.training.settings import parse_targets
from panic_assets.workload import Family

SUFFIX = ".grokking"
FAMILY = Family(
    name="grokking",
    pattern="checkpoint_epoch_{epoch:05d}.safetensors",
    targets={"test_accuracy": 0.02},
    metrics="grokking_measurements",
    trains="grokking_training",
)
FIELDS = (
    "name",
    "primes",
    "seeds",
    "data_seeds",
    "train_fraction",
    "epochs",
    "lr",
    "weight_decay",
    "d_model",
    "heads",
    "d_mlp",
    "checkpoints",
    "targets",
    "card",
    "budget",
)
SCHEDULE = ("every", "dense", "at")
LARGEST_PRIME = 509
MOST_RUNS = 10_000
"""Of one file."""
MOST_CHECKPOINTS = 100_000
"""Of one run."""


@dataclass(frozen=True)
class RunConfig:
    """One run: its recipe, the epochs to keep, and what its training is judged and priced by."""

    name: str
    recipe: Recipe
    save_at: tuple[int, ...]
    targets: Mapping[str, float] | None = None
    card: str | None = None
    budget: float | None = None
    sweep: str | None = None
    base: str | None = None

    @property
    def stored(self) -> dict[str, Any]:
        """As plain JSON values, for table training_runs."""
        return {
            "recipe": json.loads(json.dumps(asdict(self.recipe))),
            "save_at": list(self.save_at),
            "targets": dict(self.targets) if self.targets else None,
            "base": self.base,
        }


def recipe_of(config: Mapping[str, Any]) -> Recipe:
    """The recipe in a stored configuration."""
    raw = dict(config["recipe"])
    gains = tuple(Gain(**g) for g in raw.pop("gains"))
    return Recipe(**{**raw, "betas": tuple(raw["betas"]), "gains": gains})


def read(path: Path) -> list[RunConfig]:
    """The runs of a file; their common name is the file's unless it gives one."""
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise UserError(f"{path} is not a mapping; it must hold one mapping with fields of {', '.join(FIELDS)}")
    return parse({"name": path.stem, **raw})


def parse(raw: Mapping[str, Any]) -> list[RunConfig]:
    """Every prime x seed x data seed, the first of each being the base run. Refuses the first thing wrong."""
    for key in raw:
        if key not in FIELDS:
            raise UserError(f"unknown field {shown(key)}{suggest(key, FIELDS)} (accepted: {', '.join(FIELDS)})")
    name = raw.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 60:
        raise UserError(
            f"name is {shown(name)}; it must be 1 to 60 letters, digits, '_', '.' or '-', and not contain '...'"
        )
    primes = _integers(raw, "primes", 3, LARGEST_PRIME)
    for p in primes:
        if any(p % d == 0 for d in range(2, int(p**0.5) + 1)):
            raise UserError(f"primes contains {p}, which is not prime; odd primes up to {LARGEST_PRIME} are accepted")
    seeds, data_seeds = _integers(raw, "seeds", 0, 2**63 - 1), _integers(raw, "data_seeds", 0, 2**63 - 1)
    epochs = _integer(raw.get("epochs", 25_000), "epochs", 1, 10_000_000)
    d_model, heads = (
        _integer(raw.get("d_model", 128), "d_model", 1, 4096),
        _integer(raw.get("heads", 4), "heads", 1, 64),
    )
    if d_model % heads:
        raise UserError(f"d_model is {d_model}; it must be a multiple of heads, which is {heads}")
    common: dict[str, Any] = {
        "train_fraction": _number(raw.get("train_fraction", 0.3), "train_fraction", 0, 1),
        "epochs": epochs,
        "lr": _number(raw.get("lr", 1e-3), "lr", 0, 10),
        "weight_decay": _number(raw.get("weight_decay", 1.0), "weight_decay", 0, 1000, or_equal=True),
        "d_model": d_model,
        "heads": heads,
        "d_mlp": _integer(raw.get("d_mlp", 512), "d_mlp", 1, 65_536),
    }
    for p in primes:
        if not 0 < int(p * p * common["train_fraction"]) < p * p:
            raise UserError(
                f"train_fraction is {common['train_fraction']}; it must leave at least one of {p * p} pairs to train "
                "and one to test"
            )
    save_at = schedule(raw.get("checkpoints"), epochs)
    targets = parse_targets(raw["targets"], "targets") if raw.get("targets") else None
    budget = None if raw.get("budget") is None else _number(raw["budget"], "budget", 0, 1e12)
    card = raw.get("card")
    if card is not None and not isinstance(card, str):
        raise UserError(f"card is {shown(card)}; it must be the name of a card in the rate table")
    if len(primes) * len(seeds) * len(data_seeds) > MOST_RUNS:
        raise UserError(
            f"primes, seeds and data_seeds give {len(primes) * len(seeds) * len(data_seeds):,} runs; one file may "
            f"give at most {MOST_RUNS:,}"
        )
    variants = [(p, s, d) for p in primes for s in seeds for d in data_seeds]
    sweep = name if len(variants) > 1 else None
    base = run_name(name, *variants[0]) if sweep else None
    return [
        RunConfig(run_name(name, p, s, d), Recipe(p, s, d, **common), save_at, targets, card, budget, sweep, base)
        for p, s, d in variants
    ]


def run_name(name: str, p: int, seed: int, data_seed: int) -> str:
    """A run is named by all its seeds."""
    return f"{name}-p{p}-s{seed}-d{data_seed}"


def schedule(raw: Any, epochs: int) -> tuple[int, ...]:
    """Epochs to keep: `every` n, `dense` stretches [from, to, every], and single epochs `at`; always 0 and the last."""
    raw = {"every": max(1, epochs // 100)} if raw is None else raw
    if not isinstance(raw, Mapping) or not raw or set(raw) - set(SCHEDULE):
        raise UserError(f"checkpoints is {shown(raw)}; it must be a mapping with some of {', '.join(SCHEDULE)}")
    stretches = [range(0, epochs + 1, epochs)]
    if "every" in raw:
        stretches.append(range(0, epochs + 1, _integer(raw["every"], "checkpoints.every", 1, epochs)))
    for stretch in _listed(raw, "dense"):
        if not isinstance(stretch, list) or len(stretch) != 3:
            raise UserError(
                f"checkpoints.dense contains {shown(stretch)}; each entry must be [from, to, every], as in [0, 500, 50]"
            )
        first, last, every = (_integer(v, "checkpoints.dense", 0, epochs) for v in stretch)
        stretches.append(range(first, last + 1, max(every, 1)))
    single = {_integer(v, "checkpoints.at", 0, epochs) for v in _listed(raw, "at")}
    count = sum(map(len, stretches)) + len(single)
    if count > MOST_CHECKPOINTS:
        raise UserError(f"checkpoints names {count:,} epochs; at most {MOST_CHECKPOINTS:,} can be kept")
    return tuple(sorted(single.union(*stretches)))


def _listed(raw: Mapping[str, Any], field: str) -> list[Any]:
    value = raw.get(field) or []
    if not isinstance(value, list):
        raise UserError(f"checkpoints.{field} is {shown(value)}; it must be a list")
    return value


@dataclass(frozen=True)
class Intervention:
    """What to change from a parent's checkpoint on. Everything None or empty: the no-op control."""

    gains: tuple[Gain, ...] = ()
    weight_decay: float | None = None
    train_fraction: float | None = None
    data_seed: int | None = None

    @property
    def changes(self) -> bool:
        return self != Intervention()

    def suffix(self) -> str:
        """Names the child after what is changed."""
        parts = [f"k{g.k}x{g.factor:g}" for g in self.gains]
        parts += [f"wd{self.weight_decay:g}"] if self.weight_decay is not None else []
        parts += [f"f{self.train_fraction:g}"] if self.train_fraction is not None else []
        parts += [f"d{self.data_seed}"] if self.data_seed is not None else []
        return "-".join(parts) or "control"


def child(parent: str, config: Mapping[str, Any], epoch: int, what: Intervention, epochs: int | None) -> RunConfig:
    """The child run of `parent` (with its stored configuration) that an intervention at `epoch` makes.

    It saves where the parent does, from `epoch` to `epochs` (the parent's own end unless given).
    """
    recipe = recipe_of(config)
    last = recipe.epochs if epochs is None else epochs
    if not epoch < last:
        raise UserError(f"epochs is {last}; the child starts at epoch {epoch} and must train beyond it")
    changed = {
        field: value
        for field in ("weight_decay", "train_fraction", "data_seed")
        if (value := getattr(what, field)) is not None
    }
    for gain in what.gains:
        gain.check(recipe.p)
    if what.train_fraction is not None and not 0 < int(recipe.p**2 * what.train_fraction) < recipe.p**2:
        raise UserError(
            f"train_fraction is {what.train_fraction}; it must leave at least one pair to train and one to test"
        )
    save_at = tuple(e for e in sorted({*config["save_at"], epoch, last}) if epoch <= e <= last)
    made = replace(recipe, epochs=last, gains=what.gains, **changed)
    return RunConfig(f"{parent}-e{epoch}-{what.suffix()}", made, save_at, config.get("targets"), base=parent)


def _integers(raw: Mapping[str, Any], field: str, low: int, high: int) -> list[int]:
    value = raw.get(field)
    values = value if isinstance(value, list) else [value]
    if value is None or not values:
        raise UserError(f"{field} is missing; give one whole number or a list of them")
    found = [_integer(v, field, low, high) for v in values]
    if len(set(found)) < len(found):
        raise UserError(f"{field} contains a value twice; give each value once")
    return found


def _integer(value: Any, field: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{field} is {shown(value)}; it must be a whole number from {low} to {high}")
    return value


def _number(value: Any, field: str, low: float, high: float, or_equal: bool = False) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not fits or (value == low and not or_equal):
        least = f"from {low:g}" if or_equal else f"above {low:g}"
        raise UserError(f"{field} is {shown(value)}; it must be a number {least} to {high:g}")
    return float(value)
