"""Pictures as files: encoded, and decoded again."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_FORMS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1},
    "webp": {"format": "WEBP", "lossless": True, "method": 0, "exact": True},
    "jpeg": {"format": "JPEG", "quality": 95},
    "small png": {"format": "PNG", "compress_level": 6},
}
LOSSY = frozenset({"jpeg"})


def encode(image: Image.Image, form: str) -> bytes:
    """The image as a file. PNG and WebP keep every pixel; JPEG does not. A small PNG takes several times as long."""
    out = io.BytesIO()
    image.save(out, **_FORMS[form])
    return out.getvalue()


def decode(data: bytes) -> Image.Image:
    """The image of a file with its pixels loaded; ValueError, which says why, when it holds none."""
    from PIL import Image  # Late: commands that only read decode nothing.

    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:
        raise ValueError(str(error)) from None
    return image
