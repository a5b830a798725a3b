import gc
import weakref

import pytest

from panic_assets.errors import UserError
from panic_assets.models import registry
from panic_assets.models.diffusion import denoiser
from panic_assets.models.memory import place, placement
from panic_assets.models.residency import Residency


class Model:
    """Five lines that remember where they are."""

    def __init__(self, spec, device):
        self.spec, self.device = spec, device

    def to(self, device):
        self.device = device


class Loader:
    def __init__(self):
        self.loaded = []

    def __call__(self, spec, device):
        self.loaded.append(spec.name)
        return Model(spec, device)


def on_card(residency):
    return {name for name, held in residency.held.items() if held.model.device == "cuda:0"}


def card(monkeypatch, gb):
    """A card of that size, as far as the bookkeeping goes: no tensor is moved here."""
    monkeypatch.setattr("panic_assets.models.residency._allocated_gb", lambda device: 0.0)
    monkeypatch.setattr("panic_assets.models.residency.free_memory", lambda: None)
    return Residency("cuda:0", capacity_gb=gb, loader=Loader())


def test_models_that_fit_together_both_stay(monkeypatch):
    residency = card(monkeypatch, 40)
    for _ in range(5):
        residency.model("SDXLTurbo")  # 9 GB
        residency.model("Qwen25VL")  # 20 GB
    assert residency.loader.loaded == ["SDXLTurbo", "Qwen25VL"]
    assert residency.swaps == 0
    assert on_card(residency) == {"SDXLTurbo", "Qwen25VL"}


def test_models_that_do_not_fit_take_turns_and_are_loaded_once(monkeypatch):
    residency = card(monkeypatch, 24)
    for _ in range(5):
        assert residency.model("SDXLTurbo").device == "cuda:0"
        assert residency.model("Qwen25VL").device == "cuda:0"
        assert on_card(residency) == {"Qwen25VL"}
    assert residency.loader.loaded == ["SDXLTurbo", "Qwen25VL"]
    assert residency.swaps == 8


def test_only_as_many_make_room_as_must(monkeypatch):
    residency = card(monkeypatch, 40)
    residency.model("SDXLTurbo")
    residency.model("Qwen25VL")
    residency.model("BLIP2")  # 9 more: 38 > 36, the least recently used goes
    assert on_card(residency) == {"Qwen25VL", "BLIP2"}
    residency.model("Qwen25VL")
    residency.model("SDXLTurbo")
    assert on_card(residency) == {"Qwen25VL", "SDXLTurbo"}


def test_on_a_cpu_nothing_moves(tiny_model, monkeypatch, checkpoints):
    monkeypatch.setenv("PANIC_MODEL_PATHS", ",".join(f"{n}={checkpoints(n)}" for n in ("DINOv2", "STSBMpnet")))
    residency = Residency("cpu")
    first = residency.model("DINOv2")
    residency.model("STSBMpnet")
    assert residency.model("DINOv2") is first
    assert residency.swaps == 0


@pytest.mark.parametrize("name", ["SDXLTurbo", "Qwen25VL", "STSBMpnet"])
def test_freed_weights_are_gone_from_memory(monkeypatch, checkpoints, name):
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"{name}={checkpoints(name)}")
    residency = Residency("cpu")
    weights = [weakref.ref(p) for module in residency.model(name).modules for p in module.parameters()]
    assert weights
    assert residency.free() == 0
    gc.collect()
    assert not [ref for ref in weights if ref() is not None]


@pytest.mark.parametrize("name", ["SDXLTurbo", "FluxDev", "Qwen25VL", "Moondream", "DINOv2", "STSBMpnet", "ColNomic"])
def test_moving_a_model_moves_all_of_its_weights(tiny_model, name):
    # torch's `meta` device stands for the other one: it exists everywhere.
    model = tiny_model(name)
    model.to("meta")
    assert {p.device.type for module in model.modules for p in module.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("name", "gb", "expected"),
    [
        ("FluxDev", 80, "whole"),
        ("FluxDev", 32, "offload"),
        ("FluxDev", 24, "nf4"),  # a 24 GB card
        ("FluxDev", 12, "nf4+offload"),
        ("FluxDev", 8, "sequential"),
        ("Qwen25VL", 24, "whole"),
        ("Qwen25VL", 12, "nf4"),
    ],
)
def test_the_card_decides_how_weights_are_held(name, gb, expected):
    assert placement(registry.get(name), gb) == expected


def test_a_card_too_small_is_one_sentence():
    with pytest.raises(UserError, match=r"Pixtral needs about 11 GB of GPU memory even as 'nf4'; 8\.0 GB is there"):
        placement(registry.get("Pixtral"), 8)


def test_every_placement_is_leaner_than_the_one_before():
    for spec in registry.REGISTRY.values():
        sizes = [gb for _, gb in spec.memory]
        assert sizes == sorted(sizes, reverse=True), spec.name
        assert (spec.vram_gb, spec.least_vram_gb) == (max(sizes, default=0), min(sizes, default=0)), spec.name
        assert place(spec, "cpu") == "whole"
        if any(name.startswith("nf4") for name, _ in spec.memory) and spec.family == "diffusion":
            assert spec.settings["large"], spec.name


@pytest.mark.parametrize("name", ["FluxDev", "SD35Medium", "ZImageTurbo", "QwenImage", "Flux2Dev", "GLMImage"])
def test_the_components_to_quantise_exist_and_the_decoder_is_not_among_them(tiny_model, name):
    pipe = tiny_model(name).pipe
    large = registry.get(name).settings["large"]
    assert all(part in pipe.components for part in large)
    assert "vae" not in large
    assert denoiser(pipe) in [pipe.components[part] for part in large]


def test_four_bit_weights_take_the_place_of_linear_layers(tiny_model, monkeypatch):
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr("panic_assets.models.captions.place", lambda spec, device: "nf4")
    model = tiny_model("Qwen25VL").model
    kinds = {name.rsplit(".", 1)[-1]: type(m).__name__ for name, m in model.named_modules() if "proj" in name}
    assert kinds["q_proj"] == kinds["down_proj"] == "Linear4bit"


def test_four_bit_weights_without_their_package_are_refused(tiny_model, monkeypatch):
    monkeypatch.setattr("panic_assets.models.diffusion.place", lambda spec, device: "nf4")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="FluxDev fits this GPU only with 4-bit weights"):
        tiny_model("FluxDev")
