"""Pictures drawn elsewhere: which file in a folder is which cell of which epoch.

A pattern is a path below the folder with `{epoch}`, `{prompt}` and `{seed}`, for example
`epoch-{epoch}/{prompt}_{seed}.png`; or a regular expression with the named groups epoch, prompt and seed.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from panic_assets.errors import UserError, shown, suggest
from panic_assets.finetunes.drawing.suites import Suite

PATTERN = "epoch-{epoch}/{prompt}_{seed}.png"
_GROUPS = {"epoch": r"(?P<epoch>\d+)", "prompt": r"(?P<prompt>[A-Za-z0-9_.-]+)", "seed": r"(?P<seed>\d+)"}


@dataclass(frozen=True)
class Found:
    """One picture file and the cell it claims to be."""

    epoch: int
    prompt: str
    seed: int
    path: Path


@dataclass(frozen=True)
class Ingest:
    """What a folder holds: pictures of known cells, and files that match but name no cell, with the reason."""

    found: tuple[Found, ...]
    strangers: tuple[tuple[Path, str], ...]


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression over paths below the folder, with `/` between folders."""
    if "(?P<" in pattern:
        try:
            made = re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise UserError(f"image pattern {shown(pattern)} is not a regular expression: {error}") from None
    else:
        parts = re.split(r"\{(\w+)\}", pattern)
        for name in parts[1::2]:
            if name not in _GROUPS:
                raise UserError(
                    f"image pattern {shown(pattern)} has unknown {{{name}}}{suggest(name, _GROUPS)} "
                    f"(accepted: {', '.join(_GROUPS)})"
                )
            if parts[1::2].count(name) > 1:
                raise UserError(f"image pattern {shown(pattern)} has {{{name}}} twice; it may have it once")
        made = re.compile("".join(_GROUPS[p] if n % 2 else re.escape(p) for n, p in enumerate(parts)))
    missing = [name for name in _GROUPS if name not in made.groupindex]
    if missing:
        raise UserError(
            f"image pattern {shown(pattern)} lacks {{{missing[0]}}}; it needs {{epoch}}, {{prompt}} and {{seed}}"
        )
    return made


def find(folder: Path, suite: Suite, pattern: str = PATTERN, epochs: Collection[int] | None = None) -> Ingest:
    """The pictures of `folder` that are cells of `suite` (of `epochs`, when given), in order of their path.

    Two files for one cell are refused, because it would be unclear which one was measured.
    """
    if not folder.is_dir():
        raise UserError(f"image folder {folder} is not a folder; give the path of an existing one")
    shape = compile_pattern(pattern)
    seeds = {prompt.id: set(prompt.seeds) for prompt in suite.prompts}
    found: dict[tuple[int, str, int], Found] = {}
    strangers = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        match = shape.fullmatch(path.relative_to(folder).as_posix())
        if match is None:
            continue
        one = Found(int(match["epoch"]), match["prompt"], int(match["seed"]), path)
        if one.prompt not in seeds:
            strangers.append(
                (path, f"suite {suite.name} has no prompt {shown(one.prompt)}{suggest(one.prompt, seeds)}")
            )
        elif one.seed not in seeds[one.prompt]:
            strangers.append((path, f"prompt {shown(one.prompt)} has no seed {one.seed}"))
        elif epochs is None or one.epoch in epochs:
            before = found.setdefault((one.epoch, one.prompt, one.seed), one)
            if before is not one:
                raise UserError(
                    f"{before.path} and {path} both claim to be epoch {one.epoch}, {one.prompt}, seed {one.seed}; "
                    "remove one of them"
                )
    return Ingest(tuple(found.values()), tuple(strangers))
