"""Prompt suites: the versioned files that say what every epoch is asked to draw.

What a prompt expects is what its text says (`label (#rrggbb)`, accessories, expression), plus what `expected`
adds; the two may not contradict each other. A suite is identified by its name, its version number and the hash
of its content: changing the content without raising the version is refused when it is registered.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panic_assets.asleep import asleep
from panic_assets.errors import UserError, shown, suggest
from panic_assets.finetunes.captions import prompts as text_of
from panic_assets.reading import parse_yaml, read_yaml

if TYPE_CHECKING:
    from panic_assets.finetunes.pictures import colour
else:
    colour = asleep("panic_assets.finetunes.pictures.colour")

CATEGORIES = ("colour", "accessory", "skin tone", "expression")
LEAST_SEEDS = 3
MOST_STEPS = 10_000
LARGEST_SIDE = 8192
SCHEDULERS = ("DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler")
"""diffusers schedulers that draw nothing from a random generator of their own."""
_SUITE_FIELDS = ("suite", "version", "negative", "seeds", "generation", "prompts")
_PROMPT_FIELDS = ("id", "category", "text", "negative", "seeds", "expected")
_EXPECTED_FIELDS = ("colours", "accessories", "expression")
_GENERATION_FIELDS = ("steps", "guidance", "scheduler", "size")


@dataclass(frozen=True)
class Generation:
    """How a cell is drawn. `size` None is the base model's own side in pixels."""

    steps: int = 30
    guidance: float = 7.5
    scheduler: str = "DPMSolverMultistepScheduler"
    size: int | None = None


@dataclass(frozen=True)
class Prompt:
    """One prompt: what is asked, with which seeds, and what must then be seen (feature -> `#rrggbb`)."""

    id: str
    category: str
    text: str
    negative: str
    seeds: tuple[int, ...]
    colours: Mapping[str, str]
    accessories: tuple[str, ...]
    expression: str | None


@dataclass(frozen=True)
class Suite:
    """A version of a prompt suite. Order matters: a shallow depth takes the first prompts."""

    name: str
    version: int
    generation: Generation
    prompts: tuple[Prompt, ...]

    @property
    def json(self) -> str:
        """The content as canonical JSON; `from_json` reads it back."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @property
    def hash(self) -> str:
        """SHA-256 of all that averages depend on: prompts, seeds, expectations and how cells are drawn."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    def prompt(self, identifier: str) -> Prompt:
        """The prompt of that id."""
        for prompt in self.prompts:
            if prompt.id == identifier:
                return prompt
        known = [p.id for p in self.prompts]
        raise UserError(
            f"suite {self.name} has no prompt {shown(identifier)}{suggest(identifier, known)} (it has: {', '.join(known)})"
        )


def from_json(text: str) -> Suite:
    """A suite as `Suite.json` wrote it."""
    raw = json.loads(text)
    prompts = tuple(
        Prompt(**{**p, "seeds": tuple(p["seeds"]), "accessories": tuple(p["accessories"])}) for p in raw["prompts"]
    )
    return Suite(raw["name"], raw["version"], Generation(**raw["generation"]), prompts)


def default() -> Suite:
    """The suite that comes with panic: 15 portraits of all four categories; the first five cover all of them."""
    text = files(__package__).joinpath("default_suite.yaml").read_text("utf-8")
    return parse(parse_yaml(text, "default suite"), "default suite")


def read(path: Path) -> Suite:
    """The suite in a YAML or JSON file."""
    return parse(read_yaml(path), f"suite {path}")


def parse(raw: Any, where: str) -> Suite:
    """A suite from plain data; `where` names it in error messages."""
    fields = _fields(raw, _SUITE_FIELDS, where)
    name = _text(fields, "suite", where)
    version = fields.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < 2**31:
        raise UserError(f"{where}: version is {shown(version)}; it must be a whole number of 1 or more")
    listed = fields.get("prompts")
    if not isinstance(listed, list) or not listed:
        raise UserError(f"{where}: prompts is {shown(listed)}; it must be a list of at least one prompt")
    prompts = tuple(_prompt(one, fields, f"{where}, prompt {n}") for n, one in enumerate(listed, 1))
    ids = [p.id for p in prompts]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise UserError(f"{where}: prompt id {shown(twice[0])} is used twice; every prompt needs its own id")
    return Suite(name, version, _generation(fields.get("generation", {}), where), prompts)


