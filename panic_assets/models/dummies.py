"""Models that cost microseconds: for tests, demonstrations, and measuring what the platform itself costs.

A seeded output is a function of (model, input, seed), the same on every machine and in any batch; an unseeded
one is drawn afresh. Everything comes from one hash, so distinct inputs give distinct outputs, save that a
seeded captioner has a stated, finite number of sentences (which is what makes seeded runs loop).
"""

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from panic_assets.models.protocol import UNSEEDED, Content
from panic_assets.registry.spec import ModelSpec

SIZE = 64

# One list per blank of a sentence; lengths are powers of two, so that every word is equally likely.
SENTENCES: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "scene": (
        "a {} {} {} {} in the {} {}",
        (
            ("small", "large", "bright", "dark", "quiet", "old", "young", "tall",
             "round", "narrow", "soft", "heavy", "strange", "plain", "lonely", "cheerful"),
            ("red", "blue", "green", "yellow", "white", "black", "brown", "orange",
             "grey", "pink", "golden", "silver", "violet", "crimson", "turquoise", "ivory"),
            ("cat", "dog", "house", "boat", "bird", "tree", "horse", "bridge",
             "tower", "fox", "lamp", "clock", "train", "child", "mountain", "flower"),
            ("standing", "sleeping", "floating", "waiting", "resting", "turning", "shining", "leaning"),
            ("morning", "evening", "winter", "summer", "autumn", "spring", "midnight", "noon"),
            ("light", "rain", "fog", "snow", "wind", "sun", "garden", "harbour",
             "street", "forest", "desert", "valley", "city", "meadow", "river", "sky"),
        ),
    ),
    "gallery": (
        "{} of {} {} and {} {}, {}",
        (
            ("a painting", "a photograph", "a drawing", "a sketch",
             "a poster", "an engraving", "a mural", "a collage"),
            ("a tired", "a proud", "a wooden", "a glass", "a paper", "a marble", "a hidden", "a broken",
             "a famous", "a tiny", "a giant", "a painted", "a silent", "a burning", "a frozen", "a dancing"),
            ("king", "sailor", "robot", "dancer", "teacher", "whale", "owl", "violin",
             "castle", "engine", "mirror", "planet", "kettle", "bicycle", "statue", "island"),
            ("two", "three", "four", "five", "seven", "nine", "twenty", "many"),
            ("birds", "apples", "candles", "windows", "stars", "ladders", "umbrellas", "fish",
             "clouds", "keys", "books", "stairs", "masks", "roses", "stones", "wheels"),
            ("in the style of an old master", "seen from above", "at dawn", "in black and white",
             "with long shadows", "under water", "on a plain background", "in bright colours"),
        ),
    ),
}  # fmt: skip


def load(spec: ModelSpec, device: str = "cpu") -> Any:
    """The dummy of that entry; `device` is accepted and ignored."""
    if spec.role == "embedder":
        return DummyText(spec) if spec.input == "text" else DummyVision(spec)
    return DummyPainter(spec) if spec.output == "image" else DummyCaptioner(spec)


def _stream(salt: str, content: bytes, seed: int, length: int) -> bytes:
    """`length` bytes that stand for (model, input, seed), or fresh ones when unseeded."""
    if seed == UNSEEDED:
        return os.urandom(length)
    return hashlib.shake_128(b"%s\0%d\0%s" % (salt.encode(), seed, content)).digest(length)


def _picture_bytes(picture: Image.Image) -> bytes:
    """What identifies a picture: its pixels, mode and size."""
    return b"%s %d %d\0%s" % (picture.mode.encode(), *picture.size, picture.tobytes())


class DummyPainter:
    """Text to image: a few flat shapes, so that a PNG of one is a few hundred bytes."""

    def __init__(self, spec: ModelSpec) -> None:
        self.salt = spec.name
        self.draw = {"landscape": _landscape, "abstract": _abstract}[spec.settings["style"]]

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Content]:
        size = SIZE if image_size is None else image_size
        return [
            self.draw(_stream(self.salt, str(text).encode(), seed, 64), size)
            for text, seed in zip(inputs, seeds, strict=True)
        ]


