import json

import numpy as np
import pytest
import torch
from PIL import Image

from panic_assets.compute.failures import Failure
from panic_assets.errors import UserError
from panic_assets.models.load import load
from panic_assets.models.protocol import Embedder
from panic_assets.registry import registry
from panic_assets_tests.models import tiny

pytestmark = pytest.mark.slow

TEXTS = ["a cat", "a longer caption of a dog in the rain", "", "x y z"]
PICTURES = load(registry.get("DummyT2I")).generate(TEXTS, [1, 2, 3, 4])


def contents(spec):
    return TEXTS if spec.input == "text" else PICTURES


@pytest.fixture(params=list(tiny.EMBEDDERS))
def embedder(request, tiny_model):
    return tiny_model(request.param)


def test_every_embedder_gives_its_full_dimension_free_of_the_batch(embedder):
    assert isinstance(embedder, Embedder)
    spec = embedder.spec
    together = embedder.embed(contents(spec))
    assert together.dtype == np.float32
    assert together.shape == (4, spec.dimension)
    np.testing.assert_allclose(together[::-1], embedder.embed(contents(spec)[::-1]), atol=1e-5)
    alone = np.concatenate([embedder.embed([content]) for content in contents(spec)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-4
    assert embedder.embed([]).shape == (0, spec.dimension)
    assert torch.get_default_dtype() == torch.float32


def test_normalised_says_what_the_vectors_are(embedder):
    norms = np.linalg.norm(embedder.embed(contents(embedder.spec)), axis=1)
    assert (np.abs(norms - 1).max() < 1e-5) == embedder.spec.normalised


def test_the_task_prefix_reaches_the_encoder_once(tiny_model):
    # The repository names a default prompt of its own; an earlier wrapper dropped the prefix altogether.
    embedder = tiny_model("Nomic")
    encoder, tokenizer = embedder.model[0].model, embedder.model.tokenizer
    tokens = tokenizer("clustering: a cat", return_tensors="pt")
    with torch.inference_mode():
        by_hand = encoder(**tokens)[0].mean(1)
        bare = encoder(**tokenizer("a cat", return_tensors="pt"))[0].mean(1)
    by_hand, bare = (torch.nn.functional.normalize(v)[0].numpy() for v in (by_hand, bare))
    (vector,) = embedder.embed(["a cat"])
    np.testing.assert_allclose(vector, by_hand, atol=1e-5)
    assert np.abs(vector - bare).max() > 1e-4


def test_a_wrong_dimension_is_refused_not_cut(tiny_model):
    with pytest.raises(ValueError, match="DINOv2 gave vectors of length 768, the registry says 256"):
        tiny_model("DINOv2", dimension=256).embed(PICTURES[:2])


def test_dinov2_is_the_class_token_and_siglip_the_pooled_features(tiny_model):
    dino = tiny_model("DINOv2")
    inputs = dino.processor(images=PICTURES, return_tensors="pt")
    with torch.inference_mode():
        expected = dino.model(**inputs).pooler_output.numpy()
    np.testing.assert_allclose(dino.embed(PICTURES), expected, atol=1e-5)
    siglip = tiny_model("SigLIP2")
    inputs = siglip.processor(images=PICTURES, return_tensors="pt")
    with torch.inference_mode():
        expected = siglip.model.vision_model(**inputs).pooler_output
    np.testing.assert_allclose(siglip.embed(PICTURES), torch.nn.functional.normalize(expected).numpy(), atol=1e-5)


@pytest.mark.parametrize(("text", "image"), [("SigLIP2Text", "SigLIP2"), ("CLIPText", "CLIPVision")])
def test_texts_and_pictures_are_in_one_space(tiny_model, text, image):
    """Against the whole model, which compares the two halves itself."""
    texts, images = tiny_model(text), tiny_model(image)
    given = ["a cat", "The Cat", "x " * 100]
    settings = texts.spec.settings
    tokens = texts.tokenizer(
        [t.lower() if text == "SigLIP2Text" else t for t in given], padding="max_length", truncation=True,
        max_length=settings["reads"], return_tensors="pt",
    )  # fmt: skip
    pixels = images.processor(images=PICTURES, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        whole = texts.model(**tokens, pixel_values=pixels)
    np.testing.assert_allclose(texts.embed(given), whole.text_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(images.embed(PICTURES), whole.image_embeds.numpy(), atol=1e-5)
    assert texts.accounts[2].tokens_read == settings["reads"] < texts.accounts[2].tokens_given


def test_colnomic_is_its_adapter_on_its_base(tiny_model, tmp_path):
    """Against peft itself, run on the training library's own layout."""
    torch.manual_seed(0)
    oracle = tiny.col_qwen(tmp_path / "col").eval()
    embedder = tiny_model("ColNomic")
    with torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, "col_qwen")))
        oracle = tiny.col_qwen(tmp_path / "same").eval()
    inputs = embedder.processor(text=["a cat"], return_tensors="pt", padding=True)
    assert embedder.processor.tokenizer.decode(inputs["input_ids"][0]).startswith("Query: a cat")
    with torch.inference_mode():
        hidden = oracle(**inputs).last_hidden_state
        tokens = torch.nn.functional.normalize(oracle.base_model.model.custom_text_proj(hidden), dim=-1)
    expected = torch.nn.functional.normalize(tokens.mean(1), dim=-1)
    np.testing.assert_allclose(embedder.embed(["a cat"]), expected.numpy(), atol=1e-5)


def rows_and_columns(ids, grids, image_token):
    """Where the training library places tokens: those of a picture by row and column, what follows behind the larger."""
    places = torch.zeros(3, *ids.shape, dtype=torch.long)
    for item, (tokens, (_, height, width)) in enumerate(zip(ids.tolist(), (grids // 2).tolist(), strict=True)):
        after = first = 0
        for at, token in enumerate(tokens):
            if token == image_token:
                nth = tokens[:at].count(image_token)
                places[:, item, at] = torch.tensor([first, first + nth // width, first + nth % width])
                after = first + max(height, width)
            else:
                places[:, item, at] = after
                after = first = after + 1
    return places


@pytest.mark.parametrize("size", [(56, 56), (28, 84), (84, 56), (200, 90)])
def test_a_picture_of_any_shape_is_placed_as_in_training(tiny_model, tmp_path, size):
    with torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, "col_qwen")))
        oracle = tiny.col_qwen(tmp_path / "same").eval()
    embedder = tiny_model("ColNomicVision")
    picture = PICTURES[0].resize(size)
    inputs = embedder.processor(images=[picture], return_tensors="pt")
    image_token = embedder.processor.image_token_id
    (grid,) = inputs["image_grid_thw"].tolist()
    assert grid[1] * grid[2] * 14 * 14 <= 84 * 84, "the adapter's own largest size counts, not the base's"
    with torch.inference_mode():
        hidden = oracle(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            pixel_values=inputs["pixel_values"][0],
            image_grid_thw=inputs["image_grid_thw"],
            position_ids=rows_and_columns(inputs["input_ids"], inputs["image_grid_thw"], image_token),
        ).last_hidden_state
        tokens = torch.nn.functional.normalize(oracle.base_model.model.custom_text_proj(hidden), dim=-1)
    pictured = inputs["input_ids"][0] == image_token
    expected = torch.nn.functional.normalize(tokens[0, pictured].mean(0), dim=-1)
    np.testing.assert_allclose(embedder.embed([picture])[0], expected.numpy(), atol=1e-5)
    # Beside one of another shape, whose tokens and pixels pad it:
    np.testing.assert_allclose(embedder.embed([PICTURES[1].resize((84, 84)), picture])[1], expected.numpy(), atol=1e-5)


def test_colnomic_is_built_without_memory(tiny_model, monkeypatch):
    from transformers import ColQwen2ForRetrieval

    built, post_init = [], ColQwen2ForRetrieval.post_init

    def noted(self):
        built.append({weight.device.type for weight in self.parameters()})
        post_init(self)

    monkeypatch.setattr(ColQwen2ForRetrieval, "post_init", noted)
    embedder = tiny_model("ColNomic")
    assert built == [{"meta"}]
    assert {part.device.type for part in (*embedder.model.parameters(), *embedder.model.buffers())} == {"cpu"}


def test_colnomic_with_weights_missing_is_refused(tmp_path, monkeypatch):
    tiny.col_qwen(tmp_path / "col")
    from safetensors.torch import load_file, save_file

    file = next((tmp_path / "col" / "base").glob("*.safetensors"))
    save_file({k: v for k, v in load_file(file).items() if "custom_text_proj" not in k}, file, {"format": "pt"})
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"ColNomic={tmp_path / 'col'}")
    with pytest.raises(
        UserError, match=r"lack 2 weights of ColNomic, the first is embedding_proj_layer\.bias; fetch both again"
    ):
        load(registry.get("ColNomic"))


def test_colnomics_base_comes_from_the_adapters_own_settings(tmp_path, monkeypatch):
    tiny.col_qwen(tmp_path / "col")
    (tmp_path / "col" / "base").rename(tmp_path / "elsewhere")
    config = tmp_path / "col" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "some/base"}))
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"ColNomic={tmp_path / 'col'}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"ColNomic \(base\) needs the weights of some/base"):
        load(registry.get("ColNomic"))


