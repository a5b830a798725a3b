"""Every workload, by what the contract promises: nothing that one brings is forgotten anywhere."""

from dataclasses import replace

import dagster as dg
import pytest
from typer.testing import CliRunner

from panic_assets.checks import COMPLETE, VALID, queries
from panic_assets.cli import lazy
from panic_assets.cli.main import COMMANDS, app
from panic_assets.definitions import JOBS, build
from panic_assets.errors import UserError
from panic_assets.lake.schema import Table
from panic_assets.partitions import name_of
from panic_assets.steps import tables_of
from panic_assets.tables import TABLES, open_lake
from panic_assets.training import names
from panic_assets.workload import Command, Drop, Family, Space, Workload
from panic_assets.workloads import FAMILIES, RULES, SPACES, WORKLOADS, _without_clashes

ASSETS = {asset.key.to_user_string(): (workload, asset) for workload in WORKLOADS for asset in workload.graph().assets}
JOB_NAMES = {job.name for job in JOBS}
TABLES_OF_ALL = [table for workload in WORKLOADS for table in workload.tables]
COMMANDS_OF_ALL = [command for workload in WORKLOADS for command in workload.commands]

every_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
every_asset = pytest.mark.parametrize("name", ASSETS)
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=lambda s: s.name)


@pytest.fixture(scope="module")
def check_names() -> set[tuple[str, str]]:
    """(asset, check) of the graph as it is built."""
    keys = build().resolve_asset_graph().asset_check_keys
    return {(key.asset_key.to_user_string(), key.name) for key in keys}


@every_workload
def test_it_says_what_it_is_for(workload: Workload) -> None:
    assert workload.purpose.endswith((".", "?"))
    assert workload.tables
    assert workload.spaces
    assert workload.commands


@pytest.mark.parametrize("table", TABLES_OF_ALL, ids=lambda t: t.name)
def test_every_table_has_a_schema_check_and_an_asset_that_writes_it(
    table: Table, check_names: set[tuple[str, str]]
) -> None:
    writers = [name for name, (_, asset) in ASSETS.items() if table.name in tables_of(asset)]
    assert writers
    for asset in writers:
        assert (asset, f"{table.name}{VALID}") in check_names


@every_asset
def test_every_asset_says_its_tables_and_they_are_known(name: str) -> None:
    _, asset = ASSETS[name]
    tables = tables_of(asset)
    assert tables
    assert set(tables) <= set(TABLES)
    metadata = asset.metadata_by_key[asset.key]
    assert metadata["dagster/table_name"] == tables[0]
    assert [c.name for c in metadata["dagster/column_schema"].columns] == list(TABLES[tables[0]].names)
    assert "dagster/code_references" in metadata


@every_asset
def test_every_asset_has_a_missing_work_query_in_its_space(name: str, check_names: set[tuple[str, str]]) -> None:
    workload, asset = ASSETS[name]
    space = SPACES[name_of(asset.partitions_def)]
    assert space in workload.spaces
    assert name in space.missing
    assert (name, COMPLETE) in check_names


def test_every_missing_work_query_belongs_to_an_asset() -> None:
    assert set(queries()) == set(ASSETS)


@every_space
def test_every_space_answers_on_an_empty_lake_and_can_repair(space: Space, tmp_path) -> None:
    lake = open_lake(tmp_path / "lake")
    assert space.table in TABLES
    assert space.key_column in TABLES[space.table].partitioned_by
    assert space.keys(lake) == set()
    assert list(space.left(lake)) == []
    assert list(space.repair(lake, "k")) == []
    assert space.lease.format("k").endswith("k")


@every_space
def test_what_is_missing_is_made_by_a_job_of_the_space(space: Space) -> None:
    assert space.makes in JOB_NAMES
    made = build().resolve_job_def(space.makes)
    assert name_of(made.partitions_def) == space.name


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_about_a_table(rule: str) -> None:
    table, _, counted, query = RULES[rule]
    assert table in TABLES
    assert counted
    assert table in query


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_every_family_has_the_spine_in_a_space_of_its_own(family: Family) -> None:
    for shared in names.SPINE:
        workload, asset = ASSETS[names.asset(family.name, shared)]
        assert workload.family is family
        assert name_of(asset.partitions_def) == f"{family.name}_run"
    for asset in filter(None, (family.metrics, family.trains)):
        assert ASSETS[asset][0].family is family


@pytest.mark.parametrize("command", [*COMMANDS, *COMMANDS_OF_ALL], ids=lambda c: c.name)
def test_every_command_imports_and_has_help(command: Command) -> None:
    assert command.help.endswith(".")
    lazy.load(command)
    shown = CliRunner().invoke(app, [command.name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Usage: panic" in shown.output


def test_the_help_lists_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for command in (*COMMANDS, *COMMANDS_OF_ALL):
        assert f" {command.name} " in shown


@pytest.mark.parametrize("drop", [d for w in WORKLOADS for d in w.drops], ids=lambda d: d.noun)
def test_every_drop_asks_for_a_job_that_exists(drop: Drop) -> None:
    assert drop.noun
    assert all(suffix.startswith(".") for suffix in drop.suffixes)
    assert drop.job is None or drop.job in JOB_NAMES


@every_workload
def test_its_demo_is_made_of_commands(workload: Workload) -> None:
    known = {command.name for command in COMMANDS_OF_ALL} | {command.name for command in COMMANDS}
    words = [line.split() for line in workload.demo]
    assert {line[1] for line in words if line[0] == "panic"} <= known
    assert all(any(command.name in line for command in workload.commands) for line in words if line[0] == "panic")


def test_jobs_and_sensors_have_names_of_their_own() -> None:
    graphs = [workload.graph() for workload in WORKLOADS]
    for listed in (JOBS, [sensor for graph in graphs for sensor in graph.sensors]):
        listed_names = [one.name for one in listed]
        assert len(listed_names) == len(set(listed_names))
    assert all(isinstance(asset, dg.AssetsDefinition) for graph in graphs for asset in graph.assets)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, "have a name called 'grokking'"),
        ({"name": "other"}, "have a table called"),
        ({"name": "other", "tables": ()}, "have a space called 'grokking_run'"),
        ({"name": "other", "tables": (), "spaces": ()}, "have a family called 'grokking'"),
    ],
)
def test_two_workloads_that_bring_one_name_are_refused(change: dict, sentence: str) -> None:
    grokking = next(workload for workload in WORKLOADS if workload.name == "grokking")
    with pytest.raises(UserError, match=sentence):
        _without_clashes((*WORKLOADS, replace(grokking, **change)))
