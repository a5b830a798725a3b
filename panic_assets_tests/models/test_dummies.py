import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from panic_assets.models.load import load
from panic_assets.models.protocol import UNSEEDED, Embedder, Generator
from panic_assets.registry import registry

PAINTERS = ["DummyT2I", "DummyT2I2"]
CAPTIONERS = ["DummyI2T", "DummyI2T2"]
TEXT, VISION = ["DummyText", "DummyText2"], ["DummyVision", "DummyVision2"]

MODELS = {name: load(registry.get(name)) for name in PAINTERS + CAPTIONERS + TEXT + VISION}
TEXTS = [f"caption {i}" for i in range(50)] + [
    "",
    " ",
    "caption  1",
    "1 caption",
    "\x00",
    "日本語",
    "🦊" * 100,
]
SEEDS = [i % 7 for i in range(len(TEXTS))]
PICTURES = MODELS["DummyT2I"].generate(TEXTS, SEEDS)


def pixels(picture):
    return picture.mode, picture.size, picture.tobytes()


def key(output):
    return output if isinstance(output, str) else pixels(output)


def contents(name):
    return TEXTS if registry.get(name).input == "text" else PICTURES


@pytest.mark.parametrize("name", PAINTERS + CAPTIONERS)
def test_seeded_outputs_repeat_in_any_batch_and_order(name):
    model = MODELS[name]
    assert isinstance(model, Generator)
    together = [key(o) for o in model.generate(contents(name), SEEDS)]
    alone = [key(model.generate([content], [seed])[0]) for content, seed in zip(contents(name), SEEDS, strict=True)]
    backwards = [key(o) for o in model.generate(contents(name)[::-1], SEEDS[::-1])][::-1]
    assert together == alone == backwards
    assert together == [key(o) for o in load(registry.get(name)).generate(contents(name), SEEDS)]


@pytest.mark.parametrize("name", PAINTERS + CAPTIONERS)
def test_input_seed_and_freshness_all_matter(name):
    model, content = MODELS[name], contents(name)[0]
    assert len({key(o) for o in model.generate([content] * 40, list(range(40)))}) >= 39
    assert len({key(o) for o in model.generate([content] * 40, [UNSEEDED] * 40)}) == 40


def test_distinct_captions_give_distinct_pictures_and_vectors():
    captions = [f"a picture of {i} things" for i in range(5000)]
    pictures = MODELS["DummyT2I"].generate(captions, [0] * len(captions))
    assert len({pixels(p) for p in pictures}) > 4990
    for name in TEXT:
        assert len(np.unique(MODELS[name].embed(captions), axis=0)) == len(captions)
    for name in VISION:
        distinct = len({pixels(p) for p in pictures})
        assert len(np.unique(MODELS[name].embed(pictures), axis=0)) == distinct


@pytest.mark.parametrize(("one", "other"), [PAINTERS, CAPTIONERS, TEXT, VISION])
def test_dummies_of_a_kind_differ(one, other):
    if registry.get(one).role == "embedder":
        assert np.abs(MODELS[one].embed(contents(one)) - MODELS[other].embed(contents(one))).max() > 0.1
    else:
        a, b = (MODELS[n].generate(contents(one), SEEDS) for n in (one, other))
        assert not {key(o) for o in a} & {key(o) for o in b}


@pytest.mark.parametrize("name", TEXT + VISION)
def test_vectors_are_unit_float32_and_bit_for_bit_free_of_the_batch(name):
    model, spec = MODELS[name], registry.get(name)
    assert isinstance(model, Embedder)
    together = model.embed(contents(name))
    alone = np.concatenate([model.embed([content]) for content in contents(name)])
    assert together.dtype == np.float32
    assert together.shape == (len(contents(name)), spec.dimension)
    assert together.tobytes() == alone.tobytes()
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)
    assert model.embed([]).shape == (0, spec.dimension)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(), unique=True, max_size=8), st.integers(0, 2**63 - 1))
def test_any_text_and_any_seed_will_do(texts, seed):
    pictures = MODELS["DummyT2I2"].generate(texts, [seed] * len(texts))
    assert all(p.mode == "RGB" and p.size == (64, 64) for p in pictures)
    assert np.isfinite(MODELS["DummyText"].embed(texts)).all()
    assert len(np.unique(MODELS["DummyText"].embed(texts), axis=0)) == len(texts)


@pytest.mark.parametrize("name", PAINTERS)
@pytest.mark.parametrize("size", [1, 7, 96, 512])
def test_image_size_is_honoured_and_pngs_are_small(name, size):
    (picture,) = MODELS[name].generate(["a house"], [3], image_size=size)
    assert picture.size == (size, size)
    png = io.BytesIO()
    picture.save(png, "PNG")
    assert len(png.getvalue()) < 600 + size * size * 3 / 20


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_any_picture_can_be_captioned_and_embedded(mode):
    picture = Image.new(mode, (31, 17))
    assert MODELS["DummyI2T"].generate([picture], [0])[0].startswith("a ")
    for name in VISION:
        assert np.isfinite(MODELS[name].embed([picture])).all()


def trajectory_length(painter, captioner, seed, longest):
    """Steps of the seeded loop until a caption repeats; None when none does within `longest`."""
    caption, seen = "a start", set()
    for step in range(longest // 2):
        (picture,) = MODELS[painter].generate([caption], [seed])
        (caption,) = MODELS[captioner].generate([picture], [seed])
        if caption in seen:
            return 2 * step
        seen.add(caption)
    return None


def test_seeded_runs_sometimes_loop_and_sometimes_do_not():
    lengths = [trajectory_length("DummyT2I", "DummyI2T", seed, 200) for seed in range(20)]
    looped = [length for length in lengths if length is not None]
    assert 5 <= len(looped) <= 19
    # A random map on 4,096 captions first repeats after about sqrt(pi / 2 * 4096) = 80 of them.
    lengths = [trajectory_length("DummyT2I2", "DummyI2T", seed, 1000) for seed in range(20)]
    assert 60 < np.mean(lengths) / 2 < 110


def test_captions_share_words_as_neighbours_share_directions():
    a, near, far = MODELS["DummyText"].embed(
        ["a red cat sleeping in the sun", "a red cat sleeping in the rain", "nine wooden owls under water"]
    )
    assert a @ near > 0.6 > 0.3 > a @ far