@pytest.mark.parametrize("name", ["STSBMpnet", "DINOv2"])
def test_a_vector_that_is_not_finite_fails_alone(tiny_model, monkeypatch, name):
    embedder = tiny_model(name)
    vectors = embedder.vectors

    def poisoned(given):
        out = vectors(given).clone()
        out[[i for i, c in enumerate(given) if c == "x y z" or getattr(c, "size", None) == (9, 9)]] = float("nan")
        return out

    monkeypatch.setattr(embedder, "vectors", poisoned)
    given = TEXTS if embedder.spec.input == "text" else [*PICTURES[:3], Image.new("RGB", (9, 9))]
    rows = embedder.embed(given)
    assert np.isfinite(rows[:3]).all()
    assert np.isnan(rows[3]).all()
    assert embedder.failures == [None, None, None, Failure("the vector has values that are not finite")]


def test_a_text_far_too_long_fails_alone(tiny_model):
    embedder = tiny_model("Nomic")
    rows = embedder.embed(["a cat", "word " * 20_000, "a dog"])
    assert np.isnan(rows[1]).all()
    assert np.isfinite(rows[[0, 2]]).all()
    assert embedder.failures[1] == Failure("the text has 100,000 characters; it may have at most 50,000")


def test_what_an_embedder_does_not_read_is_counted(tiny_model):
    embedder = tiny_model("STSBMpnet")  # which reads 64 tokens, one for a letter
    long, unreadable = "x " * 100, "x" * 101  # Such a word is unknown, and this vocabulary has no token for that.
    rows = embedder.embed([long, "a cat", long + "y", "y " + long, unreadable])
    told = [(a.tokens_given, a.tokens_read) for a in embedder.accounts]
    assert told == [(102, 64), (6, 6), (103, 64), (103, 64), (None, None)]
    assert [failure is None for failure in embedder.failures] == [True] * 4 + [False]
    assert np.array_equal(rows[0], rows[2])
    assert not np.array_equal(rows[0], rows[3])
    picture = tiny_model("DINOv2")
    picture.embed(PICTURES[:1])
    assert picture.accounts == []


def test_code_of_a_repository_runs_only_where_the_registry_says_so(tiny_model):
    with pytest.raises(ValueError, match="trust_remote_code"):
        tiny_model("NomicVision", remote_code=False)
    for spec in registry.REGISTRY.values():
        if spec.remote_code:
            assert len(spec.code_revision or spec.revision) == 40, f"{spec.name} runs code of no pinned commit"


def test_every_embedder_has_a_checkpoint_that_runs():
    real = {s.name for s in registry.embedders() if s.proof != "real"}
    assert real == set(tiny.EMBEDDERS)
