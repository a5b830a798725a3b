import os
import warnings

import pytest

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
warnings.filterwarnings("ignore", category=FutureWarning)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """name -> the folder of its tiny checkpoint, built once a session."""
    from panic_assets_tests.models import tiny

    root = tmp_path_factory.mktemp("checkpoints")

    def checkpoint(name):
        return tiny.build({**tiny.PAINTERS, **tiny.CAPTIONERS, **tiny.EMBEDDERS}, name, root)

    return checkpoint


@pytest.fixture
def tiny_model(checkpoints, monkeypatch):
    """Loads a registry entry the way a user does who points its name at a folder; `changes` replace its fields."""
    from dataclasses import replace

    from panic_assets.models.load import load
    from panic_assets.registry import registry

    def model(name, **changes):
        monkeypatch.setenv("PANIC_MODEL_PATHS", f"{name}={checkpoints(name)}")
        # The packages that only the published remote code imports are not needed by its stand-in.
        return load(replace(registry.get(name), **({"needs": ()} | changes)))

    return model
