"""Outputs as they are stored: encoded, hashed by their exact content, and decoded again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from panic_assets.graphics import images
from panic_assets.models.protocol import Content

if TYPE_CHECKING:
    from PIL import Image


def text_hash(text: str) -> str:
    """SHA-256 of the exact text."""
    return hashlib.sha256(b"text:" + text.encode("utf-8", "surrogatepass")).hexdigest()


def image_hash(image: Image.Image) -> str:
    """SHA-256 of the decoded pixels, with mode and size: never of the encoded file."""
    digest = hashlib.sha256(f"image:{image.mode}:{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def decode(data: bytes) -> Image.Image:
    """The image in an encoded file, with its pixels loaded. ValueError, with a sentence, if it cannot be decoded."""
    try:
        return images.decode(data)
    except ValueError as error:
        raise ValueError(f"the stored image of {len(data)} bytes cannot be decoded: {error}") from None


def stored(output: Content, image_format: str) -> tuple[Content, bytes | None, str]:
    """A generator's output as (what the next model sees, the encoded image or None, the content hash).

    The next model sees what is stored: a lossy image is decoded again before it is hashed and passed on.
    """
    if isinstance(output, str):
        return output, None, text_hash(output)
    image = output if output.mode == "RGB" else output.convert("RGB")
    data = images.encode(image, image_format)
    if image_format in images.LOSSY:
        image = decode(data)
    return image, data, image_hash(image)
