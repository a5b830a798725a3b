"""Outputs as they are stored: lossless where promised, hashed by exactly what they are."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from panic_assets.graphics.images import encode
from panic_assets.trajectories.runs.content import decode, image_hash, stored, text_hash


def picture(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


@given(
    seed=st.integers(0, 2**32),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    form=st.sampled_from(["png", "webp"]),
)
def test_lossless_formats_keep_every_pixel(seed: int, width: int, height: int, form: str) -> None:
    image = picture(seed, (width, height))
    kept, data, content_hash = stored(image, form)
    assert data is not None
    assert decode(data).convert("RGB").tobytes() == image.tobytes()
    assert content_hash == image_hash(image) == image_hash(decode(data).convert("RGB"))
    assert isinstance(kept, Image.Image)
    assert kept.tobytes() == image.tobytes()


def test_the_hash_is_of_pixels_mode_and_size_not_of_the_file() -> None:
    image = picture()
    assert image_hash(decode(encode(image, "png"))) == image_hash(decode(encode(image, "webp")))
    turned = Image.frombytes("RGB", (16, 24), image.tobytes())  # The same bytes in another shape.
    assert image_hash(turned) != image_hash(image)
    assert image_hash(image.convert("RGBX").convert("RGB")) == image_hash(image)


def test_one_step_of_one_pixel_is_another_content_where_a_lossy_hash_sees_none() -> None:
    flat = Image.new("RGB", (64, 64), (120, 130, 140))
    other = flat.copy()
    other.putpixel((10, 10), (120, 130, 141))

    def lossy(image: Image.Image) -> bytes:
        out = io.BytesIO()
        image.save(out, format="JPEG", quality=30)
        return out.getvalue()

    assert lossy(flat) == lossy(other)
    assert image_hash(flat) != image_hash(other)


def test_what_goes_on_from_a_lossy_format_is_the_decoded_file() -> None:
    image = picture()
    kept, data, content_hash = stored(image, "jpeg")
    assert data is not None
    assert isinstance(kept, Image.Image)
    assert kept.tobytes() != image.tobytes()
    assert kept.tobytes() == decode(data).tobytes()
    assert content_hash == image_hash(decode(data))


@given(a=st.text(), b=st.text())
def test_texts_are_equal_when_their_hashes_are(a: str, b: str) -> None:
    assert (text_hash(a) == text_hash(b)) == (a == b)
    assert stored(a, "png") == (a, None, text_hash(a))


def test_nothing_is_trimmed_or_folded() -> None:
    assert len({text_hash(t) for t in ("a", "a ", " a", "A", "a\n", "á", "a\u0301")}) == 7


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"not an image"])
def test_what_is_no_image_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match=f"stored image of {len(data)} bytes cannot be decoded: "):
        decode(data)
    whole = encode(picture(), "png")
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode(whole[: len(whole) // 2])


def test_other_modes_become_rgb() -> None:
    kept, _, _ = stored(Image.new("RGBA", (8, 8), (1, 2, 3, 4)), "png")
    assert isinstance(kept, Image.Image)
    assert kept.mode == "RGB"
