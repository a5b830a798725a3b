"""The settings: read anew at each use, refused in one sentence, documented from the class, and nowhere else."""

import ast
import re
import subprocess
import sys

import pytest

from panic_assets import variables
from panic_assets.errors import UserError
from panic_assets.settings import PROJECT, home
from panic_assets.variables import Variables

NAMES = [str(field.alias) for field in Variables.model_fields.values()]


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_they_are_read_at_each_use(monkeypatch):
    assert (variables.read().trash_days, variables.read().repair) == (7, False)
    monkeypatch.setenv("PANIC_TRASH_DAYS", "2.5")
    monkeypatch.setenv("PANIC_REPAIR", "1")
    assert (variables.read().trash_days, variables.read().repair) == (2.5, True)
    monkeypatch.setenv("PANIC_TRASH_DAYS", "")
    assert variables.read().trash_days == 7, "an empty variable counts as unset"


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("COMPUTE", "gpu", "auto, in_process, local, ray"),
        ("EXECUTOR", "celery", "in_process, multiprocess, k8s"),
        ("GPU_PRICE", "cheap", "a number of 0 or more"),
        ("GPU_PRICE", "inf", "a number of 0 or more"),
        ("TRASH_DAYS", "-1", "a number of 0 or more"),
        ("REPAIR", "perhaps", "1, 0"),
        ("GPUS", "two", "a count such as 2, or cards separated by commas such as 0,1 or GPU-8f2c"),
        ("GPUS", "0,,x", "a count such as 2, or cards separated by commas such as 0,1 or GPU-8f2c"),
        ("TORCH_COMPILE", "", None),
        ("GPUS", " GPU-8f2c-11, MIG-3/1/0 ", None),
    ],
)
def test_a_wrong_value_is_one_sentence_with_what_is_accepted(monkeypatch, name, value, accepted):
    monkeypatch.setenv(f"PANIC_{name}", value)
    if accepted is None:
        variables.read()
        return
    sentence = rf"^PANIC_{name} is {re.escape(repr(value))}\S* ?.*\(accepted: {re.escape(accepted)}\)$"
    with pytest.raises(UserError, match=sentence):
        variables.read()


def test_a_near_miss_is_suggested(monkeypatch):
    monkeypatch.setenv("PANIC_COMPUTE", "lokal")
    with pytest.raises(UserError, match="did you mean 'local'"):
        variables.read()


def test_the_home_is_in_the_current_folder_unless_it_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert home().root == tmp_path / ".panic"
    monkeypatch.setenv("PANIC_HOME", "there")
    assert home().root == tmp_path / "there"
    (tmp_path / "there").write_text("")
    with pytest.raises(UserError, match=r"^PANIC_HOME is .*, which is a file; name a folder$"):
        home()


def test_the_readme_has_the_settings_as_they_are():
    text = (PROJECT / "README.md").read_text()
    assert variables.page(text) == text, "run python -m panic_assets.settings"
    assert all(f"| `{name}` |" in variables.table() for name in NAMES)


def _read_by(path):
    """What a file reads from the environment, as it is written there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and "environ" in ast.unparse(node.value):
            yield ast.unparse(node.slice)
        if isinstance(node, ast.Call) and ("environ." in (asked := ast.unparse(node.func)) or "getenv" in asked):
            yield ast.unparse(node.args[0]) if node.args else ""


def test_nobody_else_reads_them():
    """Setting one for a child process is fine."""
    reading = {path: list(_read_by(path)) for path in (PROJECT / "panic_assets").rglob("*.py")}
    assert any("HF_HOME" in name for names in reading.values() for name in names), "the look sees who reads"
    own = {path.name for path, names in reading.items() for name in names if "PANIC_" in name or "POSTGRES" in name}
    assert own == {"settings.py"}


def test_the_home_costs_no_pydantic(tmp_path):
    code = "import sys; from panic_assets.settings import home; home(); print('pydantic' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
