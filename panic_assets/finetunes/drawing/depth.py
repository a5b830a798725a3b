"""How deeply each epoch is tested: one prompt, a few, or the whole suite.

The studio's plan: epochs 1-4 and 6 quick (1 prompt), 5, 8 and 9 medium (5), 7 and 10 full (15). Their list names
epoch 7 twice, as medium and as full; it is read as full, because an epoch named more than once gets its deepest
level. Epochs 1..10 then ask for 1, 1, 1, 1, 5, 1, 15, 5, 5, 15 prompts: 50 where every epoch in full would be 150.
A level takes the *first* prompts of a suite, so levels nest: deepening an epoch later reuses every cell it has,
and any two epochs share at least the prompts of the shallower one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from panic_assets.errors import UserError, shown, suggest
from panic_assets.finetunes.drawing.suites import Prompt, Suite

LARGEST = 1_000_000_000
"""Of an epoch, and of a number of prompts."""
LEVELS: Mapping[str, int] = MappingProxyType({"quick": 1, "medium": 5, "full": 15})


@dataclass(frozen=True)
class Depth:
    """Prompts per level, the epochs each level is asked for, and the level of every epoch not named."""

    levels: Mapping[str, int]
    epochs: Mapping[str, tuple[int, ...]]
    otherwise: str

    def level(self, epoch: int) -> str:
        """The deepest level that names `epoch`, else the level of epochs not named."""
        naming = [level for level, listed in self.epochs.items() if epoch in listed]
        return max(naming, key=lambda level: self.levels[level], default=self.otherwise)

    def count(self, epoch: int) -> int:
        """How many prompts `epoch` is tested with (a shorter suite has fewer)."""
        return self.levels[self.level(epoch)]


DEFAULT = Depth(LEVELS, {"quick": (1, 2, 3, 4, 6), "medium": (5, 7, 8, 9), "full": (7, 10)}, otherwise="quick")


def parse(raw: Any) -> Depth:
    """`{levels: {name: prompts}, epochs: {name: [epochs]}, otherwise: name}`, or the name of one level for all."""
    if raw is None:
        return DEFAULT
    if isinstance(raw, str):
        return Depth(LEVELS, {}, otherwise=_level(raw, LEVELS, "depth"))
    if not isinstance(raw, dict) or not set(raw) <= {"levels", "epochs", "otherwise"}:
        raise UserError(
            f"depth is {shown(raw)}; it must be one of {', '.join(LEVELS)}, or a mapping with levels, epochs and otherwise"
        )
    levels = raw.get("levels", LEVELS)
    if not _named(levels) or not levels or not all(map(_whole, levels.values())):
        raise UserError(
            f"depth levels is {shown(levels)}; it must map names to numbers of prompts from 1, as in {{quick: 1}}"
        )
    epochs = raw.get("epochs", {})
    if not _named(epochs) or not all(isinstance(e, list) and all(map(_whole, e)) for e in epochs.values()):
        raise UserError(
            f"depth epochs is {shown(epochs)}; it must map levels to lists of epochs from 1, as in {{full: [7, 10]}}"
        )
    for name in epochs:
        _level(name, levels, "depth epochs")
    shallowest = min(levels, key=lambda level: levels[level])
    otherwise = _level(raw.get("otherwise", shallowest), levels, "depth otherwise")
    return Depth(dict(levels), {k: tuple(v) for k, v in epochs.items()}, otherwise)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


def _named(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _level(name: Any, levels: Collection[str], field: str) -> str:
    if not isinstance(name, str) or name not in levels:
        raise UserError(
            f"{field} names {shown(name)}, which is not a level{suggest(name, levels)} (accepted: {', '.join(levels)})"
        )
    return name


@dataclass(frozen=True)
class Cell:
    """One picture to draw: a prompt of the suite under one seed."""

    prompt: Prompt
    seed: int

    @property
    def key(self) -> tuple[str, int]:
        """Prompt id and seed: what names the cell within an epoch."""
        return self.prompt.id, self.seed


def cells(suite: Suite, prompts: int) -> list[Cell]:
    """The cells of the suite's first `prompts` prompts, seeds within prompts."""
    return [Cell(prompt, seed) for prompt in suite.prompts[:prompts] for seed in prompt.seeds]


def missing(suite: Suite, prompts: int, have: Collection[tuple[str, int]]) -> list[Cell]:
    """The cells still to draw; what an epoch has already, at whatever depth, is kept."""
    return [cell for cell in cells(suite, prompts) if cell.key not in have]


def shared(prompts_by_epoch: Mapping[int, Collection[str]]) -> set[str]:
    """Prompts that every given epoch was tested with: the only ones whose averages may be compared."""
    sets = [set(p) for p in prompts_by_epoch.values()]
    return set.intersection(*sets) if sets else set()
