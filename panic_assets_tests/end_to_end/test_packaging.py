"""What is imported is declared, what is declared is pinned, and what is built works without the checkout."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from panic_assets.settings import PROJECT

pytestmark = pytest.mark.slow

DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = importlib.metadata.packages_distributions()
OURS = {"panic_assets", "panic_assets_tests"}
OF_AN_EXTRA = {"panic_assets/instance/postgres.py": "postgres"}
"""Modules that are only imported under `extra(...)`: they import at once what that brings."""


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
        brought = _names(EXTRAS[extra]) if (extra := OF_AN_EXTRA.get(str(path.relative_to(PROJECT)))) else set()
        for package, now in _imports(path):
            from_these = set(map(canonicalize_name, DISTRIBUTIONS.get(package, [])))
            if not from_these & (at_once | brought if now else at_once | later):
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


def test_torch_is_a_range_here_and_the_same_pin_everywhere(pins):
    assert f" torch=={pins['torch']}\n" in (PROJECT / "Makefile").read_text()
    assert pins["torch"] in Requirement(TORCH).specifier


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


BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


class Installed:
    """The wheel in a folder of its own, used from an empty folder. Its dependencies are those of this environment."""

    def __init__(self, folder: Path) -> None:
        self.site, self.work = folder / "site", folder / "work"
        self.work.mkdir()
        built = folder / "built"
        sdist = _build("build_sdist", _sources(folder / "sources"), built)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        (unpacked,) = (folder / "unpacked").iterdir()
        self.wheel = _build("build_wheel", unpacked, built)
        _run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", self.site, self.wheel)

    def run(self, *command: object, cwd: Path | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
        """A process that sees the wheel and not the checkout, and no setting of ours."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PANIC_", "DAGSTER_"))}
        others = [p for p in kept.get("PYTHONPATH", "").split(os.pathsep) if p and Path(p).resolve() != PROJECT]
        path = os.pathsep.join([str(self.site), *others])
        return _run(*command, cwd=cwd or self.work, env=kept | {"PYTHONPATH": path} | more)

    def panic(self, *words: object, cwd: Path | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, self.site / "bin" / "panic", *words, cwd=cwd, **more)


def _run(*command: object, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=150, **options)


def _sources(folder: Path) -> Path:
    """What setuptools looks at, apart from the checkout, which must stay as it is."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "panic_assets", folder / "panic_assets", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _build(what: str, sources: Path, into: Path) -> Path:
    into.mkdir(exist_ok=True)
    before = set(into.iterdir())
    done = _run(sys.executable, "-c", BUILD, what, into, cwd=sources)
    assert done.returncode == 0, done.stderr[-2000:]
    (made,) = set(into.iterdir()) - before
    return made


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_the_wheel_holds_every_file_of_the_package_and_no_test(installed):
    here = {
        str(path.relative_to(PROJECT))
        for path in (PROJECT / "panic_assets").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    there = {
        str(path.relative_to(installed.site))
        for path in installed.site.glob("panic_assets*/**/*")
        if path.is_file() and "__pycache__" not in path.parts and ".dist-info" not in str(path)
    }
    assert there == here


def test_the_installed_command_says_its_version_and_completes_words(installed):
    where = installed.run(sys.executable, "-c", "import panic_assets; print(panic_assets.__file__)").stdout
    assert where.startswith(str(installed.site))
    assert installed.panic("--version").stdout == f"panic {DECLARED['version']}\n"
    typed = {"_PANIC_COMPLETE": "complete_bash", "COMP_WORDS": "panic exp", "COMP_CWORD": "1"}
    assert installed.panic(**typed).stdout.split() == ["experiment", "export"]


def test_an_experiment_is_performed_without_a_checkout(installed):
    made = installed.panic("init", "study")
    assert made.returncode == 0, made.stderr
    study = installed.work / "study"
    (command,) = re.findall(r"panic (experiment perform .*)", made.stdout)
    # Homology modulo 3 is not compiled first: a fresh folder has no compiled code, and that takes half a minute.
    performed = installed.panic(*command.split(), "--field", "3", cwd=study)
    assert performed.returncode == 0, performed.stderr[-2000:]
    asked = installed.panic("query", "SELECT count(*) AS n FROM runs", "--format", "json", cwd=study)
    assert json.loads(asked.stdout) == [{"n": 8}], asked.stderr
    assert sorted(path.name for path in study.iterdir()) == [".panic", "experiments"]
    again = installed.panic("init", "study")
    assert (again.returncode, "study/experiments already exists" in again.stderr) == (2, True)


def test_an_installed_package_names_what_an_extra_consists_of(installed):
    """Never its own name: it is on no index, where anybody could register it."""
    asked = "from panic_assets.extras import command; print(*map(command, ('postgres', 'ray')), sep=chr(10))"
    postgres, ray = installed.run(sys.executable, "-c", asked).stdout.splitlines()
    assert postgres == "pip install 'dagster-postgres<0.30,>=0.29.27' 'psycopg2-binary>=2.9'"
    assert ray == "pip install 'ray[default]<2.61,>=2.60'"


def test_the_examples_of_the_checkout_are_the_packaged_ones():
    """`cp panic_assets/examples/* experiments/examples/` brings them up to date."""
    packaged, copied = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (PROJECT / "panic_assets" / "examples", PROJECT / "experiments" / "examples")
    )
    assert copied == packaged
