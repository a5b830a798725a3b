"""Pictures as files: encoded, and decoded again."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from panic_assets.errors import UserError, cut

if TYPE_CHECKING:
    from PIL import Image

_FORMS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1},
    "webp": {"format": "WEBP", "lossless": True, "method": 0, "exact": True},
    "jpeg": {"format": "JPEG", "quality": 95},
    "small png": {"format": "PNG", "compress_level": 6},
}
LARGEST_FILE = 100_000_000
"""Bytes of a picture that a person gives."""
LARGEST_PICTURE = 40_000_000
"""Pixels. Measuring takes some 100 bytes per pixel, and a file of 100 kB can claim a billion."""
LOSSY = frozenset({"jpeg"})


def encode(image: Image.Image, form: str) -> bytes:
    """The image as a file. PNG and WebP keep every pixel; JPEG does not. A small PNG takes several times as long."""
    out = io.BytesIO()
    image.save(out, **_FORMS[form])
    return out.getvalue()


def read(data: bytes) -> Image.Image:
    """A picture that a person gave, upright, with 8 bits per channel. UserError when there is none, or when it is too large
    to be measured."""
    from PIL import Image, ImageOps

    if len(data) > LARGEST_FILE:
        raise UserError(f"the picture has {len(data):,} bytes; at most {LARGEST_FILE:,} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # The limit below is lower.
            image = Image.open(io.BytesIO(data))
            if image.width * image.height > LARGEST_PICTURE:
                raise UserError(
                    f"the picture has {image.width:,} x {image.height:,} pixels; at most {LARGEST_PICTURE:,} are read"
                )
            image.load()
            return eight_bits(ImageOps.exif_transpose(image))
    except UserError:
        raise
    except Exception as error:  # Each format raises errors of its own.
        raise UserError(
            f"the image cannot be decoded ({cut(str(error))}); it must be a complete PNG, JPEG or WebP file"
        ) from None


def eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 bits with 8, by its depth and not by its contents: a dark one stays dark."""
    import numpy as np
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    deep = np.asarray(image, dtype=np.float64)
    return Image.fromarray(np.clip(np.rint(deep / 257), 0, 255).astype(np.uint8))


def decode(data: bytes) -> Image.Image:
    """The image of a file with its pixels loaded; ValueError, which says why, when it holds none."""
    from PIL import Image  # Late: commands that only read decode nothing.

    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:
        raise ValueError(str(error)) from None
    return image