def _fields(raw: Any, known: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise UserError(
            f"{where} is of type {type(raw).__name__}; it must be a mapping with fields of {', '.join(known)}"
        )
    for key in raw:
        if key not in known:
            raise UserError(f"{where}: unknown field {shown(key)}{suggest(key, known)} (accepted: {', '.join(known)})")
    return raw


def _text(fields: Mapping[str, Any], name: str, where: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: {name} is {shown(value)}; it must be a text that is not blank")
    return value.strip()


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    numbers = isinstance(value, list) and all(isinstance(s, int) and not isinstance(s, bool) for s in value)
    if (
        not numbers
        or len(set(value)) < LEAST_SEEDS
        or len(set(value)) != len(value)
        or not 0 <= min(value) <= max(value) < 2**63
    ):
        raise UserError(
            f"{where}: seeds is {shown(value)}; it must be {LEAST_SEEDS} or more different whole numbers from 0 to 2^63 - 1"
        )
    return tuple(value)


def _generation(raw: Any, where: str) -> Generation:
    made = Generation(**_fields(raw, _GENERATION_FIELDS, f"{where}, generation"))
    if not isinstance(made.steps, int) or not 1 <= made.steps <= MOST_STEPS:
        raise UserError(f"{where}: steps is {shown(made.steps)}; it must be a whole number from 1 to {MOST_STEPS:,}")
    if not isinstance(made.guidance, int | float) or not 0 <= made.guidance <= 100:
        raise UserError(f"{where}: guidance is {shown(made.guidance)}; it must be a number from 0 to 100")
    if made.scheduler not in SCHEDULERS:
        raise UserError(
            f"{where}: scheduler is {shown(made.scheduler)}{suggest(made.scheduler, SCHEDULERS)} "
            f"(accepted: {', '.join(SCHEDULERS)})"
        )
    if made.size is not None and (
        not isinstance(made.size, int) or not 8 <= made.size <= LARGEST_SIDE or made.size % 8
    ):
        raise UserError(
            f"{where}: size is {shown(made.size)}; it must be a multiple of 8 from 8 to {LARGEST_SIDE:,}, or be left out"
        )
    return made


def _prompt(raw: Any, suite: Mapping[str, Any], where: str) -> Prompt:
    fields = _fields(raw, _PROMPT_FIELDS, where)
    identifier = _text(fields, "id", where)
    text = _text(fields, "text", where)
    if not set(identifier) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."):
        raise UserError(f"{where}: id is {shown(identifier)}; it must consist of letters, digits, '_', '-' and '.'")
    category = fields.get("category")
    if category not in CATEGORIES:
        raise UserError(
            f"{where}: category is {shown(category)}{suggest(category, CATEGORIES)} (accepted: {', '.join(CATEGORIES)})"
        )
    negative = fields.get("negative", suite.get("negative", ""))
    if not isinstance(negative, str):
        raise UserError(f"{where}: negative is {shown(negative)}; it must be a text")
    expected = _fields(fields.get("expected", {}), _EXPECTED_FIELDS, f"{where}, expected")
    return Prompt(
        id=identifier,
        category=category,
        text=text,
        negative=negative,
        seeds=_seeds(fields.get("seeds", suite.get("seeds")), where),
        colours=_colours(text, expected.get("colours", {}), where),
        accessories=_accessories(text, expected.get("accessories", []), where),
        expression=_expression(text, expected.get("expression"), where),
    )


def _colours(text: str, added: Any, where: str) -> dict[str, str]:
    colours = text_of.colours(text)
    known = sorted({*text_of.FEATURES.values(), *text_of.ACCESSORIES})
    for feature, value in _fields(added, tuple(known), f"{where}, expected colours").items():
        if not isinstance(value, str) or not colour.HEX.fullmatch(value):
            raise UserError(f"{where}: the colour of {feature} is {shown(value)}; it must look like '#00ff00'")
        if colours.setdefault(feature, value.lower()) != value.lower():
            raise UserError(
                f"{where}: the text colours {feature} {colours[feature]}, but expected says {value}; they must agree"
            )
    return colours


def _accessories(text: str, added: Any, where: str) -> tuple[str, ...]:
    if not isinstance(added, list) or not all(isinstance(a, str) for a in added):
        raise UserError(
            f"{where}: expected accessories is {shown(added)}; it must be a list of nouns, as in [hat, glasses]"
        )
    for one in added:
        if one not in text_of.ACCESSORIES:
            raise UserError(
                f"{where}: unknown accessory {shown(one)}{suggest(one, text_of.ACCESSORIES)} "
                f"(accepted: {', '.join(sorted(text_of.ACCESSORIES))})"
            )
    return tuple(dict.fromkeys([*text_of.accessories(text), *added]))


def _expression(text: str, added: Any, where: str) -> str | None:
    said = text_of.expression(text)
    known = sorted(set(text_of.EXPRESSIONS.values()))
    if added is not None and added not in known:
        raise UserError(f"{where}: expression is {shown(added)}{suggest(added, known)} (accepted: {', '.join(known)})")
    if said and added and said != added:
        raise UserError(f"{where}: the text says the expression is {said}, but expected says {added}; they must agree")
    return said or added
