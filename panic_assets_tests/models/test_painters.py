import logging

import numpy as np
import pytest
import torch

from panic_assets.compute.failures import Failure
from panic_assets.errors import UserError
from panic_assets.models.diffusion import compile_denoiser, denoiser
from panic_assets.models.protocol import Generator
from panic_assets.registry import registry
from panic_assets_tests.models import tiny

pytestmark = pytest.mark.slow

PROMPTS = ["a cat", "a very long caption of a dog in the rain"]
SEEDS = [1, 2**40]


def arrays(pictures):
    return [np.asarray(picture).astype(int) for picture in pictures]


@pytest.fixture
def said(caplog, monkeypatch):
    """What the libraries log, which they keep to themselves otherwise."""
    from diffusers.utils.logging import get_verbosity  # which sets the library's loggers up

    assert get_verbosity()
    for name in ("diffusers", "transformers"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    return caplog


@pytest.fixture(params=list(tiny.PAINTERS))
def painter(request, tiny_model):
    return tiny_model(request.param, steps=2)


def test_every_painter_paints_alone_as_in_company(painter):
    assert isinstance(painter, Generator)
    together = arrays(painter.generate(PROMPTS, SEEDS, 32))
    assert all(a.shape == (32, 32, 3) for a in together)
    backwards = arrays(painter.generate(PROMPTS[::-1], SEEDS[::-1], 32))[::-1]
    alone = [arrays(painter.generate([p], [s], 32))[0] for p, s in zip(PROMPTS, SEEDS, strict=True)]
    for a, b, c in zip(together, backwards, alone, strict=True):
        assert np.abs(a - b).max() <= 1
        assert np.abs(a - c).max() <= 1
    # Not because everything looks the same:
    assert np.abs(together[0] - together[1]).mean() > 5
    unseeded, again = arrays(painter.generate(["a cat"] * 2, [-1, -1], 32))
    assert np.abs(together[0] - unseeded).mean() > 5
    assert np.abs(unseeded - again).mean() > 5
    assert torch.get_default_dtype() == torch.float32


def test_torchs_own_random_state_is_neither_used_nor_moved(tiny_model):
    painter = tiny_model("GLMImage", steps=1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = arrays(painter.generate(["a cat"], [1], 32))[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert np.array_equal(arrays(painter.generate(["a cat"], [1], 32))[0], first)


def test_the_prior_that_ends_early_still_fills_every_picture(tiny_model):
    painter = tiny_model("GLMImage", steps=1)
    assert not any(isinstance(p, Failure) for p in painter.generate(["a cat"] * 3, list(range(3)), 32))


def test_the_registrys_steps_and_guidance_reach_the_pipeline(tiny_model, monkeypatch):
    given = {}

    def spy(self, **options):
        given.update(options)
        return np.zeros((1, 32, 32, 3))

    monkeypatch.setattr("panic_assets.models.diffusion.TextToImage._run", spy)
    for name, steps, guidance in (("SDXLTurbo", 4, 0.0), ("FluxDev", 20, 3.5), ("ZImageTurbo", 9, 0.0)):
        tiny_model(name).generate(["a"], [1], 32)
        assert (given["num_inference_steps"], given["guidance_scale"]) == (steps, guidance)
    tiny_model("QwenImage").generate(["a"], [1], 32)
    # Without a negative prompt this pipeline drops its guidance without a word.
    assert (given["true_cfg_scale"], given["negative_prompt"]) == (4.0, [" "])


def test_no_safety_checker_paints_pictures_black(tiny_model, checkpoints):
    import json

    published = json.loads((checkpoints("SD15") / "model_index.json").read_text())
    assert published["safety_checker"] == ["stable_diffusion", "StableDiffusionSafetyChecker"]
    painter = tiny_model("SD15", steps=2)
    assert painter.pipe.safety_checker is None
    assert min(picture.max() for picture in arrays(painter.generate(PROMPTS, SEEDS, 32))) > 0


def test_guidance_of_qwen_image_changes_the_picture(tiny_model):
    strong, none = (
        arrays(tiny_model("QwenImage", steps=2, guidance=g).generate(["a cat"], [1], 32))[0] for g in (400.0, 1.0)
    )
    assert np.abs(strong - none).max() > 5


def test_a_caption_far_too_long_fails_alone(tiny_model, said):
    painter = tiny_model("SDXLTurbo", steps=1)
    good, bad, also = painter.generate(["a cat", "word " * 20_000, "a dog"], [1, 2, 3], 32)
    assert bad == Failure("the caption has 100,000 characters; it may have at most 50,000")
    assert good.size == also.size == (32, 32)
    # Long, but not absurd: cut by the tokenizer, and nobody is told at every step.
    said.clear()
    assert painter.generate(["word " * 2_000], [1], 32)[0].size == (32, 32)
    assert not said.records


def test_a_picture_that_is_not_finite_fails_alone(tiny_model, monkeypatch):
    painter = tiny_model("SDXLTurbo", steps=1)
    decode = painter.pipe.vae.decode

    def half_nan(latents, *args, **kwargs):
        out = decode(latents, *args, **kwargs)
        out[0][1] = float("nan")
        return out

    monkeypatch.setattr(painter.pipe.vae, "decode", half_nan)
    good, bad, also = painter.generate(["a", "b", "c"], [1, 2, 3], 32)
    assert bad == Failure("the picture has values that are not finite")
    assert good.size == also.size == (32, 32)


def test_a_decoder_works_in_tiles_only_once_a_whole_picture_did_not_fit(tiny_model, monkeypatch):
    from panic_assets.models.settings import settings_of

    painter = tiny_model("SD15", steps=1)
    vae = painter.pipe.vae
    whole = arrays(painter.generate(PROMPTS, SEEDS, 128))
    before = settings_of(painter.spec, painter, "cpu")
    assert vae.use_slicing
    assert not painter.tiled
    assert not before.tiled
    forward, shapes = vae.decoder.forward, []

    def small(latents, *given, **options):
        shapes.append(tuple(latents.shape))
        if latents.shape[-1] > 32:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(latents, *given, **options)

    vae.tile_latent_min_size, vae.tile_sample_min_size = 32, 64
    monkeypatch.setattr(vae.decoder, "forward", small)
    tiled = arrays(painter.generate(PROMPTS, SEEDS, 128))
    assert painter.tiled
    after = settings_of(painter.spec, painter, "cpu")
    assert (after.tiled, after.id == before.id) == (True, False)
    assert shapes[0] == (1, 4, 64, 64), "one picture at a time"
    assert all(a.shape == b.shape for a, b in zip(whole, tiled, strict=True))
    assert painter.batcher.limits == {}, "the batch is not to blame"
    assert shapes.count((1, 4, 64, 64)) == 1, "that it does not fit is remembered"
    vae.tile_latent_min_size = 64
    with pytest.raises(torch.OutOfMemoryError):
        painter.generate(PROMPTS[:1], SEEDS[:1], 128)


@pytest.mark.parametrize(("name", "limit"), [("SD15", 77), ("FluxDev", 512)])
def test_what_the_text_encoder_does_not_read_is_counted(tiny_model, name, limit):
    painter = tiny_model(name, steps=1)
    painter.generate(["a" * 600, "a cat"], [1, 2], 32)
    long, short = painter.accounts
    assert (long.tokens_read, long.tokens_given > 600) == (limit, True)
    assert short.tokens_read == short.tokens_given < 20
    # What is past the limit changes nothing; what is before it does.
    first, same, other = arrays(painter.generate(["b" * 600, "b" * 600 + " cat", "b" * 40 + "c" * 560], [1, 1, 1], 32))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    painter.generate(["a cat"], [1], 32)
    assert painter.accounts == [short]


def test_an_unsuitable_size_is_refused(tiny_model):
    with pytest.raises(UserError, match="image_size is 100; for FluxDev it must be a multiple of 16"):
        tiny_model("FluxDev").generate(["a"], [1], 100)


def test_what_is_compiled_is_what_every_pipeline_has(painter):
    module = denoiser(painter.pipe)
    assert module is painter.pipe.components.get("transformer", painter.pipe.components.get("unet"))
    assert module._compiled_call_impl is None
    compile_denoiser(painter.pipe, "eager")
    assert module._compiled_call_impl is not None


def test_an_unknown_compile_mode_is_refused(tiny_model, monkeypatch):
    monkeypatch.setenv("PANIC_TORCH_COMPILE", "fast")
    with pytest.raises(UserError, match=r"PANIC_TORCH_COMPILE is 'fast'.*accepted: default"):
        tiny_model("SDXLTurbo")


def test_every_painter_has_a_checkpoint_that_runs():
    painters = {s.name for s in registry.generators() if s.family == "diffusion"}
    assert painters == set(tiny.PAINTERS)
