import pytest

from panic_assets.compute.in_process import InProcessCompute
from panic_assets.compute.protocol import Needs
from panic_assets.errors import UserError
from panic_assets.models import measured, weights
from panic_assets.models.bench import best, measure
from panic_assets.models.measured import Measurement
from panic_assets.models.preflight import preflight, refuse
from panic_assets.registry import registry


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """An empty home, an empty Hugging Face cache, no network."""
    monkeypatch.setenv("PANIC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("PANIC_MODEL_PATHS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def cached(monkeypatch, tmp_path, name):
    spec = registry.get(name)
    folder = tmp_path / "hf" / "hub" / f"models--{spec.repository.replace('/', '--')}" / "snapshots" / spec.revision
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")


def test_dummies_need_nothing():
    report = preflight(["DummyT2I", "DummyI2T", "DummyText", "RandomWalk"])
    assert report.problems == ()
    assert (report.download_gb, report.hours, report.cost) == (0, 0, 0)
    assert [e.name for e in report.estimates] == ["DummyT2I", "DummyI2T", "DummyText", "RandomWalk"]


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="did you mean 'FluxDev'"):
        preflight(["FluxDevv"])


def test_missing_and_gated_weights_are_a_sentence_each():
    report = preflight(["FluxDev", "Florence2"], vram_gb=80)
    flux, florence = report.problems
    assert "black-forest-labs/FLUX.1-dev" in flux
    assert "accept the licence at https://huggingface.co/black-forest-labs/FLUX.1-dev" in flux
    assert "florence-community/Florence-2-large" in florence
    assert "accept the licence" not in florence
    for problem in report.problems:
        assert "\n" not in problem
        assert "HF_HOME" in problem
        assert "PANIC_MODEL_PATHS" in problem


def test_what_the_hub_says_becomes_the_sentence(monkeypatch):
    from unittest.mock import Mock

    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    response = Mock(status_code=403, headers={})
    for error, words in (
        (GatedRepoError, "are gated: accept the licence at"),
        (RepositoryNotFoundError, "does not show you: set HF_TOKEN"),
        (RevisionNotFoundError, "at revision 3de623f"),
    ):

        def refuse(*args, error=error, **kwargs):
            raise error("no", response=response)

        monkeypatch.setattr("huggingface_hub.HfApi.auth_check", refuse)
        (problem,) = preflight(["FluxDev"], vram_gb=80).problems
        assert words in problem


def test_a_card_too_small_and_no_card_at_all(monkeypatch, tmp_path):
    for name in ("Qwen25VL", "FluxDev", "DINOv2"):
        cached(monkeypatch, tmp_path, name)
    (problem,) = preflight(["Qwen25VL"], vram_gb=6).problems
    assert (
        problem
        == "model Qwen25VL needs about 9 GB of GPU memory, even held as 'nf4', but the GPU has 6.0 GB; use a larger one"
    )
    (problem,) = preflight(["FluxDev"], vram_gb=0).problems
    assert "needs a GPU with 5 GB or more, 38 GB to run at full speed" in problem
    assert preflight(["DINOv2"], vram_gb=0).problems == ()


def test_four_bit_weights_without_their_package(monkeypatch, tmp_path):
    cached(monkeypatch, tmp_path, "FluxDev")
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda n, *a: None if n == "bitsandbytes" else find(n, *a))
    (problem,) = preflight(["FluxDev"], vram_gb=24).problems
    assert "FluxDev fits this GPU only as 'nf4'" in problem
    assert "pip install bitsandbytes" in problem


def test_missing_packages_and_unsuitable_sizes():
    (problem,) = preflight(["Gemma3n"], vram_gb=80).problems
    assert "pip install timm torchvision" in problem
    (problem,) = preflight(["FluxDev"], image_size=500, vram_gb=80).problems
    assert problem == "image_size is 500; for FluxDev it must be a multiple of 16"


def test_a_disk_too_small(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "ask_access", lambda spec: None)
    report = preflight(["FluxDev", "Qwen25VL"], vram_gb=80)
    assert report.download_gb == 51
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(0, 0, int(20e9)))
    (problem,) = preflight(["FluxDev", "Qwen25VL"], vram_gb=80).problems
    assert problem.startswith("51 GB of weights must be downloaded to")
    assert "where 20 GB are free" in problem


def test_time_and_cost_are_per_item_and_measured_when_they_can_be(monkeypatch, tmp_path):
    cached(monkeypatch, tmp_path, "FluxDev")
    monkeypatch.setenv("PANIC_GPU_PRICE", "2.5")
    report = preflight(["FluxDev"], items={"FluxDev": 450}, vram_gb=80)
    assert report.hours == pytest.approx(450 * 8 / 3600)
    assert report.cost == pytest.approx(2.5)
    measured.store("FluxDev", Measurement(batch=2, seconds=4.0))
    assert preflight(["FluxDev"], items={"FluxDev": 450}, vram_gb=80).hours == pytest.approx(0.5)


def test_another_checkpoint_counts_its_own_size(monkeypatch, checkpoints):
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"FluxDev={checkpoints('FluxDev')}")
    assert preflight(["FluxDev"], vram_gb=0).problems == ()
    (estimate,) = preflight(["FluxDev"], vram_gb=1).estimates
    assert (estimate.placement, estimate.download_gb) == ("whole", 0)


