"""A small experiment file, as a user writes one."""

from pathlib import Path

import yaml

FILE = {
    "networks": [["DummyT2I", "DummyI2T"]],
    "prompts": ["one [red]cat[/red]", "two"],
    "seeds": [1],
    "embedding_models": ["DummyText"],
    "max_length": 6,
    "image_size": 16,
}


def write(folder: Path, name: str = "cats.yaml", **fields: object) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump({**FILE, **fields}))
    return path
