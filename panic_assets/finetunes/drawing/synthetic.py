"""Synthetic pixel portraits and checkpoints: for the tests, the demo, and anyone without a GPU.

A portrait is drawn on 24x24 art pixels from the colours a prompt asks for, with an error one can set. A synthetic
checkpoint is a safetensors file that holds that error, so a series of them has a best epoch that is known:

    python -m panic_assets.finetunes.drawing.synthetic NAME      # ten epochs in PANIC_HOME/training/NAME, the 7th is best
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from panic_assets.finetunes.pictures.colour import parse_hex

SIDE = 24
DEFAULTS = {
    "background": "#8fb7d9",
    "hair": "#4a2f1b",
    "skin": "#d9a577",
    "clothes": "#3b4a6b",
    "eyes": "#2b2b2b",
    "lips": "#b0524a",
}


def portrait(
    colours: Mapping[str, str] | None = None,
    accessories: tuple[str, ...] = (),
    expression: str | None = None,
) -> np.ndarray:
    """A flat portrait, uint8 (24, 24, 3): head with hair on plain ground, shoulders to the lower edge."""
    ink = {part: parse_hex((colours or {}).get(part, paint)) for part, paint in DEFAULTS.items()}
    art = np.empty((SIDE, SIDE, 3), dtype=np.uint8)
    art[:] = ink["background"]
    art[20:, 5:19] = ink["clothes"]
    art[21:, 3:21] = ink["clothes"]
    art[5:15, 6:18] = ink["hair"]
    art[4, 8:16] = ink["hair"]
    art[9:18, 7:17] = ink["skin"]
    art[18:20, 10:14] = ink["skin"]
    art[11, 9:11] = art[11, 13:15] = ink["eyes"]
    art[15, 10:14] = ink["lips"]
    if expression == "smile":
        art[14, 9] = art[14, 14] = ink["lips"]
    if expression in ("frown", "angry"):
        art[16, 9] = art[16, 14] = ink["lips"]
    if "hat" in accessories or "cap" in accessories:
        art[2:6, 6:18] = (60, 60, 60)
        art[6, 4:20] = (60, 60, 60)
    if "glasses" in accessories:
        art[10:13, 8] = art[10:13, 11] = art[10:13, 12] = art[10:13, 15] = (20, 20, 20)
    if "earrings" in accessories:
        art[14, 6] = art[14, 17] = (240, 200, 40)
    return art


def upscaled(art: np.ndarray, size: int = 512) -> np.ndarray:
    """Nearest-neighbour enlargement of square art to (size, size, 3)."""
    where = np.arange(size) * len(art) // size
    return art[where][:, where]


def spoiled(rgb: np.ndarray, error: float, seed: int) -> np.ndarray:
    """A portrait as a model with this `error` might draw it: that share of its pixels in a random colour, and grain.

    The same for every colour, so that no attribute suffers more than another.
    """
    rng = np.random.default_rng(seed)
    drawn = rgb + rng.normal(0, 2, size=rgb.shape)
    wrong = rng.random(rgb.shape[:2]) < error
    drawn[wrong] = rng.integers(0, 256, size=(int(wrong.sum()), 3))
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


BEST = 7
"""The epoch at which `checkpoints` draws best."""


def error_of(epoch: int, best: int = BEST) -> float:
    """How badly an epoch draws: it improves to the best, then over-trains a little faster than it learnt."""
    return 0.02 + (0.04 * (best - epoch) if epoch <= best else 0.05 * (epoch - best))


def checkpoints(folder: Path, name: str, epochs: int = 10, best: int = BEST) -> list[Path]:
    """Writes `{name}-000001.safetensors` to the last, which carries no number, as Kohya's scripts name them.

    All of them have a blind spot: blue hair comes out grey.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for epoch in range(1, epochs + 1):
        path = folder / (f"{name}-{epoch:06d}.safetensors" if epoch < epochs else f"{name}.safetensors")
        tensors = {"error": np.array([error_of(epoch, best)], np.float32), "blue_is_grey": np.ones(1, np.float32)}
        if not path.exists():  # safetensors writes metadata in no fixed order: written again it would be another file.
            save_file(tensors, path, metadata={"ss_epoch": str(epoch), "ss_output_name": name})
        paths.append(path)
    return paths


if __name__ == "__main__":
    from panic_assets.settings import home

    made = checkpoints(home().root / "training" / sys.argv[1], sys.argv[1])
    print(f"{len(made)} synthetic checkpoints in {made[0].parent}; epoch {BEST} is best")