def test_fetch_takes_the_pinned_commits_of_weights_and_code(monkeypatch, tmp_path):
    asked = []

    def download(repository, revision=None, ignore_patterns=(), **options):
        asked.append((repository, revision, tuple(ignore_patterns)))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    weights.fetch(registry.get("NomicVision"))
    weights.fetch(registry.get("SDXLTurbo"))
    code, model, turbo = asked
    assert code[:2] == ("nomic-ai/nomic-bert-2048", "7710840340a098cfb869c4f65e87cf2b1b70caca")
    assert "*.safetensors" in code[2]
    assert model[:2] == ("nomic-ai/nomic-embed-vision-v1.5", "af2246fffdab78d8458418480e4886a8e48b70a7")
    assert "sd_xl_turbo*" in turbo[2]


def test_a_compute_refuses_with_every_problem_and_asks_nobody_about_built_in_models(checkpoints, monkeypatch):
    compute, asked = InProcessCompute(), []
    stream = compute.stream
    monkeypatch.setattr(compute, "stream", lambda *given: asked.append(given) or stream(*given))
    refuse(compute, Needs(), ["DummyT2I", "DummyText", "RandomWalk"])
    assert not asked
    with pytest.raises(UserError) as caught:
        refuse(compute, Needs(), ["DINOv2", "SigLIP2", "DummyT2I", "Qwen25VL", "DINOv2"])
    dino, siglip, qwen = str(caught.value).split("; ")
    assert "model DINOv2 needs the weights of facebook/dinov2-base" in dino
    assert "model SigLIP2 needs the weights of google/siglip2-base-patch16-224" in siglip
    assert "model Qwen25VL needs a GPU with 9 GB or more, 20 GB to run at full speed" in qwen
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"DINOv2={checkpoints('DINOv2')}")
    compute.width = lambda needs: 5
    refuse(compute, Needs(), ["DINOv2"], tasks=2)
    refuse(compute, Needs(), ["DINOv2"])
    refuse(compute, Needs(), ["DINOv2"], tasks=0)
    assert [len(given[1]) for given in asked] == [1, 2, 5, 0]


def test_models_share_a_card_as_measured_and_as_far_as_it_holds_them():
    sdxl, blip, dino = (registry.get(name) for name in ("SDXLTurbo", "BLIP2", "DINOv2"))
    assert measured.sharing([sdxl]) == (1, 0)
    measured.store("SDXLTurbo", Measurement(8, 0.1, copies=2, vram_gb=10, card_gb=85))
    measured.store("BLIP2", Measurement(8, 0.1, copies=4, vram_gb=9, card_gb=85))
    assert measured.sharing([sdxl]) == (2, 20)
    assert measured.sharing([blip]) == (4, 36)
    assert measured.sharing([sdxl, blip]) == (2, 38)
    assert measured.sharing([sdxl, blip, registry.get("DummyI2T")]) == (2, 38)  # it needs no card
    assert measured.sharing([sdxl, dino]) == (1, 0)  # DINOv2 was not measured
    measured.store("DINOv2", Measurement(64, 0.001, copies=4))
    assert measured.sharing([dino]) == (1, 0)  # measured, but on a CPU
    measured.store("BLIP2", Measurement(8, 0.1, copies=4, vram_gb=9, card_gb=25))
    assert measured.sharing([blip]) == (2, 18)  # of 22.5 GB
    assert measured.sharing([sdxl, blip]) == (1, 0)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({1: 4.0, 2: 2.0, 4: 1.0, 8: 0.99}, (4, 1.0)),  # 8 brings nothing
        ({1: 4.0, 2: 2.0, 4: MemoryError("out of memory")}, (2, 2.0)),
        ({1: 1.0, 2: 1.5}, (1, 1.0)),
    ],
)
def test_the_best_batch_is_the_last_that_pays(times, expected):
    def took(size):
        if isinstance(times[size], Exception):
            raise times[size]
        return times[size]

    assert best(list(times), took) == expected


def test_measuring_a_model_stores_what_loading_then_uses(checkpoints, monkeypatch):
    from dataclasses import replace

    from panic_assets.models.load import load

    monkeypatch.setenv("PANIC_MODEL_PATHS", f"DINOv2={checkpoints('DINOv2')}")
    result = measure("DINOv2", largest=4, copies=(1,), repeats=1)
    assert result.batch in (1, 2, 4)
    assert result.seconds > 0
    assert measured.all_measured() == {"DINOv2": result}
    assert load(registry.get("DINOv2")).batcher.limit == result.batch
    # A limit of one is a rule of the model, not a matter of memory.
    measured.store("GLMImage", Measurement(batch=8, seconds=1))
    assert measured.batch_limit(registry.get("GLMImage")) == 1
    assert measured.batch_limit(replace(registry.get("GLMImage"), batch_limit=2)) == 8


def test_copies_are_measured_in_processes_of_their_own():
    result = measure("DummyI2T", largest=1, copies=(1, 2), repeats=2)
    assert result.copies in (1, 2)
    assert measured.all_measured()["DummyI2T"] == result
