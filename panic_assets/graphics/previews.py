"""Small pictures for the Dagster UI, inside the metadata of a materialisation, and for messages."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIDE = 96
"""Pixels. Dagster's event log is no place for large pictures: a strip of twelve stays under 50 kB."""


def strip(pictures: Sequence[bytes], alt: str) -> str | None:
    """Pictures side by side as Markdown with the picture in it; None when there are none."""
    if not pictures:
        return None
    out = io.BytesIO()
    _side_by_side(pictures).save(out, format="JPEG", quality=80)
    return f"![{alt}](data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()})"


def sheet(pictures: Sequence[bytes]) -> bytes | None:
    """Pictures side by side as a PNG; None when there are none."""
    if not pictures:
        return None
    out = io.BytesIO()
    _side_by_side(pictures).save(out, format="PNG")
    return out.getvalue()


def _side_by_side(pictures: Sequence[bytes]) -> "Image.Image":
    from PIL import Image

    made = Image.new("RGB", (SIDE * len(pictures), SIDE), "white")
    for index, data in enumerate(pictures):
        with Image.open(io.BytesIO(data)) as picture:
            made.paste(picture.convert("RGB").resize((SIDE, SIDE)), (index * SIDE, 0))
    return made
