"""Small pictures for the Dagster UI, inside the metadata of a materialisation."""

import base64
import io
from collections.abc import Sequence

SIDE = 96
"""Pixels. Dagster's event log is no place for large pictures: a strip of twelve stays under 50 kB."""


def strip(pictures: Sequence[bytes], alt: str) -> str | None:
    """Pictures side by side as Markdown with the picture in it; None when there are none."""
    from PIL import Image

    if not pictures:
        return None
    sheet = Image.new("RGB", (SIDE * len(pictures), SIDE), "white")
    for index, data in enumerate(pictures):
        with Image.open(io.BytesIO(data)) as picture:
            sheet.paste(picture.convert("RGB").resize((SIDE, SIDE)), (index * SIDE, 0))
    out = io.BytesIO()
    sheet.save(out, format="JPEG", quality=80)
    return f"![{alt}](data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()})"
