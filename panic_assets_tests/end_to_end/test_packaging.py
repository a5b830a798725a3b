"""What is imported is declared, and what is declared is pinned: `make setup` elsewhere gives what runs here."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from panic_assets.settings import PROJECT

DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = importlib.metadata.packages_distributions()
OURS = {"panic_assets", "panic_assets_tests"}


def _names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(r).name) for r in requirements}


BASE = DECLARED["dependencies"]
EXTRAS = DECLARED["optional-dependencies"]
SETUP = [*BASE, *EXTRAS["test"], *EXTRAS["demo"]]
"""What `make setup` asks for."""
TORCH = next(r for r in BASE if Requirement(r).name == "torch")


def _closure(requirements: Iterable[str]) -> set[str]:
    """These distributions and all that they need here, by their own word."""
    todo = list(requirements)
    seen: set[tuple[str, str]] = set()
    while todo:
        wanted = Requirement(todo.pop())
        name = canonicalize_name(wanted.name)
        for extra in {"", *wanted.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            if name == DECLARED["name"]:
                todo += EXTRAS.get(extra, [])
                continue
            for line in importlib.metadata.requires(name) or ():
                marker = Requirement(line).marker
                if marker is None or marker.evaluate({"extra": extra}):
                    todo.append(line)
    return {name for name, _ in seen} - {DECLARED["name"]}


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Top-level packages that a file imports, and whether it does so as soon as it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)
    }
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [str(node.module)]
        for name in names:
            package = name.partition(".")[0]
            if package not in sys.stdlib_module_names and package not in OURS:
                yield package, id(node) not in inside


def _undeclared(folder: str, at_once: set[str], later: set[str]) -> list[str]:
    found = []
    for path in sorted((PROJECT / folder).rglob("*.py")):
        for package, now in _imports(path):
            from_these = set(map(canonicalize_name, DISTRIBUTIONS.get(package, [])))
            if not from_these & (at_once if now else at_once | later):
                found.append(
                    f"{path.relative_to(PROJECT)} imports {package} ({', '.join(from_these) or 'not installed'})"
                )
    return found


def test_the_package_imports_what_it_declares():
    """At once: what everybody gets. Inside a function: an extra will do."""
    assert _undeclared("panic_assets", _names(BASE), _names(chain(*EXTRAS.values()))) == []


def test_the_tests_import_what_make_setup_installs():
    """What is not there at all fails where it is imported, or is meant to."""
    assert [
        found for found in _undeclared("panic_assets_tests", _closure(SETUP), set()) if "not installed" not in found
    ] == []


def test_no_test_imports_another():
    """What tests share lies in a conftest.py or a module without `test_`: a test can be moved or deleted alone."""
    imported = re.compile(r"^\s*(from|import) panic_assets_tests\S*(\.| import )test_", re.M)
    files = [path for folder in ("panic_assets_tests", "benchmarks") for path in (PROJECT / folder).rglob("*.py")]
    assert [str(path) for path in files if imported.search(path.read_text(encoding="utf-8"))] == []


@pytest.fixture(scope="module")
def pins() -> dict[str, Version]:
    lines = (line for line in (PROJECT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line) for line in lines]
    assert all(found), "constraints.txt holds exact versions and nothing else"
    return {canonicalize_name(m[1]): Version(m[2]) for m in found if m}


def test_everything_that_make_setup_installs_is_pinned(pins):
    assert sorted(_closure(SETUP) - set(pins)) == []


def test_pins_fit_what_is_declared(pins):
    for requirement in map(Requirement, chain(BASE, *EXTRAS.values())):
        name = canonicalize_name(requirement.name)
        assert name == DECLARED["name"] or requirement.specifier.contains(pins[name]), requirement


def test_torch_is_asked_for_once_and_the_same_everywhere(pins):
    assert f"{TORCH}\n" in (PROJECT / "Makefile").read_text()
    assert f"torch=={pins['torch']}" == TORCH


def test_make_setup_says_so_when_there_is_no_python_3_11(tmp_path):
    """Run for real, on a copy and with a PATH that has no Python at all."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "bash", "make"):
        path = subprocess.run(
            ["sh", "-c", f"command -v {tool}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        (tools / tool).symlink_to(path)
    done = subprocess.run(
        [tools / "make", "setup"], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Python 3.11 is needed and none is on the PATH" in done.stderr
    assert not (tmp_path / ".venv").exists()
