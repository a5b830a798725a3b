"""Colour: published CIEDE2000 values, an independent library, closed forms, and the mistakes others made."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from panic_assets.errors import UserError
from panic_assets.finetunes.pictures import colour
from panic_assets.finetunes.pictures.colour import Colours, Indexed

# Sharma, Wu and Dalal (2005), table 1: L1 a1 b1 L2 a2 b2 CIEDE2000.
SHARMA = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def lab_of(hex_colour):
    return colour.lab(np.array(colour.parse_hex(hex_colour), dtype=np.uint8))


def flat(hex_colour, size=24):
    return np.full((size, size, 3), colour.parse_hex(hex_colour), dtype=np.uint8)


def test_ciede2000_published_pairs():
    table = np.array([line.split() for line in SHARMA.split("\n") if line], dtype=float)
    assert len(table) == 34
    np.testing.assert_allclose(colour.ciede2000(table[:, :3], table[:, 3:6]), table[:, 6], atol=5e-5)
    assert round(float(colour.ciede2000(table[0, :3], table[0, 3:6])), 4) == 2.0425


def test_against_an_independent_library():
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, size=(4000, 3), dtype=np.uint8)
    ours = colour.lab(rgb)
    np.testing.assert_allclose(ours, rgb2lab(rgb), atol=1e-3)
    np.testing.assert_allclose(
        colour.ciede2000(ours[:2000], ours[2000:]), deltaE_ciede2000(ours[:2000], ours[2000:]), atol=1e-6
    )


def test_single_precision_is_enough():
    rgb = np.random.default_rng(2).integers(0, 256, size=(40_000, 3), dtype=np.uint8)
    double, single = colour.lab(rgb), colour.lab(rgb, np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=2e-4)
    apart = colour.ciede2000(double[::2], double[1::2])
    told = colour.ciede2000(single[::2], single[1::2])
    assert told.dtype == np.float32
    np.testing.assert_allclose(told, apart, atol=1e-3)


@given(st.tuples(*[st.integers(0, 255)] * 3), st.tuples(*[st.integers(0, 255)] * 3))
def test_distance_is_symmetric_and_zero_only_for_equals(first, second):
    a, b = colour.lab(np.array([first, second], dtype=np.uint8))
    assert colour.ciede2000(a, b) == pytest.approx(colour.ciede2000(b, a), abs=1e-9)
    assert (colour.ciede2000(a, b) < 1e-6) == (first == second)


def test_rgb_distance_is_not_what_the_eye_sees():
    assert np.linalg.norm(np.subtract(colour.parse_hex("#00c530"), colour.parse_hex("#00ff00"))) == pytest.approx(
        75.3, abs=0.1
    )
    assert round(float(colour.ciede2000(lab_of("#00c530"), lab_of("#00ff00"))), 1) == 13.9


@pytest.mark.parametrize("bad", ["00ff00", "#0f0", "#00ff0g", "", "#00ff00 "])
def test_bad_hex_is_refused_in_a_sentence(bad):
    with pytest.raises(UserError, match="six hexadecimal digits"):
        colour.parse_hex(bad)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_hex_round_trip(rgb):
    assert colour.parse_hex(colour.hex_of(rgb)) == rgb


def test_every_kind_of_picture_is_read():
    green = Image.new("RGBA", (24, 24), (0, 255, 0, 255))
    glass = Image.new("RGBA", (24, 24), (0, 255, 0, 0))
    half = Image.new("RGBA", (24, 24), (0, 0, 0, 128))
    assert (colour.flatten(green) == (0, 255, 0)).all()
    assert (colour.flatten(glass) == 255).all()
    assert (colour.flatten(glass, matte=(9, 8, 7)) == (9, 8, 7)).all()
    assert (colour.flatten(half) == 127).all()
    assert colour.flatten(Image.new("L", (24, 24), 77)).tolist()[0][0] == [77, 77, 77]
    assert (colour.flatten(Image.new("LA", (4, 4), (10, 0))) == 255).all()
    assert (colour.flatten(Image.new("1", (4, 4), 1)) == 255).all()
    assert (colour.flatten(Image.new("CMYK", (4, 4), (0, 0, 0, 0))) == 255).all()
    deep = Image.fromarray(np.full((4, 4), 65535, dtype=np.uint16))
    assert (colour.flatten(deep) == 255).all()
    palette = green.convert("RGB").quantize(4)
    assert (colour.flatten(palette) == (0, 255, 0)).all()
    out = io.BytesIO()
    palette.save(out, "PNG", transparency=int(np.asarray(palette)[0, 0]))
    assert (colour.decode(out.getvalue()) == 255).all()


def test_a_picture_that_is_none_is_refused():
    with pytest.raises(UserError, match="cannot be decoded"):
        colour.decode(b"not a picture")
    whole = colour.encode(flat("#123456", 64))
    with pytest.raises(UserError, match="cannot be decoded"):
        colour.decode(whole[: len(whole) // 2])


def saved(image, form="PNG", **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def test_a_dark_picture_of_sixteen_bits_stays_dark():
    """Its values are below 256, as those of 8 bits are: it was read 257 times too bright."""
    dark = saved(Image.fromarray(np.full((4, 4), 200, dtype=np.uint16)))
    assert (colour.decode(dark) == 1).all()
    half = saved(Image.fromarray(np.full((4, 4), 128 * 257, dtype=np.uint16)))
    assert (colour.decode(half) == 128).all()


def test_a_picture_is_turned_as_its_camera_says():
    rgb = np.zeros((8, 16, 3), np.uint8)
    rgb[:, 8:] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # To be turned by 90 degrees clockwise.
    read = colour.decode(saved(Image.fromarray(rgb), exif=turned))
    assert read.shape == (16, 8, 3)
    assert (read[:8] == 0).all()
    assert (read[8:] == 255).all()


@pytest.mark.parametrize("side", [7000, 20_000])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked(side):
    bomb = saved(Image.new("1", (side, side)))
    assert len(bomb) < 200_000
    with pytest.raises(UserError, match=r"pixels; at most 40,000,000 are read|decompression bomb"):
        colour.decode(bomb)


def test_encoding_is_byte_stable_and_bare():
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert colour.encode(rgb) == colour.encode(rgb.copy())
    assert (colour.decode(colour.encode(rgb)) == rgb).all()
    with Image.open(io.BytesIO(colour.encode(rgb))) as image:
        assert image.info == {}


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_indexing_gives_the_picture_back(height, width, seed):
    rgb = np.random.default_rng(seed).integers(0, 4, (height, width, 3)).astype(np.uint8) * 85
    picture = Indexed.of(rgb)
    assert (picture.colours.rgb[picture.index] == rgb).all()
    assert picture.colours.pixels == height * width
    codes = colour.pack(picture.colours.rgb)
    assert len(np.unique(codes)) == len(codes)
    reference = Colours.of(rgb)
    order = np.argsort(codes)
    assert (picture.colours.rgb[order] == reference.rgb).all()
    assert (picture.colours.counts[order] == reference.counts).all()


def test_indexing_forgets_the_picture_before():
    first, second = flat("#102030"), flat("#405060")
    Indexed.of(first)
    assert Indexed.of(second).colours.rgb.tolist() == [[0x40, 0x50, 0x60]]


def test_dominant_colours_and_areas():
    rgb = flat("#00ff00", 100)
    rgb[:, :30] = colour.parse_hex("#ff69b4")
    rgb[:, 30] = colour.parse_hex("#fe68b3")
    found = colour.dominant(Colours.of(rgb))
    assert [d.hex for d in found] == ["#00ff00", "#ff69b4"]
    assert [d.area for d in found] == pytest.approx([0.69, 0.31])
    assert len(colour.dominant(Colours.of(rgb), most=1)) == 1


@given(st.integers(0, 2**32 - 1))
def test_dominant_areas_never_exceed_the_picture(seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    found = colour.dominant(Colours.of(rgb))
    areas = [d.area for d in found]
    assert 0 < sum(areas) <= 1 + 1e-9
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.85, 1.0])
def test_share_within_counts_pixels(share):
    rgb = flat("#ff0000", 100)
    rgb[: int(100 * share)] = (0, 255, 0)
    curve = colour.share_within(Colours.of(rgb), "#00ff00")
    assert len(curve) == 21
    assert curve[0] == pytest.approx(share)
    assert curve[10] == pytest.approx(share)
    assert (np.diff(curve) >= 0).all()


def test_share_within_steps_where_the_distance_says():
    curve = colour.share_within(Colours.of(flat("#00c530")), "#00ff00")
    assert curve[13] == 0.0
    assert curve[14] == 1.0


def test_flat_is_not_two_toned_and_seventy_thirty_is():
    rgb = flat("#ff69b4", 100)
    assert not colour.tones(Colours.of(rgb)).two_toned
    noisy = np.clip(rgb + np.random.default_rng(0).normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)
    assert not colour.tones(Colours.of(noisy)).two_toned
    rgb[:30] = colour.parse_hex("#1f4fd8")
    split = colour.tones(Colours.of(rgb))
    assert split.two_toned
    assert split.larger == pytest.approx(0.7)
    assert split.apart == pytest.approx(float(colour.ciede2000(lab_of("#ff69b4"), lab_of("#1f4fd8"))), abs=1e-4)
    rgb[20:30] = colour.parse_hex("#ff69b4")
    assert not colour.tones(Colours.of(rgb)).two_toned, "exactly 20% is not over 20%"


def test_spread_and_snapped_colours():
    rgb = flat("#000000", 10)
    assert colour.spread(Colours.of(rgb)) == 0
    assert colour.snapped(Colours.of(rgb), 32).tolist() == [100]
    rgb[:5] = 255
    assert colour.spread(Colours.of(rgb)) == pytest.approx(50, abs=0.01)
    assert colour.snapped(Colours.of(rgb), 32).tolist() == [50, 50], "255 must not wrap around to 0 when snapped up"
    near = np.concatenate([flat("#101010"), flat("#121110")])
    assert len(colour.snapped(Colours.of(near), 32)) == 1
    assert colour.snapped(Colours.of(rgb), 256).tolist() == [50, 50], "the multiples 0 and 256"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("#00ff00", "green"),
        ("#ff69b4", "pink"),
        ("#0000ff", "blue"),
        ("#2e5cb8", "blue"),
        ("#111111", "black"),
        ("#ff0000", "red"),
        ("#ffffff", "white"),
        ("#4a2f1b", "brown"),
        ("#ffd700", "yellow"),
        ("#ff7f00", "orange"),
        ("#800080", "purple"),
    ],
)
def test_everyday_names(value, name):
    assert colour.name_of(value) == name
