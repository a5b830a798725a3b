"""Regions, scores and pixel-art quality on portraits whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from skimage.color import deltaE_ciede2000, rgb2lab

from panic_assets.errors import UserError
from panic_assets.finetunes.drawing import synthetic
from panic_assets.finetunes.pictures import colour, measures, pixelart
from panic_assets.finetunes.pictures.colour import Indexed
from panic_assets.finetunes.pictures.regions import CLOTHES, HAIR, OTHER, SKIN, find_regions

ASKED = {"background": "#00ff00", "hair": "#ff69b4", "skin": "#d9a577"}


def portrait(size=512, asked=ASKED, **changes):
    return synthetic.upscaled(synthetic.portrait({**asked, **changes}), size)


def quality(rgb, **options):
    return pixelart.quality(Indexed.of(rgb), **options)


def scores(rgb, expected=ASKED, accessories=()):
    return {r.region: r for r in measures.measure(rgb, expected, accessories).regions}


@pytest.mark.parametrize("size", [24, 48, 512, 517])
def test_regions_are_where_they_were_drawn(size):
    found = find_regions(Indexed.of(portrait(size)))
    assert found.face
    art = synthetic.upscaled(
        np.where((synthetic.portrait(ASKED) == colour.parse_hex("#ff69b4")).all(-1), 1, 0)[..., None], size
    )[..., 0]
    beside_and_above = found.mask("hair")
    assert art[beside_and_above].mean() > 0.99, "hair mask holds nothing but hair"
    green = (portrait(size) == (0, 255, 0)).all(-1)
    assert green[found.mask("background")].all()
    assert (found.mask("background") == green).mean() > 0.95
    assert found.mask("skin").mean() > 0.1
    assert found.labels[size // 2 - size // 12, size // 2 - size // 12] != OTHER or size < 48
    assert found.labels[-1, size // 2] == CLOTHES
    assert found.labels[round(size * 6.5 / 24), size // 2] == HAIR
    assert found.labels[round(size * 13.5 / 24), size // 2] == SKIN


def test_perfect_portrait_scores_above_95_and_a_pink_ground_far_lower():
    perfect = measures.measure(portrait(), ASKED)
    assert perfect.colour is not None
    assert perfect.colour > 95
    pink = measures.measure(portrait(background="#ff69b4"), ASKED)
    assert pink.colour is not None
    assert pink.colour < 40
    lilac = scores(portrait(background="#c8a2c8"))
    assert lilac["background"].score == 0
    assert lilac["hair"].score == 100


def test_a_green_field_is_all_background():
    field = scores(np.full((512, 512, 3), (0, 255, 0), dtype=np.uint8))
    assert field["background"].score == 100
    assert field["background"].area == 1
    assert field["hair"].status == measures.CANNOT_TELL
    assert field["hair"].score is None


@pytest.mark.parametrize(
    "other",
    [
        lambda f: f.__setitem__((slice(0, 60), slice(None)), 0),
        lambda f: f.__setitem__((slice(340, None), slice(None)), 0),
        lambda f: f.__setitem__((slice(None), slice(0, 60)), 0),
    ],
    ids=["top", "bottom", "side"],
)
def test_85_percent_of_a_field_scores_85(other):
    field = np.full((400, 400, 3), (0, 255, 0), dtype=np.uint8)
    other(field)
    assert scores(field)["background"].score == pytest.approx(85)


def test_scores_are_shares_of_pixels_by_an_independent_library():
    rgb = portrait(240, background="#00c530").astype(np.float64)
    noisy = np.clip(np.rint(rgb + np.random.default_rng(0).normal(0, 12, rgb.shape)), 0, 255).astype(np.uint8)
    wanted = {"background": "#10e818", "hair": "#ff5cb0", "skin": "#d09a60", "clothes": "#3b4a6b"}
    found = find_regions(Indexed.of(noisy))
    for region, score in scores(noisy, wanted).items():
        target = np.array(colour.parse_hex(wanted[region]), dtype=np.uint8)
        apart = deltaE_ciede2000(rgb2lab(noisy[found.mask(region)]), rgb2lab(target)[None])
        # Single precision: a pixel within 0.001 of a whole number may fall on either side, here one of 3,412.
        assert score.curve == pytest.approx([np.mean(apart <= t) for t in range(21)], abs=1e-3), region
        assert 1 < score.score < 99, "the border of 10 runs through the grain"


def test_specks_count_against_the_background_not_as_a_subject():
    rgb = portrait()
    specks = np.zeros(rgb.shape[:2], dtype=bool)
    specks[8:40:8, 8:500:8] = True
    rgb[specks] = (255, 0, 0)
    found = scores(rgb)
    ground = (portrait() == (0, 255, 0)).all(-1)
    assert found["background"].score == pytest.approx(100 * (1 - specks[ground].mean()), abs=1.0)
    assert found["hair"].score == 100


def test_missing_colour_is_not_specified_never_a_default():
    found = scores(portrait(), {"background": "#00ff00"})
    assert found["hair"].status == measures.NOT_SPECIFIED
    assert found["hair"].score is None
    assert found["hair"].expected is None
    assert found["hair"].drawn == "#ff69b4", "what was drawn is still told"
    nothing = measures.measure(portrait(), {})
    assert nothing.colour is None


def test_hair_that_was_not_drawn_scores_nothing():
    bald = synthetic.portrait(ASKED)
    bald[(bald == colour.parse_hex("#ff69b4")).all(-1)] = (0, 255, 0)
    found = scores(synthetic.upscaled(bald))
    assert found["hair"].status == measures.NOT_FOUND
    assert found["hair"].score == 0


def test_hair_under_a_hat_cannot_be_told():
    hatted = synthetic.upscaled(synthetic.portrait(ASKED, accessories=("hat",)))
    found = scores(hatted, accessories=("hat",))
    assert found["hair"].status == measures.CANNOT_TELL
    assert found["hair"].score is None
    assert found["background"].score == 100


def test_regions_asked_for_in_one_paint_cannot_be_told_apart():
    asked = {**ASKED, "hair": "#5a3a20", "skin": "#704828"}
    found = scores(portrait(asked=asked), asked)
    assert {r: s.status for r, s in found.items() if s.expected} == {
        "background": measures.MEASURED,
        "skin": measures.CANNOT_TELL,
        "hair": measures.CANNOT_TELL,
    }
    assert (found["hair"].score, found["background"].score) == (None, 100)
    assert measures.inseparable(ASKED) == set()
    assert measures.inseparable({"clothes": "#00ff00", "background": "#00f808"}) == {"clothes"}
    assert measures.inseparable({"hair": "#00ff00"}) == set()


def test_two_toned_hair_is_told():
    rgb = portrait()
    hair = find_regions(Indexed.of(rgb)).mask("hair")
    columns = np.arange(512)[None, :] < 180
    rgb[hair & columns] = colour.parse_hex("#1f4fd8")
    toned = scores(rgb)["hair"]
    assert toned.tones is not None
    assert toned.tones.two_toned
    flat_hair = scores(portrait())["hair"]
    assert flat_hair.tones is not None
    assert not flat_hair.tones.two_toned
    assert flat_hair.purity == 100
    assert flat_hair.colours == 1


def test_checkered_ground_is_background():
    rgb = portrait(background="#00ff00")
    ground = (rgb == (0, 255, 0)).all(-1)
    rows, columns = np.indices(ground.shape) // 64
    rgb[ground & ((rows + columns) % 2 == 1)] = (0, 60, 160)
    found = find_regions(Indexed.of(rgb))
    assert (found.mask("background") == ground).mean() > 0.97


@pytest.mark.parametrize("mode", ["RGBA", "P", "RGB"])
@pytest.mark.parametrize("size", [24, 512])
def test_all_kinds_of_picture_measure_alike(mode, size):
    image = Image.fromarray(portrait(size))
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    found = measures.measure(colour.flatten(image), ASKED)
    assert found.colour is not None
    assert found.colour > 95


def test_greyscale_is_measured_as_grey():
    grey = colour.flatten(Image.fromarray(portrait()).convert("L"))
    assert scores(grey)["background"].score == 0


def test_dark_against_black_edges_do_not_overflow():
    rgb = np.zeros((512, 512, 3), dtype=np.uint8)
    rgb[:, 256:] = 255
    edge = quality(rgb, grid=16)
    assert edge.sharpness == 100
    assert edge.grid == 100
    reverse = quality(rgb[:, ::-1].copy(), grid=16)
    assert reverse == edge, "255 - 0 and 0 - 255 are the same edge"
    faint = np.full((512, 512, 3), 100, dtype=np.uint8)
    faint[:, 256:] = 99
    assert quality(faint, grid=16).sharpness is None, "a step of -1 is not a step of 255"


def test_pixel_art_beats_the_same_art_blurred_or_shifted():
    sharp = portrait()
    image = Image.fromarray(sharp)
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(4)))
    shifted = np.roll(sharp, (10, 10), axis=(0, 1))
    best = quality(sharp)
    assert best.grid == pytest.approx(100)
    assert best.sharpness == pytest.approx(100)
    assert best.palette == 5, "eyes and lips together are the last per cent"
    soft = quality(blurred)
    assert soft.sharpness is not None
    assert soft.sharpness < 35
    assert soft.palette > 2 * best.palette
    off = quality(shifted)
    assert off.grid is not None
    assert off.grid < 10
    assert off.sharpness == pytest.approx(100)
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    chance = quality(noise).grid
    assert chance is not None
    assert chance < 2, "noise is on the grid no more than chance puts it there"


def test_flat_and_tiny_pictures_have_no_grid():
    assert quality(np.zeros((512, 512, 3), dtype=np.uint8)).grid is None
    assert quality(np.zeros((512, 512, 3), dtype=np.uint8)).palette == 1
    assert quality(synthetic.portrait(ASKED)).grid is None
    assert measures.measure(np.zeros((1, 1, 3), dtype=np.uint8), ASKED).colour == 0


@pytest.mark.parametrize(
    ("score", "mark"),
    [(0, 0), (35, 3.5), (69.9, 6.99), (70, 7), (80, 7.5), (89.999, 7.99995), (90, 9), (95, 9.5), (100, 10)],
)
def test_score_map_and_its_edges(score, mark):
    assert measures.score_map(score) == pytest.approx(mark)


@given(st.floats(0, 100), st.floats(0, 100))
def test_score_map_never_falls(first, second):
    low, high = sorted((first, second))
    assert measures.score_map(low) <= measures.score_map(high)


@pytest.mark.parametrize("bad", [-0.1, 100.1, float("nan")])
def test_score_map_refuses_what_is_no_score(bad):
    with pytest.raises(ValueError, match="outside"):
        measures.score_map(bad)


def test_measuring_another_picture_under_a_name_is_refused():
    ours, other = colour.encode(portrait(64)), colour.encode(portrait(64, background="#ff0000"))
    named = measures.content_hash(ours)
    assert measures.measure_image(ours, named, ASKED).colour == pytest.approx(100)
    with pytest.raises(UserError, match="only for the image they were made on"):
        measures.measure_image(other, named, ASKED)


def test_spoiling_lowers_the_score():
    means = [
        np.mean([measures.measure(synthetic.spoiled(portrait(96), e, s), ASKED).colour for s in range(5)])
        for e in (0.0, 0.1, 0.3)
    ]
    assert means[0] > 95
    assert means[0] > means[1] > means[2]
