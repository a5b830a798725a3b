import gc
import importlib.util
import weakref

import pytest
import torch

from panic_assets.compute.warm import WarmWorker
from panic_assets.errors import UserError
from panic_assets.models.diffusion import TextToImage, denoiser
from panic_assets.models.memory import place, placement
from panic_assets.models.residency import Residency
from panic_assets.registry import registry

pytestmark = pytest.mark.slow


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


def test_what_is_kept_stays_and_what_does_not_come_back_is_told(monkeypatch, caplog):
    residency = card(monkeypatch, 80)
    painter = residency.model("SDXLTurbo")  # 9 GB
    residency.model("Qwen25VL")  # 20 GB
    monkeypatch.setattr("panic_assets.models.residency._allocated_gb", lambda device: 9.2)
    assert residency.keep(["SDXLTurbo", "BLIP2"]) == pytest.approx(0.2)
    assert residency.model("SDXLTurbo") is painter
    assert set(residency.held) == {"SDXLTurbo"}
    worker = WarmWorker("cuda:0")
    worker._residency = residency
    worker.keep(["SDXLTurbo"])
    assert not caplog.records
    worker.keep([])
    assert "9.2 GB of GPU memory stay in use although their models were freed" in caplog.text


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
        ("Qwen25VL", 16, "int8"),
        ("Qwen25VL", 12, "nf4"),
    ],
)
def test_the_card_decides_how_weights_are_held(name, gb, expected):
    assert placement(registry.get(name), gb) == expected


def test_a_card_too_small_is_one_sentence():
    with pytest.raises(
        UserError, match=r"Pixtral needs about 11 GB of GPU memory, even held as 'nf4', but the GPU has 8\.0 GB"
    ):
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


@pytest.mark.parametrize(("how", "kind"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
def test_quantised_weights_take_the_place_of_linear_layers(tiny_model, monkeypatch, how, kind):
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr("panic_assets.models.captions.place", lambda spec, device: how)
    model = tiny_model("Qwen25VL").model
    kinds = {name.rsplit(".", 1)[-1]: type(m).__name__ for name, m in model.named_modules() if "proj" in name}
    assert kinds["q_proj"] == kinds["down_proj"] == kind


def test_quantised_weights_without_their_package_are_refused(tiny_model, monkeypatch):
    monkeypatch.setattr("panic_assets.models.diffusion.place", lambda spec, device: "nf4")
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda n, *a: None if n == "bitsandbytes" else find(n, *a))
    with pytest.raises(UserError, match="FluxDev fits this GPU only as 'nf4', which needs the package bitsandbytes"):
        tiny_model("FluxDev")


class Told(Exception):
    """Carries what a library was asked for, before it does it."""


@pytest.mark.parametrize(("how", "bits"), [("int8", "load_in_8bit"), ("nf4", "load_in_4bit")])
def test_the_bits_of_a_placement_reach_the_captioners_library(tiny_model, monkeypatch, how, bits):
    def loading(*_, **options):
        raise Told(options)

    monkeypatch.setattr("panic_assets.models.captions.place", lambda spec, device: how)
    monkeypatch.setattr("panic_assets.models.captions.require_bitsandbytes", lambda *_: None)
    monkeypatch.setattr("transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained", loading)
    with pytest.raises(Told) as told:
        tiny_model("Qwen25VL")
    (options,) = told.value.args
    assert getattr(options["quantization_config"], bits) is True
    assert options["device_map"] == {"": "cpu"}


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ("whole", "to"),
        ("nf4", "to"),
        ("offload", "enable_model_cpu_offload"),
        ("nf4+offload", "enable_model_cpu_offload"),
        ("sequential", "enable_sequential_cpu_offload"),
    ],
)
def test_a_placement_reaches_the_pipeline(checkpoints, monkeypatch, how, asked):
    """A card that is not there: the pipeline is real, what would touch the card is only noted."""
    from diffusers import DiffusionPipeline, FluxPipeline

    seen, calls = {}, []
    from_pretrained = DiffusionPipeline.from_pretrained.__func__

    def loading(cls, where, **options):
        seen.update(options)
        options.pop("quantization_config", None)  # diffusers quantises on a GPU only
        return from_pretrained(cls, where, **options)

    monkeypatch.setattr("panic_assets.models.diffusion.place", lambda spec, device: how)
    monkeypatch.setattr("panic_assets.models.diffusion.require_bitsandbytes", lambda *_: None)
    monkeypatch.setattr(FluxPipeline, "from_pretrained", classmethod(loading))
    for name in ("to", "enable_model_cpu_offload", "enable_sequential_cpu_offload"):
        monkeypatch.setattr(FluxPipeline, name, lambda *_, name=name, **__: calls.append(name))
    monkeypatch.setenv("PANIC_MODEL_PATHS", f"FluxDev={checkpoints('FluxDev')}")
    painter = TextToImage(registry.get("FluxDev"), "cuda:0")
    assert calls == [asked]
    assert (painter.pipe.vae.use_slicing, painter.pipe.vae.use_tiling) == (True, False)
    assert seen["dtype"] == torch.bfloat16
    config = seen.get("quantization_config")
    assert (config is not None) == how.startswith("nf4")
    if config:
        assert config.quant_kwargs == {
            "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16,
        }  # fmt: skip
        assert set(config.components_to_quantize) == {"transformer", "text_encoder_2"}


def test_attention_runs_through_torchs_fused_kernels_unless_an_entry_says_otherwise(tiny_model):
    plain = tiny_model("Qwen25VL")
    assert plain.model.config._attn_implementation == "sdpa"
    settings = (*plain.spec.parameters, ("attention", "eager"))
    assert tiny_model("Qwen25VL", parameters=settings).model.config._attn_implementation == "eager"
    painter = tiny_model("FluxDev", parameters=(*registry.get("FluxDev").parameters, ("attention", "_native_math")))
    backends = {
        getattr(module.processor, "_attention_backend", None)
        for module in denoiser(painter.pipe).modules()
        if hasattr(module, "processor")
    }
    assert {backend.value for backend in backends} == {"_native_math"}
