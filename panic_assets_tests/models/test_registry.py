import re
import subprocess
import sys

import pytest

from panic_assets.errors import UserError
from panic_assets.models import registry
from panic_assets.models.load import LOADERS, load


def test_import_is_quick_and_pulls_no_heavy_library():
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "import panic_assets.models.registry, panic_assets.models.load\n"
        "print(time.perf_counter() - start)\n"
        "heavy = {'numpy', 'PIL', 'torch', 'transformers', 'diffusers', 'huggingface_hub', 'dagster'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(3)]
    assert all(d.returncode == 0 for d in done), done[0].stderr
    assert min(float(d.stdout) for d in done) < 0.05


def test_names_fit_partition_keys_and_are_told_apart():
    names = registry.names()
    assert len(set(names)) == len(names) == len(registry.generators()) + len(registry.embedders())
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)


def test_embedder_order_starts_as_it_always_has():
    # Dagster's static partitions hang on this order: append, never insert.
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


def test_unknown_name_is_one_sentence_with_the_nearest():
    with pytest.raises(UserError, match=r"'DummyT3I' is not in the registry; did you mean 'DummyT2I'\?"):
        registry.get("DummyT3I")


def test_unknown_family_is_refused():
    from dataclasses import replace

    with pytest.raises(UserError, match=r"'dumy', which has no loader; did you mean 'dummy'\?"):
        load(replace(registry.get("DummyText"), family="dumy"))