def _landscape(b: bytes, size: int) -> Image.Image:
    """Sky, sun, ground, two hills and a house with a roof, placed and coloured by 64 bytes."""
    picture = Image.new("RGB", (size, size), (b[0] // 3, b[1] // 2 + 64, b[2] // 2 + 128))
    draw = ImageDraw.Draw(picture)
    x, y, r = b[3] * size // 256, b[4] * size // 640, size // 16 + b[5] * size // 2560
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(255 - b[6] // 8, 200 + b[7] // 8, b[8]))
    horizon = size // 2 + b[9] * size // 1024
    for o in (10, 16):
        x, w, h = b[o] * size // 256, size // 8 + b[o + 1] * size // 768, size // 16 + b[o + 2] * size // 1024
        draw.ellipse((x - w, horizon - h, x + w, horizon + h), fill=(b[o + 3] // 2, b[o + 4], b[o + 5] // 2))
    draw.rectangle((0, horizon, size, size), fill=(b[22], 64 + b[23] // 2, b[24] // 2))
    x, w, h = b[25] * size // 320, size // 8 + b[26] * size // 1280, size // 8 + b[27] * size // 2560
    base = horizon + size // 16 + b[28] * size // 1024
    draw.rectangle((x, base - h, x + w, base), fill=tuple(b[29:32]))
    draw.polygon(((x - 2, base - h), (x + w + 2, base - h), (x + w // 2, base - h - size // 8)), fill=tuple(b[32:35]))
    return picture


def _abstract(b: bytes, size: int) -> Image.Image:
    """Six ellipses and rectangles on a plain ground, placed and coloured by 64 bytes."""
    picture = Image.new("RGB", (size, size), tuple(b[:3]))
    draw = ImageDraw.Draw(picture)
    for i in range(6):
        x, y, w, h = (v * size // 256 for v in b[3 + 7 * i : 7 + 7 * i])
        box, colour = (x - w // 3, y - h // 3, x + w // 3, y + h // 3), tuple(b[7 + 7 * i : 10 + 7 * i])
        (draw.ellipse if i % 2 else draw.rectangle)(box, fill=colour)
    return picture


class DummyCaptioner:
    """Image to text: one of a finite number of sentences when seeded, one of 2^22 or more when not."""

    def __init__(self, spec: ModelSpec) -> None:
        self.salt = spec.name
        self.captions: int = spec.settings["captions"]
        self.sentence, self.words = SENTENCES[spec.settings["style"]]

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Content]:
        return [
            self._caption(picture, seed)  # type: ignore[arg-type]
            for picture, seed in zip(inputs, seeds, strict=True)
        ]

    def _caption(self, picture: Image.Image, seed: int) -> str:
        number = int.from_bytes(_stream(self.salt, _picture_bytes(picture), seed, 8), "little")
        if seed != UNSEEDED:
            # An odd factor permutes the residues modulo every power of two: the captions stay apart, and
            # not only the first words vary.
            number = number % self.captions * 0x9E3779B1
        chosen = []
        for options in self.words:
            number, index = divmod(number, len(options))
            chosen.append(options[index])
        return self.sentence.format(*chosen)


@lru_cache(maxsize=16384)
def _hashed_vector(salt: str, text: str, dimension: int) -> np.ndarray:
    """Components uniform in [-1, 1), from a hash of the text."""
    raw = hashlib.shake_128(f"{salt}\0{text}".encode()).digest(4 * dimension)
    return np.frombuffer(raw, "<i4").astype(np.float32) / np.float32(2**31)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit length; each row's norm is summed on its own, so batching cannot change a bit."""
    return vectors / np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))


class DummyText:
    """Text to vector: the sum of the words' vectors, plus a little that is the exact text's own."""

    def __init__(self, spec: ModelSpec) -> None:
        assert spec.dimension
        self.salt, self.dimension = spec.name, spec.dimension

    def embed(self, contents: Sequence[Content]) -> np.ndarray:
        vectors = np.empty((len(contents), self.dimension), np.float32)
        for row, content in zip(vectors, contents, strict=True):
            text = str(content)
            own = _hashed_vector.__wrapped__(self.salt + " text", text, self.dimension)
            words = [_hashed_vector(self.salt, word, self.dimension) for word in text.lower().split()]
            np.add.reduce([*words, own], axis=0, out=row)
        return _normalised(vectors)


class DummyVision:
    """Image to vector: the colours of a coarse grid, plus a little that is the exact picture's own."""

    def __init__(self, spec: ModelSpec) -> None:
        assert spec.dimension
        self.salt, self.dimension = spec.name, spec.dimension
        self.grid: tuple[int, int] = spec.settings["grid"]

    def embed(self, contents: Sequence[Content]) -> np.ndarray:
        vectors = np.empty((len(contents), self.dimension), np.float32)
        for row, picture in zip(vectors, contents, strict=True):
            assert not isinstance(picture, str)
            small = picture.convert("RGB").resize(self.grid, Image.Resampling.BOX).tobytes()
            own = _stream(self.salt, _picture_bytes(picture), 0, 4 * (self.dimension - len(small)))
            row[: len(small)] = np.frombuffer(small, np.uint8) / np.float32(127.5) - 1
            row[len(small) :] = np.frombuffer(own, "<i4") * np.float32(0.1 / 2**31)
        return _normalised(vectors)
