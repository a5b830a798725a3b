"""What an experiment file may hold. Anything else is refused when the file is read."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from panic_assets.errors import UserError, shown, suggest
from panic_assets.reading import read_yaml
from panic_assets.registry import registry
from panic_assets.workload import Inputs

NAME = re.compile(r"(?!.*\.\.\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""The name is a partition key, so it must not contain "...", which Dagster reads as a range."""
IMAGE_FORMATS = ("png", "webp", "jpeg")
UNSEEDED = -1
FIELDS = (
    "name",
    "networks",
    "network",
    "prompts",
    "seeds",
    "seed_count",
    "num_runs",
    "embedding_models",
    "max_length",
    "image_size",
    "image_format",
    "precision",
)
RUNS = ("seeds", "seed_count", "num_runs")
"""Three ways to say which runs each network makes of each prompt. `num_runs` and `network` are what the earlier systems of
this field call them; their files are read as they are."""
SUFFIXES = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Definition:
    """A valid experiment. Everything but `embedding_models` is fixed once it is registered."""

    name: str
    networks: tuple[tuple[str, ...], ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    embedding_models: tuple[str, ...]
    max_length: int
    image_size: int | None = None
    image_format: str = "png"
    precision: Mapping[str, str] = field(default_factory=dict)
    """Model and precision, for models that must be held in one."""

    @property
    def runs(self) -> int:
        """How many runs it has."""
        return len(self.networks) * len(self.prompts) * len(self.seeds)

    @property
    def inputs(self) -> Inputs:
        """Its models, and about how many inputs each will get: no run loops early."""
        runs = len(self.prompts) * len(self.seeds)
        items: dict[str, int] = {}
        for network in self.networks:
            for model in network:
                items[model] = items.get(model, 0) + runs * self.max_length // len(network)
        outputs = sum(items.values()) // 2
        items |= dict.fromkeys(self.embedding_models, outputs)
        return Inputs(
            {registry.pinned(model, self.precision): count for model, count in items.items()}, self.image_size
        )

    @property
    def json(self) -> str:
        """The definition as canonical JSON; `from_json` reads it back."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @property
    def fixed_hash(self) -> str:
        """SHA-256 of everything that must stay the same once the name is registered."""
        generators = {m: precision for m, precision in self.precision.items() if m not in self.embedding_models}
        return hashlib.sha256(replace(self, embedding_models=(), precision=generators).json.encode()).hexdigest()


def from_json(text: str) -> Definition:
    """A definition as the lake stores it."""
    raw = json.loads(text)
    tuples = {
        k: tuple(tuple(x) if isinstance(x, list) else x for x in v) for k, v in raw.items() if isinstance(v, list)
    }
    return Definition(**{**raw, **tuples})


def read(path: Path) -> Definition:
    """The definition in a JSON or YAML file. A file that gives no name is named after itself."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is not an experiment file; its name must end in {', '.join(SUFFIXES)}")
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold one mapping of the fields {', '.join(FIELDS)}")
    return parse({"name": path.stem, **raw})


def parse(raw: Mapping[str, Any]) -> Definition:
    """Validate what a user wrote. The first mistake raises UserError: the field, its value, and what is accepted."""
    for key in raw:
        if key not in FIELDS:
            raise UserError(f"unknown field {shown(key)}{suggest(key, FIELDS)} (accepted: {', '.join(FIELDS)})")
    name = raw.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(
            f"name is {shown(name)}; it must be 1 to 100 letters, digits, '_', '.' or '-', starting with a letter or "
            "digit and without '...'"
        )
    networks = tuple(_network(n, i) for i, n in enumerate(_networks(raw)))
    prompts = tuple(_list(raw, "prompts", "texts"))
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip() or not _is_unicode(prompt):
            raise UserError(f"prompts contains {shown(prompt)}; each prompt must be a Unicode text that is not blank")
    embedders = tuple(_list(raw, "embedding_models", "names of embedding models"))
    for embedder in embedders:
        _embedder(embedder, networks)
    definition = Definition(
        name=name,
        networks=networks,
        prompts=prompts,
        seeds=_seeds(raw),
        embedding_models=embedders,
        max_length=_integer(raw, "max_length", 1, 10_000_000),
        image_size=_image_size(raw),
        image_format=_image_format(raw),
        precision=_precision(raw, {*(model for network in networks for model in network), *embedders}),
    )
    _unique("networks", ["-".join(n) for n in networks])
    _unique("prompts", prompts)
    _unique("seeds", [s for s in definition.seeds if s != UNSEEDED])
    _unique("embedding_models", embedders)
    return definition


def extended(old: Definition, new: Definition) -> Definition:
    """`old` with the embedding models that `new` adds. Refused if they differ in anything else."""
    shared = {model for model in old.embedding_models if model in new.embedding_models}
    other = any(old.precision.get(model) != new.precision.get(model) for model in shared)
    if old.fixed_hash != new.fixed_hash or other:
        fields = [k for k, v in asdict(old).items() if k != "embedding_models" and v != asdict(new)[k]]
        raise UserError(
            f"name {shown(new.name)} is taken by an experiment with different {', '.join(fields)}; "
            f"choose another name, or delete it first with `panic experiment delete {new.name}`"
        )
    added = tuple(m for m in new.embedding_models if m not in old.embedding_models)
    pins = {model: new.precision[model] for model in added if model in new.precision}
    return replace(old, embedding_models=old.embedding_models + added, precision={**old.precision, **pins})


