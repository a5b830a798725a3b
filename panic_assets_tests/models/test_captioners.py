import io
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from panic_assets.compute.failures import Failure
from panic_assets.errors import UserError
from panic_assets.models.load import load
from panic_assets.models.protocol import Answerer, Generator
from panic_assets.models.randomness import RowSampler, item_sampler
from panic_assets.registry import registry
from panic_assets_tests.models import tiny
from panic_assets_tests.models.without_operators import VISION

pytestmark = pytest.mark.slow

APART = {
    name
    for name in tiny.CAPTIONERS
    if registry.get(name).proof == "tiny" and not all(find_spec(package) for package in registry.get(name).needs)
}
"""Those that import a package which is not installed here; a stand-in for remote code imports none of its own."""
HERE = [name for name in tiny.CAPTIONERS if name not in APART]
PICTURES = load(registry.get("DummyT2I")).generate(["a", "b", "c"], [1, 2, 3])


@pytest.fixture(params=HERE)
def captioner(request, tiny_model):
    model = tiny_model(request.param)
    model.spec = short(model.spec)
    return model


def short(spec):
    from dataclasses import replace

    return replace(spec, parameters=tuple((k, 24 if k == "max_tokens" else v) for k, v in spec.parameters))


def test_every_captioner_writes_alone_as_in_company(captioner):
    assert isinstance(captioner, Generator)
    seeds = [1, 2, 2**40]
    together = captioner.generate(PICTURES, seeds)
    assert all(isinstance(t, str) and t == t.strip() for t in together)
    assert together[::-1] == captioner.generate(PICTURES[::-1], seeds[::-1])
    assert together == [captioner.generate([p], [s])[0] for p, s in zip(PICTURES, seeds, strict=True)]
    assert torch.get_default_dtype() == torch.float32


def test_seeded_and_unseeded_are_both_sampled(captioner):
    # An earlier system sampled only when a seed was given, and searched with beams.
    repeated = captioner.generate([PICTURES[0]] * 2, [5, 5])
    assert repeated[0] == repeated[1]
    assert len(set(captioner.generate([PICTURES[0]] * 4, [5, 6, 7, 8]))) > 1
    assert len(set(captioner.generate([PICTURES[0]] * 4, [-1] * 4))) > 1


def test_torchs_own_random_state_is_neither_used_nor_moved(captioner):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = captioner.generate(PICTURES, [1, 2, 3])
    captioner.generate(PICTURES, [-1, -1, -1])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert captioner.generate(PICTURES, [1, 2, 3]) == first


def test_the_repositorys_beams_and_lengths_are_not_used(tiny_model):
    model = tiny_model("BLIP2")  # its settings ask for five beams and a total of 20 tokens
    config = model.model.generation_config
    assert (config.num_beams, config.do_sample, config.max_length) == (1, False, None)
    assert max(map(len, model.generate(PICTURES, [1, 2, 3]))) > 20


def test_a_corrupt_picture_fails_alone(captioner):
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "PNG")
    corrupt = Image.open(io.BytesIO(file.getvalue()[:600]))
    good, bad, also = captioner.generate([PICTURES[0], corrupt, PICTURES[2]], [1, 2, 3])
    assert isinstance(bad, Failure)
    assert bad.reason.startswith("the picture cannot be read: ")
    assert [good, also] == captioner.generate([PICTURES[0], PICTURES[2]], [1, 3])


@pytest.mark.parametrize("name", ["BLIP2", "Florence2", "Qwen25VL"])
def test_captions_that_did_not_end_by_themselves_are_counted(tiny_model, name):
    model = tiny_model(name)
    model.spec = short(model.spec)
    head, ends = model.model.get_output_embeddings(), model.model.generation_config.eos_token_id
    end = torch.nn.functional.one_hot(torch.tensor(ends if isinstance(ends, int) else ends[0]), head.out_features) * 1e4
    corrupt = Image.open(io.BytesIO(b"P6 9 9 255 "))
    for sign, finished in ((-1, False), (1, True)):
        pushed = head.register_forward_hook(lambda _, __, logits, push=sign * end: logits + push)
        *texts, failure = model.generate([*PICTURES, corrupt], [1, 2, 3, 4])
        pushed.remove()
        assert isinstance(failure, Failure)
        assert [account.finished for account in model.accounts] == [finished] * 3 + [None]
        assert any(texts) == (not finished)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_pictures_of_any_mode_are_read(tiny_model, mode):
    captioner = tiny_model("Qwen3VL")
    captioner.spec = short(captioner.spec)
    assert isinstance(captioner.generate([PICTURES[0].convert(mode)], [1])[0], str)


