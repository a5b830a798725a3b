"""Drawing cells with real pipelines and real LoRA files, tiny ones; and reading pictures drawn elsewhere."""

import dataclasses
import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from panic_assets.errors import UserError
from panic_assets.finetunes.drawing import depth, generate, ingest, long_prompts, suites
from panic_assets.finetunes.drawing.suites import Generation
from panic_assets.finetunes.pictures import measures
from panic_assets.finetunes.pictures.colour import decode
from panic_assets_tests.finetunes.drawing import tiny_lora

SUITE = suites.default()
QUICK = Generation(steps=2, guidance=3.0, size=32)


class OneModel:
    """A worker with one pipeline on it."""

    device = "cpu"

    def __init__(self, pipe):
        self.pipe = pipe

    def model(self, name):
        return SimpleNamespace(pipe=self.pipe)


def loaded(name, folder):
    """The pipeline of a registry entry, loaded as the platform loads it, from tiny weights."""
    import torch

    from panic_assets.models import load
    from panic_assets.registry import registry
    from panic_assets_tests.models import tiny

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANIC_MODEL_PATHS", f"{name}={tiny.build(tiny.PAINTERS, name, folder)}")
        return load.load(registry.get(name)).pipe


@pytest.fixture(scope="module")
def sd15(tmp_path_factory):
    return loaded("SD15", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return loaded("SDXL", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def lora(sd15, tmp_path_factory):
    return tiny_lora.kohya_lora(tmp_path_factory.mktemp("lora") / "a-000001.safetensors", sd15)


def task(path, cells, base="SD15", **fields):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return generate.Task(base, str(path), digest, tuple(cells), fields.pop("generation", QUICK), **fields)


def drawn(pipe, *args, **fields):
    return {(d.prompt, d.seed): d.png for d in accepted(generate.draw(task(*args, **fields), OneModel(pipe)))}


def accepted(made):
    """What was drawn; raises what was refused."""
    for one in made:
        if isinstance(one, generate.Refused):
            raise UserError(one.why)
        yield one


def test_the_same_cell_gives_the_same_bytes_whatever_it_is_drawn_with(sd15, lora):
    cells = depth.cells(SUITE, 2)
    alone = drawn(sd15, lora, cells[4:5])
    together = drawn(sd15, lora, cells)
    assert len(set(together.values())) == 6, "every cell is another picture"
    assert together[cells[4].key] == alone[cells[4].key]
    assert drawn(sd15, lora, cells[4:5]) == alone
    assert decode(alone[cells[4].key]).shape == (32, 32, 3)


def test_the_lora_is_in_and_is_out_again(sd15, lora, tmp_path):
    cell = depth.cells(SUITE, 1)[0]
    bare = generate.paint(sd15, cell, QUICK)
    own = type(sd15.scheduler).__name__
    first = drawn(sd15, lora, [cell])
    assert (generate.paint(sd15, cell, QUICK) == bare).all(), "the base is as it was"
    assert type(sd15.scheduler).__name__ == own
    with generate.scheduled(sd15, QUICK.scheduler):
        assert type(sd15.scheduler).__name__ == QUICK.scheduler
        without = generate.paint(sd15, cell, QUICK)
    assert (decode(first[cell.key]) != without).any(), "the weights changed the picture"
    nothing = tiny_lora.kohya_lora(tmp_path / "zero-000001.safetensors", sd15, strength=0.0)
    assert (decode(drawn(sd15, nothing, [cell])[cell.key]) == without).all(), "zero weights change nothing"
    assert (decode(drawn(sd15, lora, [cell], scale=0.0)[cell.key]) == without).all()
    other = tiny_lora.kohya_lora(tmp_path / "b-000002.safetensors", sd15, seed=1)
    assert drawn(sd15, other, [cell]) != first
    assert drawn(sd15, lora, [cell]) == first, "no trace of another checkpoint"


def test_text_encoder_weights_of_a_kohya_file_are_used(sd15, tmp_path):
    cell = depth.cells(SUITE, 1)[0]
    both = tiny_lora.kohya_lora(tmp_path / "both.safetensors", sd15, seed=2)
    unet_only = tiny_lora.kohya_lora(tmp_path / "unet.safetensors", sd15, seed=2, text=False)
    assert drawn(sd15, both, [cell]) != drawn(sd15, unet_only, [cell])


def test_sdxl_too(sdxl, tmp_path):
    path = tiny_lora.kohya_lora(tmp_path / "x-000001.safetensors", sdxl)
    cell = depth.cells(SUITE, 1)[0]
    first = drawn(sdxl, path, [cell], base="SDXL")
    assert drawn(sdxl, path, [cell], base="SDXL") == first
    with generate.scheduled(sdxl, QUICK.scheduler):
        assert (generate.paint(sdxl, cell, QUICK) != decode(first[cell.key])).any()


def painted(pipe, text, negative=""):
    prompt = dataclasses.replace(SUITE.prompts[0], text=text, negative=negative)
    return generate.paint(pipe, depth.Cell(prompt, 1), QUICK)


@pytest.fixture(params=["sd15", "sdxl"])
def pipe(request):
    return request.getfixturevalue(request.param)


def test_a_prompt_that_clip_reads_at_once_is_drawn_as_the_pipeline_itself_draws_it(pipe):
    import torch

    text, negative = "x" * 75, "blurry"
    own = pipe(
        prompt=text, negative_prompt=negative, num_inference_steps=QUICK.steps, guidance_scale=QUICK.guidance,
        generator=torch.Generator().manual_seed(1), height=32, width=32,
    ).images[0]  # fmt: skip
    assert (painted(pipe, text, negative) == np.asarray(own)).all()
    given = long_prompts.embeddings(pipe, text, negative)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    with torch.inference_mode():
        encoded = pipe.encode_prompt(
            prompt=text, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True,
            negative_prompt=negative,
        )  # fmt: skip
    assert set(given) == set(names[: len(encoded)])
    for name, tensor in zip(names, encoded, strict=False):
        assert torch.equal(given[name], tensor), "one window is what the pipeline encodes"


def test_nothing_of_a_long_prompt_is_cut(pipe):
    # A token a letter: the change is in the second window, then in the third, then in the negative prompt's.
    same = "a" * 160
    first = painted(pipe, same)
    assert (painted(pipe, same) == first).all()
    for other in ("a" * 80 + "b" + "a" * 79, "a" * 159 + "b"):
        assert (painted(pipe, other) != first).any()
    assert (painted(pipe, "a", same) != painted(pipe, "a", "a" * 159 + "b")).any()
    shapes = {k: v.shape[1] for k, v in long_prompts.embeddings(pipe, same, "").items() if "pooled" not in k}
    assert shapes == {"prompt_embeds": 3 * 75 + 2, "negative_prompt_embeds": 3 * 75 + 2}


def test_the_safety_checker_does_not_black_out_what_is_measured(sd15, lora):
    cell = depth.cells(SUITE, 1)[0]
    assert decode(drawn(sd15, lora, [cell])[cell.key]).max() > 0


def test_weights_that_do_not_fit_are_refused(sd15, lora, tmp_path):
    cell = depth.cells(SUITE, 1)
    bare = generate.paint(sd15, cell[0], QUICK)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"something.else": np.ones(3, np.float32)}, foreign)
    with pytest.raises(UserError, match=r"foreign\.safetensors does not fit") as refusal:
        drawn(sd15, foreign, cell)
    assert "\n" not in str(refusal.value)
    shapes = tmp_path / "shapes.safetensors"
    key = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    save_file(
        {f"{key}.lora_down.weight": np.ones((2, 5), np.float32), f"{key}.lora_up.weight": np.ones((5, 2), np.float32),
         f"{key}.alpha": np.array([2], np.float32)},
        shapes,
    )  # fmt: skip
    with pytest.raises(UserError, match="does not fit"):
        drawn(sd15, shapes, cell)
    assert (generate.paint(sd15, cell[0], QUICK) == bare).all(), "a refused file leaves nothing behind"
    assert len(drawn(sd15, lora, cell)) == 3
    from safetensors.torch import load_file
    from safetensors.torch import save_file as save_torch

    stray = load_file(lora)
    spare = next(k for k in stray if k.endswith("lora_down.weight"))
    stray |= {f"lora_unet_mid_block_nowhere.{end}": stray[spare.replace("lora_down.weight", end)].clone()
              for end in ("lora_down.weight", "lora_up.weight", "alpha")}  # fmt: skip
    save_torch(stray, tmp_path / "stray.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        drawn(sd15, tmp_path / "stray.safetensors", cell)
    with pytest.raises(UserError, match="takes no LoRA"):
        drawn(None, lora, cell)


def test_another_file_under_a_registered_hash_is_refused(sd15, lora, tmp_path):
    honest = task(lora, depth.cells(SUITE, 1))
    lora_again = tmp_path / lora.name
    lora_again.write_bytes(lora.read_bytes() + b"x")
    with pytest.raises(UserError, match="written again"):
        list(
            accepted(generate.draw(generate.Task(**{**honest.__dict__, "checkpoint": str(lora_again)}), OneModel(sd15)))
        )
    with pytest.raises(UserError, match="not a file here"):
        list(accepted(generate.draw(generate.Task(**{**honest.__dict__, "checkpoint": "/nowhere"}), OneModel(sd15))))


def synthetic_checkpoint(path, error):
    save_file({"error": np.array([error], dtype=np.float32)}, path)
    return path


def test_the_synthetic_base_draws_as_well_as_its_checkpoint(tmp_path):
    good = synthetic_checkpoint(tmp_path / "good.safetensors", 0.0)
    bad = synthetic_checkpoint(tmp_path / "bad.safetensors", 0.5)
    cell = depth.cells(SUITE, 1)
    marks = {}
    for path in (good, bad):
        pictures = drawn(None, path, cell, base=generate.SYNTHETIC, generation=Generation(size=96))
        assert drawn(None, path, cell, base=generate.SYNTHETIC, generation=Generation(size=96)) == pictures
        prompt = SUITE.prompts[0]
        marks[path] = np.mean([measures.measure(decode(p), prompt.colours).colour for p in pictures.values()])
    assert marks[good] > 95
    assert marks[bad] < 60
    empty = tmp_path / "empty.safetensors"
    save_file({"x": np.ones(1, np.float32)}, empty)
    with pytest.raises(UserError, match="tensor `error`"):
        drawn(None, empty, cell, base=generate.SYNTHETIC)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_pictures_drawn_elsewhere_are_found(tmp_path):
    touch(
        tmp_path,
        "epoch-1/green-pink_11.png",
        "epoch-1/green-pink_42.png",
        "epoch-02/lad-cap_1234.png",
        "epoch-1/green-pnk_11.png",
        "epoch-1/green-pink_7.png",
        "notes.txt",
    )
    told = ingest.find(tmp_path, SUITE)
    assert [(f.epoch, f.prompt, f.seed) for f in told.found] == [
        (2, "lad-cap", 1234),
        (1, "green-pink", 11),
        (1, "green-pink", 42),
    ]
    assert [why for _, why in told.strangers] == [
        "prompt 'green-pink' has no seed 7",
        "suite portraits has no prompt 'green-pnk'; did you mean 'green-pink'?",
    ]
    assert [f.epoch for f in ingest.find(tmp_path, SUITE, epochs={2}).found] == [2]
    by_expression = ingest.find(tmp_path, SUITE, r"epoch-(?P<epoch>\d+)/(?P<prompt>lad-\w+)_(?P<seed>\d+)\.png")
    assert [f.prompt for f in by_expression.found] == ["lad-cap"]


def test_pictures_that_cannot_be_told_apart_are_refused(tmp_path):
    touch(tmp_path, "epoch-1/green-pink_11.png", "epoch-01/green-pink_11.png")
    with pytest.raises(UserError, match="both claim"):
        ingest.find(tmp_path, SUITE)
    for pattern, says in [
        ("{epoch}/{prompt}.png", "lacks {seed}"),
        ("{epoch}/{promt}_{seed}.png", "did you mean 'prompt'"),
        ("{epoch}/{epoch}_{prompt}_{seed}.png", "twice"),
        ("(?P<epoch>", "not a regular expression"),
    ]:
        with pytest.raises(UserError, match=says):
            ingest.compile_pattern(pattern)
    with pytest.raises(UserError, match="is not a folder"):
        ingest.find(tmp_path / "none", SUITE)
