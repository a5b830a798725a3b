import re
import subprocess
import sys

import pytest

from panic_assets.errors import UserError
from panic_assets.models.load import LOADERS, load
from panic_assets.registry import registry


def test_import_pulls_no_heavy_library():
    code = (
        "import sys\n"
        "import panic_assets.registry.registry, panic_assets.models.load\n"
        "heavy = {'numpy', 'PIL', 'torch', 'transformers', 'diffusers', 'huggingface_hub', 'dagster'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_fit_partition_keys_and_are_told_apart():
    names = registry.names()
    assert len(set(names)) == len(names) == len(registry.generators()) + len(registry.embedders())
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)


def test_embedder_order_starts_as_it_always_has():
    # Lists show this order: append, never insert.
    assert [spec.name for spec in registry.embedders()][:8] == [
        "DummyText", "DummyText2", "DummyVision", "DummyVision2",
        "RandomWalk", "RandomWalk50", "RandomWalk90", "MiniLM",
    ]  # fmt: skip


def test_entries_are_complete():
    for spec in registry.REGISTRY.values():
        assert spec.family in LOADERS, spec.name
        assert (spec.output is not None) == (spec.role == "generator"), spec.name
        assert (spec.dimension is not None) == (spec.role != "generator"), spec.name
        assert (spec.image_size is not None) == (spec.output == "image"), spec.name
        assert list(spec.parameters) == sorted(spec.parameters), spec.name
        assert not spec.revision or re.fullmatch(r"[0-9a-f]{40}", spec.revision), spec.name
        assert bool(spec.repository) == bool(spec.licence), spec.name


def test_licences_say_what_they_do_not_allow():
    limits = {spec.name: spec.terms for spec in registry.REGISTRY.values() if spec.terms}
    assert limits["SDXLTurbo"] == ["no commercial use"]
    assert limits["HunyuanImage"] == ["limited commercial use", "not in the EU, the UK and South Korea"]
    for spec in registry.REGISTRY.values():
        if re.search(r"(^|-)(nc|non-commercial|research)\b", spec.licence):
            assert spec.commercial == "no", f"{spec.name} is under {spec.licence}"
        if spec.licence in ("apache-2.0", "mit"):
            assert spec.name not in limits


def test_unknown_name_is_one_sentence_with_the_nearest():
    with pytest.raises(UserError, match=r"'DummyT3I' is not in the registry; did you mean 'DummyT2I'\?"):
        registry.get("DummyT3I")


def test_unknown_family_is_refused():
    from dataclasses import replace

    with pytest.raises(UserError, match=r"'dumy', which has no loader; did you mean 'dummy'\?"):
        load(replace(registry.get("DummyText"), family="dumy"))


def test_the_page_about_models_is_up_to_date():
    from panic_assets.models import document

    text = document.PAGE.read_text()
    assert document.page(text) == text, "run `python -m panic_assets.models.document`"
    assert all(f"| {name} |" in text for name in registry.names())
    unrun = text.split("What was never run at all")[1].split(document.BEGIN)[0].split("\n- ")
    (unpinned,) = [set(re.findall(r"`(\w+)`", item)) for item in unrun if "not pinned" in item]
    assert unpinned == {s.name for s in registry.REGISTRY.values() if s.repository and not s.revision}


def test_real_entries_say_what_they_take():
    for spec in registry.REGISTRY.values():
        if spec.repository:
            assert spec.memory, spec.name
            assert spec.disk_gb > 0, spec.name
            assert spec.seconds > 0, spec.name
        if spec.family == "diffusion":
            assert spec.steps, spec.name
            assert spec.image_size % spec.image_multiple == 0, spec.name


def test_turbo_models_have_no_guidance():
    # Z-Image Turbo blurs with the pipeline's default of 5.
    assert registry.get("ZImageTurbo").guidance == 0
    assert registry.get("SDXLTurbo").guidance == 0
    assert registry.get("SDXLTurbo").steps == 4
    assert (registry.get("FluxDev").steps, registry.get("FluxDev").guidance) == (20, 3.5)


def test_every_model_that_users_were_promised_is_there():
    painters = (
        "SDXLTurbo FluxDev FluxSchnell SD35Medium Flux2Klein Flux2Dev ZImageTurbo QwenImage GLMImage HunyuanImage"
    )
    captioners = "BLIP2 Moondream Florence2 Qwen25VL Gemma3n Pixtral LLaMA32Vision Qwen3VL"
    texts = "STSBMpnet STSBRoberta STSBDistilRoberta Nomic JinaClip Qwen3Embed ColNomic MiniLM"
    images = "NomicVision JinaClipVision ColNomicVision DINOv2 SigLIP2"
    for names, given, made in (
        (painters, "text", "image"), (captioners, "image", "text"), (texts, "text", None), (images, "image", None),
    ):  # fmt: skip
        for name in names.split():
            spec = registry.get(name)
            assert (spec.input, spec.output) == (given, made), name
    for name in ("DINOv2", "SigLIP2"):
        assert not registry.get(name).remote_code
