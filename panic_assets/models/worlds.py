"""The models of simulated worlds; `registry.worlds` says what each does. What is true of their runs is known, so whatever the
platform concludes about them can be checked.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from panic_assets.models.protocol import UNSEEDED, Content
from panic_assets.registry.spec import ModelSpec
from panic_assets.registry.worlds import COORDINATES, NOISE, ROOMS

SIZE = 64
DECIMALS = 3
_BLOCK = 2
"""Pixels on each side of a bit: the lower half of a picture holds its text in black and white."""
_PLACE = re.compile(r"room (\d+) at((?: -?\d+\.\d+)+)")
_COLOURS = ((228, 108, 96), (96, 160, 228), (120, 196, 120), (220, 180, 80))

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where a run is."""

    room: int
    at: tuple[float, ...]

    @property
    def text(self) -> str:
        """The place as a caption. Rounding bounds the number of places, so a world without noise comes to rest."""
        return f"room {self.room} at {' '.join(f'{x + 0.0:.{DECIMALS}f}' for x in self.at)}"


@cache
def middle(room: int) -> tuple[float, ...]:
    """The middle of a room: rooms are the corners of a regular simplex, 2 apart from each other."""
    return tuple(2**0.5 * float(room == axis) for axis in range(COORDINATES))


def place_of(text: str) -> Place:
    """The place that a caption names. A prompt names none: it starts in a room and at a distance that its words decide."""
    if found := _PLACE.fullmatch(text):
        at = tuple(map(float, found[2].split()))
        if int(found[1]) < ROOMS and len(at) == COORDINATES:
            return Place(int(found[1]), at)
    chance = _chance("start", text, 0)
    room = int(chance.integers(ROOMS))
    return Place(room, tuple(np.asarray(middle(room)) + chance.normal(0, 0.3, COORDINATES)))


class Painter:
    """Text to image: pushes the place, and paints it."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        self._name, self._push = spec.name, float(spec.settings["push"])

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Content]:
        """A picture of each place, with its text in it."""
        size = image_size or SIZE
        return [self._paint(str(text), seed, size) for text, seed in zip(inputs, seeds, strict=True)]

    def _paint(self, text: str, seed: int, size: int) -> Image.Image:
        place = place_of(text)
        pushed = np.asarray(place.at) + _chance(self._name, text, seed).normal(0, self._push, COORDINATES)
        return painted(replace(place, at=tuple(pushed))).resize((size, size), Image.Resampling.NEAREST)


class Writer:
    """Image to text: reads the place in a picture, moves it by the writer's law, and writes it down."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        self._name, self._settings = spec.name, spec.settings
        self._law = {
            "attractors": self._attractors,
            "markov": self._markov,
            "circle": self._circle,
            "walk": self._walk,
            "rest": self._rest,
        }[spec.settings["law"]]

    def generate(self, inputs: Sequence[Content], seeds: Sequence[int], image_size: int | None = None) -> list[Content]:
        """The next place after each picture's."""
        return [self._write(picture, seed) for picture, seed in zip(inputs, seeds, strict=True)]

    def _write(self, picture: Content, seed: int) -> str:
        assert not isinstance(picture, str)
        text = written_in(picture)
        place = place_of(text)
        room, at = self._law(place.room, np.asarray(place.at), _chance(self._name, text, seed))
        return Place(room, tuple(at)).text

    def _attractors(self, room: int, at: Vector, chance: np.random.Generator) -> tuple[int, Vector]:
        centre = np.asarray(middle(room))
        return room, centre + self._settings["rate"] * (at - centre) + chance.normal(0, NOISE, COORDINATES)

    def _markov(self, room: int, at: Vector, chance: np.random.Generator) -> tuple[int, Vector]:
        if chance.random() > self._settings["stay"]:
            room = (room + 1 + int(chance.integers(ROOMS - 1))) % ROOMS
        return room, np.asarray(middle(room)) + chance.normal(0, NOISE, COORDINATES)

    def _circle(self, room: int, at: Vector, chance: np.random.Generator) -> tuple[int, Vector]:
        angle = np.arctan2(at[1], at[0]) + 2 * np.pi / self._settings["period"]
        return room, np.array([np.cos(angle), np.sin(angle), 0.0, 0.0]) + chance.normal(0, NOISE, COORDINATES)

    def _walk(self, room: int, at: Vector, chance: np.random.Generator) -> tuple[int, Vector]:
        return room, at + chance.normal(0, 0.2, COORDINATES)

    def _rest(self, room: int, at: Vector, chance: np.random.Generator) -> tuple[int, Vector]:
        centre = np.asarray(middle(room))
        return room, centre + self._settings["rate"] * (at - centre)


class Space:
    """Text to vector: the place, turned into more dimensions. Distances stay as they are."""

    def __init__(self, spec: ModelSpec, device: str = "cpu") -> None:
        assert spec.dimension
        chance = np.random.default_rng(0)
        self._axes = np.linalg.qr(chance.normal(size=(spec.dimension, COORDINATES)))[0].T

    def embed(self, contents: Sequence[Content]) -> NDArray[np.float32]:
        """A vector for each text."""
        places = np.array([place_of(str(text)).at for text in contents]).reshape(-1, COORDINATES)
        return (places @ self._axes).astype(np.float32)


def painted(place: Place) -> Image.Image:
    """A picture of a place: above, a dot in the colour of the room; below, the text in bits."""
    picture = Image.new("RGB", (SIZE, SIZE), (244, 240, 232))
    x, y = (SIZE / 2 + 12 * place.at[0], SIZE / 4 - 6 * place.at[1])
    ImageDraw.Draw(picture).ellipse((x - 4, y - 4, x + 4, y + 4), fill=_COLOURS[place.room % len(_COLOURS)])
    text = place.text.encode()
    bits = np.unpackbits(np.frombuffer(bytes([len(text)]) + text, np.uint8))
    cells = np.zeros((SIZE // 2 // _BLOCK, SIZE // _BLOCK), np.uint8)
    cells.flat[: len(bits)] = 255 * bits
    code = Image.fromarray(np.kron(cells, np.ones((_BLOCK, _BLOCK), np.uint8)))
    picture.paste(code, (0, SIZE // 2))
    return picture


def written_in(picture: Image.Image) -> str:
    """The text in a picture that `painted` made, also after it was compressed with losses."""
    small = picture.convert("L").resize((SIZE, SIZE), Image.Resampling.BOX)
    grey = np.asarray(small.crop((0, SIZE // 2, SIZE, SIZE)), np.float64)
    rows, columns = grey.shape[0] // _BLOCK, grey.shape[1] // _BLOCK
    cells = grey.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3)) > 127
    data = np.packbits(cells.ravel()).tobytes()
    return data[1 : 1 + data[0]].decode("ascii", "replace")


def _chance(name: str, text: str, seed: int) -> np.random.Generator:
    """Random numbers that depend on model, text and seed alone; fresh ones when unseeded."""
    if seed == UNSEEDED:
        return np.random.default_rng()
    digest = hashlib.sha256(f"{name}\0{seed}\0{text}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