def test_an_absurdly_thin_picture_harms_only_itself(tiny_model):
    captioner = tiny_model("Qwen25VL")
    captioner.spec = short(captioner.spec)
    good, bad = captioner.generate([PICTURES[0], Image.new("RGB", (1, 400))], [1, 2])
    assert isinstance(good, str)
    assert isinstance(bad, Failure)


@pytest.mark.slow
@pytest.mark.skipif(not APART, reason="all are run here")
def test_captioners_that_import_torchvision_pass_the_same_tests():
    if not (VISION / ".installed").exists():
        pytest.skip(f"{' and '.join(sorted(APART))} import packages that `make vision` installs")
    command = [sys.executable, "-m", "panic_assets_tests.models.without_operators", __file__, "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, "-k", " or ".join(APART)], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    (passed,) = re.findall(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert int(passed) >= 5 * len(APART)


@pytest.mark.parametrize(
    "name", [n for n in HERE if n in ("Qwen25VL", "Qwen3VL", "LLaMA32Vision", "Gemma3n", "Pixtral")]
)
def test_a_chat_model_answers_by_the_probability_of_its_first_word(tiny_model, name):
    model = tiny_model(name)
    assert isinstance(model, Answerer)
    questions = ["A hat?", "Is there a very long scarf around somebody's neck?", "A smile?"]
    together = model.answer(PICTURES, questions)
    alone = [model.answer([p], [q])[0] for p, q in zip(PICTURES, questions, strict=True)]
    assert np.allclose(together, alone, atol=1e-5), "what else is asked does not matter"
    assert np.array(together).min() > 0
    assert np.array(together).sum(axis=1).max() < 0.5, "random weights do not answer, and say so"
    head = model.model.get_output_embeddings()
    for word, expected in (("Yes", (1, 0)), ("no", (0, 1)), ("Perhaps", (0, 0))):
        token = model.processor.tokenizer.encode(word, add_special_tokens=False)[0]
        push = torch.nn.functional.one_hot(torch.tensor(token), head.out_features) * 100.0
        with_word = head.register_forward_hook(lambda _, __, logits, push=push: logits + push)
        assert np.allclose(model.answer(PICTURES[:2], questions[:2]), [expected] * 2, atol=1e-6), word
        with_word.remove()
    corrupt = Image.open(io.BytesIO(b"P6 9 9 255 "))
    good, bad = model.answer([PICTURES[0], corrupt], questions[:2])
    assert isinstance(bad, Failure)
    assert np.allclose(good, together[0], atol=1e-5)


def test_sampling_is_what_it_says():
    # Frequencies of the sampler against the distribution, after temperature and top-p.
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, -8.0]])
    chain = item_sampler(range(4000), temperature=2.0, top_p=0.95, top_k=0)
    picked = chain(None, logits.repeat(4000, 1)).argmax(-1)
    assert torch.isfinite(chain(None, logits.repeat(4000, 1))).sum() == 4000
    p = torch.softmax(logits[0] / 2, 0)
    expected = torch.where(torch.arange(5) < 4, p, 0.0)  # 0.95 is reached with the fourth
    expected /= expected.sum()
    counts = torch.bincount(picked, minlength=5) / 4000
    assert torch.abs(counts - expected).max() < 0.03
    assert counts[4] == 0


def test_a_token_of_no_probability_is_never_drawn():
    scores = torch.full((2000, 6), -torch.inf)
    scores[:, 3] = 0.0
    generators = [torch.Generator().manual_seed(i) for i in range(2000)]
    assert (RowSampler(generators)(None, scores).argmax(-1) == 3).all()


def test_temperature_zero_is_greedy():
    assert item_sampler([1, 2], temperature=0, top_p=0.5, top_k=3) == []


def test_a_model_whose_packages_are_missing_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match="model Pixtral needs torchvision, which is not installed: pip install torchvision"
    ):
        load(registry.get("Pixtral"))


def test_every_captioner_of_the_registry_is_run():
    real = {s.name for s in registry.generators() if s.output == "text" and s.repository}
    assert real == set(tiny.CAPTIONERS)


def test_vision_tokens_follow_the_picture(tiny_model):
    captioner = tiny_model("Qwen25VL")
    small, wide = captioner.ask([PICTURES[0]]), captioner.ask([Image.new("RGB", (56, 28))])
    counts = [int((i["input_ids"] == captioner.model.config.image_token_id).sum()) for i in (small, wide)]
    assert counts == [int(np.prod(i["image_grid_thw"].numpy()) / 4) for i in (small, wide)]
