import subprocess
import sys

import pytest

from panic_assets.compute.choose import compute_from_environment
from panic_assets.errors import UserError


@pytest.mark.parametrize(
    ("choice", "cards", "expected"),
    [
        (None, "0", "InProcessCompute"),
        ("", "0", "InProcessCompute"),
        ("auto", "1", "LocalCompute"),
        ("auto", "4", "LocalCompute"),
        ("in_process", "4", "InProcessCompute"),
        ("local", "0", "LocalCompute"),
    ],
)
def test_the_setting_chooses(monkeypatch, choice, cards, expected):
    monkeypatch.setenv("PANIC_GPUS", cards)
    monkeypatch.delenv("PANIC_COMPUTE", raising=False)
    if choice is not None:
        monkeypatch.setenv("PANIC_COMPUTE", choice)
    assert type(compute_from_environment()).__name__ == expected


def test_an_unknown_choice_is_refused(monkeypatch):
    monkeypatch.setenv("PANIC_COMPUTE", "lokal")
    with pytest.raises(UserError, match=r"PANIC_COMPUTE is 'lokal'; did you mean 'local'.*in_process, local, ray"):
        compute_from_environment()


def test_choosing_wakes_no_heavy_library():
    script = (
        "import sys; from panic_assets.compute.choose import compute_from_environment; compute_from_environment();"
        "print(sorted({'torch', 'numpy', 'ray', 'transformers', 'dagster'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
