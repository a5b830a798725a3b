"""A workload from another package: built as a wheel, installed into a fresh folder, found by its entry point.

The package is `panic_assets_tests/example_workload/`; docs/add_a_workload.md builds it step by step.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from panic_assets import workload
from panic_assets.settings import PROJECT

EXAMPLE = PROJECT / "panic_assets_tests" / "example_workload"
TUTORIAL = PROJECT / "docs" / "add_a_workload.md"


class Installed:
    """A folder with installed packages beside this checkout, a home, and an empty folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.site, self.home, self.work = folder / "site", folder / "home", folder / "work"
        for made in (self.site, self.work / "experiments"):
            made.mkdir(parents=True)

    def python(self, *words: object) -> "subprocess.CompletedProcess[str]":
        """Python, with that folder on its path and no setting of ours but the home."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PANIC_", "DAGSTER_"))}
        path = os.pathsep.join([str(self.site), str(PROJECT), kept.get("PYTHONPATH", "")])
        env = kept | {"PYTHONPATH": path, "PANIC_HOME": str(self.home), "COLUMNS": "200"}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, cwd=self.work, env=env, capture_output=True, text=True, check=False, timeout=300)

    def panic(self, *words: object) -> "subprocess.CompletedProcess[str]":
        return self.python("-m", "panic_assets.cli.main", *words)

    def said(self, code: str) -> dict:
        """What a program prints as its last line, in JSON."""
        done = self.python("-c", code)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    def rows(self, query: str) -> list[dict]:
        """What `panic query` answers."""
        asked = self.panic("query", query, "--format", "json")
        assert asked.returncode == 0, asked.stderr
        return json.loads(asked.stdout)

    def pretend(self, name: str, module: str, entry: str) -> None:
        """Leave what the installation of a package of one module leaves behind."""
        (self.site / f"{name}.py").write_text(module)
        information = self.site / f"{name}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[panic_assets.workloads]\n{name} = {name}:{entry}\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("example")
    made = Installed(folder)
    shutil.copytree(EXAMPLE, folder / "sources")  # A build leaves files beside what it builds.
    offline = ("-q", "--no-deps", "--no-index")
    pip = (sys.executable, "-m", "pip")
    built = folder / "built"
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", built, folder / "sources"], check=True)
    subprocess.run([*pip, "install", *offline, "--target", made.site, *built.glob("*.whl")], check=True)
    return made


@pytest.fixture(scope="module")
def rolled(installed: Installed) -> Installed:
    """The game of the example, rolled by the example's own command."""
    done = installed.panic("dice", "roll", EXAMPLE / "fair.dice.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"fair\W+600\W+3\.52", done.stdout)
    return installed


SEE = """
import json
import dagster as dg
from panic_assets import dictionary
from panic_assets.definitions import defs
from panic_assets.doctor import doctor
from panic_assets.house import open_house
from panic_assets.instance.home import open_instance
from panic_assets.operations import deletion
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import open_lake

graph = defs.resolve_asset_graph()
sensor = next(s for s in defs.sensors if s.name == "dropped_files")
seen = {
    "tables": {a.to_user_string(): graph.get(a).metadata.get("tables") for a in graph.get_all_asset_keys()},
    "checks": [check.to_user_string() for check in graph.asset_check_keys],
    "jobs": [job.name for job in defs.resolve_all_job_defs()],
    "drops": sensor.description,
    "dictionary": dictionary.markdown(),
}
lake = open_lake(home().lake)

def stored():
    return {table: lake.manifest(table, game="fair") is not None for table in ("dice_games", "dice_rolls", "dice_means")}

with open_instance(home()) as instance:
    house = open_house(instance)
    seen["healthy"] = [str(finding) for finding in doctor.examine(house)]

    told = sensor(dg.build_sensor_context(instance, resources={"lake": LakeResource()}, definitions=defs))
    seen["asked"] = [(request.job_name, request.partition_key) for request in told.run_requests]
    seen["refused"] = json.loads(told.cursor)["refused"]
    seen["keys"] = sorted(instance.get_dynamic_partitions("dice_game"))

    lake.rewrite("dice_rolls", "SELECT * FROM dice_rolls WHERE roll % 2 = 0", game="fair")
    seen["ill"] = [finding.sentence for finding in doctor.examine(house)]

    seen["stored"] = [stored()]
    instance.delete_dynamic_partition("dice_game", "fair")
    seen["stored"].append(stored())
    deletion.restore(house, "dice_game", "fair")
    seen["stored"].append(stored())
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(rolled: Installed) -> dict:
    """What one process with Dagster sees and does, after the game was rolled. Starting several would take long."""
    (rolled.work / "experiments" / "dropped.dice.yaml").write_text("rolls: 20\n")
    (rolled.work / "experiments" / "bad.dice.yaml").write_text("side: 6\n")
    return rolled.said(SEE)


def test_its_command_is_listed_and_wakes_no_dagster(installed: Installed) -> None:
    """The workload's file is read by every command, so it must not import what only some need."""
    listed = installed.panic("--help")
    assert re.search(r"dice +Roll dice, and list what was rolled\.", listed.stdout), listed.stderr
    modules = installed.said("import sys, json, panic_assets.workloads; print(json.dumps([*sys.modules]))")
    assert "dice.workload" in modules
    assert "dagster" not in modules


@pytest.mark.slow
def test_what_its_command_makes_is_in_the_catalogue(rolled: Installed) -> None:
    (game,) = rolled.rows("SELECT game, count(*) AS n, max(shown) AS most FROM dice_rolls GROUP BY game")
    assert game == {"game": "fair", "n": 600, "most": 6}
    (surprise,) = rolled.rows("FROM dice_surprises")
    assert surprise["expected"] == 3.5
    assert abs(surprise["surprise"]) < 4


@pytest.mark.slow
def test_it_is_in_the_definitions_and_in_the_dictionary(seen: dict) -> None:
    assert {asset: tables for asset, tables in seen["tables"].items() if asset.startswith("dice")} == {
        "dice_games": ["dice_games"],
        "dice_rolls": ["dice_rolls"],
        "dice_means": ["dice_means"],
    }
    assert sorted(check for check in seen["checks"] if check.startswith("dice")) == [
        "dice_games:dice_games_valid",
        "dice_means:complete",
        "dice_means:dice_means_valid",
        "dice_rolls:complete",
        "dice_rolls:dice_are_fair",
        "dice_rolls:dice_rolls_valid",
    ]
    assert "roll_dice" in seen["jobs"]
    assert "game of dice: *.dice.yaml" in seen["drops"]
    for name in ("dice_games", "dice_rolls", "dice_means", "dice_surprises"):
        assert f"\n### {name}\n" in seen["dictionary"]
    assert "## Dice\n\nAre these dice fair?" in seen["dictionary"]


@pytest.mark.slow
def test_a_dropped_file_is_registered_and_its_job_is_asked_for(seen: dict) -> None:
    assert seen["asked"] == [["roll_dice", "dropped"]]
    assert seen["keys"] == ["dropped", "fair"]
    assert seen["refused"] == {"bad.dice.yaml": "unknown field 'side'; did you mean 'sides'?"}


@pytest.mark.slow
def test_a_key_that_is_deleted_takes_its_rows_along_until_it_is_restored(seen: dict) -> None:
    """The column that names a game is not called as the space is: deletion asks the workload's space for it."""
    before, after, restored = seen["stored"]
    assert set(before.values()) == {True}
    assert set(after.values()) == {False}
    assert restored == before


@pytest.mark.slow
def test_the_doctor_finds_rows_that_are_missing_and_has_them_made(seen: dict, rolled: Installed) -> None:
    assert seen["healthy"] == []
    assert seen["ill"] == [
        "game dropped lacks 20 of 20 rolls",
        "game fair lacks 300 of 600 rolls",
        "game dropped lacks 1 of 1 means",
        "game fair has stale means: what they were made from has changed since",
    ]
    fixed = rolled.panic("doctor", "--fix")
    assert (fixed.returncode, "healthy" in fixed.stdout) == (0, True), fixed.stdout + fixed.stderr
    made = "SELECT game, rolls, (SELECT count(*) FROM dice_rolls r WHERE r.game = m.game) AS n FROM dice_means m ORDER BY 1"
    assert [row["n"] for row in rolled.rows(made)] == [row["rolls"] for row in rolled.rows(made)] == [20, 600]


SECOND = """
from panic_assets.lake.schema import Column, Table
from panic_assets.workload import Graph, Workload

ROLLS = Table("{table}", "Other rolls.", (Column("game", "string", "Name."),), ("game",), ("game",))
WORKLOAD = Workload(name="{name}", purpose="Other rolls.", tables=(ROLLS,), graph=lambda: Graph(assets=[]))
"""


def test_a_workload_that_cannot_be_loaded_is_named_in_one_sentence(tmp_path: Path) -> None:
    broken = Installed(tmp_path)
    broken.pretend("cards", "import a_library_that_nobody_has\n", "WORKLOAD")
    refused = broken.panic("--help")
    said = "Error: the workload cards (cards:WORKLOAD) cannot be loaded: No module named 'a_library_that_nobody_has'; repair or uninstall its package\n"
    assert (refused.returncode, refused.stderr) == (2, said)


def test_an_entry_point_that_names_something_else_is_named_in_one_sentence(tmp_path: Path) -> None:
    other = Installed(tmp_path)
    other.pretend("cards", SECOND.format(name="cards", table="cards"), "ROLLS")
    refused = other.panic("--help")
    assert (refused.returncode, refused.stderr) == (
        2,
        "Error: the entry point cards (cards:ROLLS) names a Table; it must name a Workload\n",
    )


def test_two_workloads_with_one_table_are_refused_in_one_sentence(tmp_path: Path) -> None:
    two = Installed(tmp_path)
    two.pretend("cards", SECOND.format(name="cards", table="hands"), "WORKLOAD")
    two.pretend("poker", SECOND.format(name="poker", table="hands"), "WORKLOAD")
    refused = two.panic("--help")
    said = "Error: two workloads have a table called 'hands'; rename one of them\n"
    assert (refused.returncode, refused.stderr) == (2, said)


def _blocks(page: str) -> Iterator[tuple[str, list[str]]]:
    """File -> lines, for every block of the tutorial that names a file in its first line."""
    for block in re.findall(r"^```\w+\n(.*?)^```", page, re.M | re.S):
        first, *lines = block.splitlines()
        if named := re.fullmatch(r"# (\S+\.(?:py|toml|yaml))", first):
            yield named[1], lines


def test_the_tutorial_shows_the_example_as_it_is() -> None:
    """Every line of a block stands in the file that the block names, in this order. `# for now`: a later step fills it."""
    blocks = list(_blocks(TUTORIAL.read_text(encoding="utf-8")))
    for name, lines in blocks:
        rest = iter((EXAMPLE / name).read_text(encoding="utf-8").splitlines())
        for line in lines:
            assert not line or "# for now" in line or line in rest, f"{name} does not go on with: {line}"
    shown = {name for name, _ in blocks}
    files = (path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml", ".yaml"))
    assert {str(path.relative_to(EXAMPLE)) for path in files} - shown == {"dice/__init__.py"}


def test_the_reference_has_every_field_of_the_contract_and_no_other() -> None:
    page = TUTORIAL.read_text(encoding="utf-8").partition("\n## Reference\n")[2]
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", page, re.M | re.S))
    parts = {
        name: [field.name for field in dataclasses.fields(part)]
        for name, part in vars(workload).items()
        if dataclasses.is_dataclass(part)
    }
    described = {name: re.findall(r"^\| `(\w+)` \|", text, re.M) for name, text in sections.items()}
    assert described == parts