def _is_unicode(text: str) -> bool:
    """Whether the text can be stored. JSON and YAML may hold half of a surrogate pair, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list(raw: Mapping[str, Any], field: str, what: str) -> list[Any]:
    value = raw.get(field)
    if not isinstance(value, list | tuple) or not value:
        raise UserError(f"{field} is {shown(value)}; it must be a list of {what} with at least one entry")
    return list(value)


def _integer(raw: Mapping[str, Any], field: str, low: int, high: int) -> int:
    value = raw.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{field} is {shown(value)}; it must be a whole number from {low} to {high}")
    return value


def _unique(field: str, values: list[Any] | tuple[Any, ...]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise UserError(f"{field} contains {shown(twice[0])} more than once; each may be given once")


def _networks(raw: Mapping[str, Any]) -> list[Any]:
    if "network" not in raw:
        return _list(raw, "networks", "lists of model names")
    if "networks" in raw:
        raise UserError("networks, network: both are given; give a list of networks, or one network")
    return [raw["network"]]


def _network(value: Any, index: int) -> tuple[str, ...]:
    field = f"networks[{index}]"
    if not isinstance(value, list | tuple) or not value:
        raise UserError(f"{field} is {shown(value)}; a network must be a list of model names with at least one entry")
    specs = []
    for name in value:
        known = [s.name for s in registry.generators()]
        if name not in known:
            raise UserError(
                f"{field} names {shown(name)}, which is not a generator in the registry{suggest(name, known)} "
                "(`panic model list` shows them)"
            )
        specs.append(registry.get(name))
    if specs[0].input != "text":
        raise UserError(
            f"{field} starts with {shown(value[0])}, which takes {specs[0].input}; the first model must take text"
        )
    for left, right in pairwise([*specs, specs[0]]):
        if left.output != right.input:
            raise UserError(
                f"{field}: {shown(left.name)} gives {left.output} but {shown(right.name)}, the next, takes {right.input}; "
                "each model must take what the one before it gives, and the first what the last gives"
            )
    return tuple(value)


def _embedder(name: Any, networks: tuple[tuple[str, ...], ...]) -> None:
    known = {s.name: s for s in registry.embedders()}
    if not isinstance(name, str) or name not in known:
        raise UserError(
            f"embedding_models names {shown(name)}, which is not an embedding model in the registry"
            f"{suggest(name, known)} (`panic model list` shows them)"
        )
    outputs = {registry.get(model).output for network in networks for model in network}
    if known[name].input not in outputs:
        raise UserError(
            f"embedding_models names {shown(name)}, which embeds {known[name].input}s, but no network outputs "
            f"{known[name].input}s; use a model that embeds {' or '.join(sorted(f'{o}s' for o in outputs))}"
        )


def _seeds(raw: Mapping[str, Any]) -> tuple[int, ...]:
    given = [field for field in RUNS if field in raw]
    if len(given) != 1:
        which = f"{' and '.join(given)} are given" if given else "none is given"
        raise UserError(f"{', '.join(RUNS)}: {which}; give exactly one: a list of seeds, or a number of unseeded runs")
    if given != ["seeds"]:
        return (UNSEEDED,) * _integer(raw, given[0], 1, 1_000_000)
    seeds = _list(raw, "seeds", "seeds")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or not UNSEEDED <= seed < 2**63:
            raise UserError(
                f"seeds contains {shown(seed)}; a seed must be -1 (unseeded) or a whole number from 0 to 2^63 - 1"
            )
    return tuple(seeds)


def _image_size(raw: Mapping[str, Any]) -> int | None:
    if raw.get("image_size") is None:
        return None
    size = _integer(raw, "image_size", 8, 4096)
    if size % 8:
        raise UserError(f"image_size is {size}; it must be a multiple of 8 from 8 to 4096")
    return size


def _image_format(raw: Mapping[str, Any]) -> str:
    value = raw.get("image_format")
    if value is None:
        return IMAGE_FORMATS[0]
    if value not in IMAGE_FORMATS:
        raise UserError(f"image_format is {shown(value)}; it must be png or webp (both lossless), or jpeg (lossy)")
    return value


def _precision(raw: Mapping[str, Any], models: set[str]) -> dict[str, str]:
    value = raw.get("precision")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(
            f"precision is {shown(value)}; it must name models and their precisions, as in {{Qwen3VL: nf4}}"
        )
    for model, precision in value.items():
        if model not in models:
            raise UserError(
                f"precision names {shown(model)}, which is no model of this experiment{suggest(model, models)}"
            )
        registry.get(f"{model}@{precision}")
    return dict(value)
