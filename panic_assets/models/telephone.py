"""A telephone game without a network or a card: a typesetter sets a caption as a picture, and an optical reader reads it.

The typesetter shifts, turns and blurs what it sets, and adds noise, so the reader makes mistakes: words run together, letters
change. What it cannot misread any more stays as it is. So runs have real attractors, and a caption may end blank.
"""

import hashlib
import textwrap
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from panic_assets.models.protocol import UNSEEDED, Content
from panic_assets.registry.spec import ModelSpec

SIZE = 192
"""Side length in pixels, unless the experiment names one."""
LETTERS_A_LINE = 16
LINES = 7
"""What does not fit is not set, as a prompt that is too long is not read."""


class Typesetter:
    """Text to image: black letters on white, with as much disturbance as the entry says."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        self._name = spec.name
        self._roughness: float = spec.settings["roughness"]

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Content]:
        """A grey picture of each text."""
        size = image_size or SIZE
        return [self._set(str(text), seed, size) for text, seed in zip(inputs, seeds, strict=True)]

    def _set(self, text: str, seed: int, size: int) -> Image.Image:
        chance = _chance(self._name, text, seed)
        font = _font(max(8, round(size / 11)))
        lines = textwrap.wrap(text, LETTERS_A_LINE)[:LINES]
        page = Image.new("L", (size, size), 255)
        at = size / 24 + chance.uniform(0, size / 16, 2)
        ImageDraw.Draw(page).multiline_text((at[0], at[1]), "\n".join(lines), font=font, fill=0, spacing=size / 40)
        turn, blur = chance.normal(0, 1.5 * self._roughness), abs(chance.normal(0, self._roughness)) * size / SIZE
        page = page.rotate(turn, Image.Resampling.BICUBIC, fillcolor=255).filter(ImageFilter.GaussianBlur(blur))
        grain = chance.normal(0, 20 * self._roughness, (size, size))
        return Image.fromarray(np.clip(np.asarray(page) + grain, 0, 255).astype(np.uint8)).convert("RGB")


class OpticalReader:
    """Image to text: what the letters in the picture say, line by line; blank where there are none. It has no randomness."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        self._read = _engine()

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Content]:
        """The text in each picture."""
        return [self._text(picture) for picture in inputs]

    def _text(self, picture: Content) -> str:
        assert not isinstance(picture, str)
        found, _ = self._read(np.asarray(picture.convert("RGB")), use_cls=False)
        return " ".join(text for _, text, _ in found or ())


def _engine() -> Any:
    """One engine for each process: it holds the weights. One thread, so that workers do not get into each other's way."""
    from rapidocr_onnxruntime import RapidOCR  # Late: the typesetter alone does not need it.

    return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1, det_limit_side_len=SIZE, det_limit_type="max")


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _chance(name: str, text: str, seed: int) -> np.random.Generator:
    """Random numbers that depend on model, text and seed alone; fresh ones when unseeded."""
    if seed == UNSEEDED:
        return np.random.default_rng()
    digest = hashlib.sha256(f"{name}\0{seed}\0{text}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
