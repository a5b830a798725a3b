"""Outputs as they are stored: encoded, hashed by their exact content, and decoded again."""

import hashlib
import io
from typing import Any

from PIL import Image

from panic_assets.models.protocol import Content

_SAVE: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1},
    "webp": {"format": "WEBP", "lossless": True, "method": 0, "exact": True},
    "jpeg": {"format": "JPEG", "quality": 95},
}
LOSSY = frozenset({"jpeg"})


def text_hash(text: str) -> str:
    """SHA-256 of the exact text."""
    return hashlib.sha256(b"text:" + text.encode("utf-8", "surrogatepass")).hexdigest()


def image_hash(image: Image.Image) -> str:
    """SHA-256 of the decoded pixels, with mode and size: never of the encoded file."""
    digest = hashlib.sha256(f"image:{image.mode}:{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def encode(image: Image.Image, image_format: str) -> bytes:
    """The image as a file. PNG and WebP keep every pixel; JPEG does not."""
    out = io.BytesIO()
    image.save(out, **_SAVE[image_format])
    return out.getvalue()


def decode(data: bytes) -> Image.Image:
    """The image in an encoded file, with its pixels loaded. ValueError, with a sentence, if it cannot be decoded."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:
        raise ValueError(f"the stored image of {len(data)} bytes cannot be decoded: {error}") from None
    return image


def stored(output: Content, image_format: str) -> tuple[Content, bytes | None, str]:
    """A generator's output as (what the next model sees, the encoded image or None, the content hash).

    The next model sees what is stored: a lossy image is decoded again before it is hashed and passed on.
    """
    if isinstance(output, str):
        return output, None, text_hash(output)
    image = output if output.mode == "RGB" else output.convert("RGB")
    data = encode(image, image_format)
    if image_format in LOSSY:
        image = decode(data)
    return image, data, image_hash(image)
