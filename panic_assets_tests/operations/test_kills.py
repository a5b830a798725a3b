"""Every operation of several steps is killed before every single change that it makes to the disk, then asked for again.

What is there afterwards is what is there after an operation that nobody interrupted. `python -m benchmarks.chaos` does the
same to whole experiments.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from panic_assets.errors import UserError
from panic_assets.finetunes import stages as finetune_stages
from panic_assets.finetunes.captions.rules import Rules
from panic_assets.house import open_house
from panic_assets.instance.home import open_instance
from panic_assets.instance.hook import without_hook
from panic_assets.lake.lake import Lake
from panic_assets.operations import deletion, journal, operation
from panic_assets.resources import LakeResource
from panic_assets.settings import home
from panic_assets.tables import TABLES, open_lake
from panic_assets.training import registration as run_registration
from panic_assets.training import removal, runs
from panic_assets.training.lineage import Parent
from panic_assets.trajectories import registration
from panic_assets_tests.killing import interrupted, killed_before
from panic_assets_tests.operations import game
from panic_assets_tests.trajectories.world import definition

RUNS = "training_run"
"""The space of people's own training loops."""


def already(work: Callable[[], object], *said: str) -> None:
    """Ask for something. That it was done before is as good."""
    try:
        work()
    except UserError as error:
        if not any(words in str(error) for words in said):
            raise


# --- games: the operations on any workload's keys -------------------------------------------------


def games(instance: dg.DagsterInstance) -> None:
    game.play(game.house(instance), "chess", "go")


def one_game(instance: dg.DagsterInstance) -> None:
    game.play(game.house(instance), "chess")


def deleted_game(instance: dg.DagsterInstance) -> None:
    games(instance)
    delete(instance)


def delete(instance: dg.DagsterInstance, purge: bool = False) -> None:
    house = game.house(instance)
    already(lambda: deletion.run(house, deletion.plan(house, "game", "chess", purge)), "there is no game")


def purge(instance: dg.DagsterInstance) -> None:
    delete(instance, purge=True)


def restore(instance: dg.DagsterInstance) -> None:
    already(lambda: deletion.restore(game.house(instance), "game", "chess"), "it was purged, restored")


# --- experiments and training runs ----------------------------------------------------------------


def register(instance: dg.DagsterInstance) -> None:
    wanted = definition("new", embedding_models=["DummyText", "DummyVision"])
    registration.add(LakeResource(), instance, wanted)


def register_run(instance: dg.DagsterInstance, name: str = "new", parent: Parent | None = None) -> None:
    folder = home().root / "training" / name
    runs.register(open_lake(home().lake), runs.NewRun(name, "training", {"rate": 1}, str(folder), parent))
    run_registration.add_keys(instance, "training", [name])


def family_of_runs(instance: dg.DagsterInstance) -> None:
    """A run with files of its own, from which another one started."""
    register_run(instance, "parent")
    folder = home().root / "training" / "parent"
    folder.mkdir(parents=True)
    (folder / "one.safetensors").write_bytes(b"weights")
    open_lake(home().lake).replace("checkpoints", [checkpoint(folder)], training_run="parent")
    register_run(instance, "child", Parent("parent", 1))


def checkpoint(folder: Path) -> dict[str, Any]:
    known: dict[str, Any] = {
        "epoch": 1,
        "version": 1,
        "path": str(folder / "one.safetensors"),
        "training_run": "parent",
    }
    usual: dict[str, Any] = {"string": "x", "int32": 1, "int64": 1, "float64": 1.0, "timestamp": datetime.now(UTC)}
    columns = TABLES["checkpoints"].columns
    return {c.name: known.get(c.name, None if c.nullable else usual.get(c.type)) for c in columns} | {"current": True}


def delete_parent(instance: dg.DagsterInstance) -> None:
    already(lambda: removal.delete(open_house(instance), "parent", "tombstone"), "is deleted; only its name")


def deleted_parent(instance: dg.DagsterInstance) -> None:
    family_of_runs(instance)
    delete_parent(instance)


def restore_parent(instance: dg.DagsterInstance) -> None:
    already(lambda: removal.restore(open_house(instance), "parent"), "it was purged, restored")


def orphaned_child(instance: dg.DagsterInstance) -> None:
    family_of_runs(instance)
    lake = open_lake(home().lake)
    lake.remove("training_runs", training_run="parent")
    lake.remove("checkpoints", training_run="parent")
    shutil.rmtree(home().root / "training" / "parent")
    with without_hook():
        instance.delete_dynamic_partition(RUNS, "parent")


def bury(instance: dg.DagsterInstance) -> None:
    removal.bury(open_house(instance), runs.unknown(runs.get(open_lake(home().lake), "child")))


# --- captions -------------------------------------------------------------------------------------


def captions(_: dg.DagsterInstance) -> None:
    folder = home().root / "captions"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.txt").write_text("pixel art portrait,  navy jackett")


def repair(_: dg.DagsterInstance) -> None:
    lake, folder = open_lake(home().lake), home().root / "captions"
    changes = finetune_stages.proposed_repairs(lake, folder, Rules())
    if changes:
        finetune_stages.repair_captions(lake, folder, changes)


def repaired(instance: dg.DagsterInstance) -> None:
    captions(instance)
    repair(instance)


def undo(_: dg.DagsterInstance) -> None:
    folder = home().root / "captions"
    [batch] = (p.name for p in (folder / ".caption-backups").iterdir())
    already(lambda: finetune_stages.undo_repair(open_lake(home().lake), folder, batch), "there is no repair")


@dataclass(frozen=True)
class Case:
    """What is there before, and what is asked for."""

    prepare: Callable[[dg.DagsterInstance], object]
    ask: Callable[[dg.DagsterInstance], object]
    lake: Callable[[Path], Lake] = open_lake


def _games(root: Path) -> Lake:
    return Lake(root, game.TABLES)


CASES = {
    "delete": Case(games, delete, _games),
    "purge the last": Case(one_game, purge, _games),
    "restore": Case(deleted_game, restore, _games),
    "register an experiment": Case(lambda _: None, register),
    "register a run": Case(lambda _: None, register_run),
    "delete a parent": Case(family_of_runs, delete_parent),
    "restore a parent": Case(deleted_parent, restore_parent),
    "bury a parent": Case(orphaned_child, bury),
    "repair captions": Case(captions, repair),
    "undo a repair": Case(repaired, undo),
}
FRESH = ("run_id",)
"""Columns, beside times, that every making fills anew."""


def seen(instance: dg.DagsterInstance, lake: Lake) -> dict[str, Any]:
    """Everything that a user can see of a home, without what every making gives anew."""
    found: dict[str, Any] = {}
    for name, table in lake.tables.items():
        if list(lake.partitions(name)):
            listed = ", ".join(f'"{c}"' for c in table.names if not c.endswith("_at") and c not in FRESH)
            found[name] = sorted(map(str, lake.sql(f"SELECT {listed} FROM {name}").to_pylist()))
    spaces = ("game", "league", "experiment", "embedding_model", RUNS)
    found["keys"] = {space: sorted(instance.get_dynamic_partitions(space)) for space in spaces}
    assets = (*game.GRAPH.get_all_asset_keys(), dg.AssetKey("training_runs"))
    found["made"] = {key.to_user_string(): sorted(instance.get_materialized_partitions(key)) for key in assets}
    found["open"] = operation.unfinished(home())
    found["kept"] = sorted((d.key, d.purge, d.state, d.trash(home()).exists()) for d in journal.read(home()))
    for folder in ("training", "captions"):
        files = (p for p in (home().root / folder).rglob("*") if p.is_file() and ".caption-backups" not in p.parts)
        found[folder] = {str(p.relative_to(home().root)): p.read_bytes() for p in files}
    found["undoable"] = len(list((home().root / "captions").rglob("undone.json")))
    return found


@contextmanager
def opened(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of a home. It opens its files anew for everything that it is asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANIC_HOME", str(folder))
        patch.setenv("DAGSTER_HOME", str(folder / "dagster"))
        with open_instance(home()) as instance:
            yield instance


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_killed_anywhere_and_asked_again_it_ends_as_if_nobody_had_interrupted(tmp_path: Path, name: str) -> None:
    case, prepared, folder, notes = CASES[name], tmp_path / "prepared", tmp_path / "home", tmp_path / "notes"
    with opened(folder) as instance:
        # Dagster makes its file for events without a run once, and remembers that it is there.
        instance.report_runless_asset_event(dg.AssetMaterialization("any"))
        case.prepare(instance)
        shutil.copytree(folder, prepared)
        lake = case.lake(home().lake)

        case.ask(instance)
        wanted, change = seen(instance, lake), 0
        assert wanted["open"] == []
        killed = True
        while killed:
            shutil.rmtree(folder)
            shutil.copytree(prepared, folder)
            change += 1
            killed = killed_before(lambda: case.ask(instance), change, notes)
            if killed:
                case.ask(instance)
            assert seen(instance, lake) == wanted, f"killed before change {change}"
        assert change > 3


def test_a_run_whose_deletion_was_interrupted_is_registered_only_after_that(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as instance:
        register_run(instance, "again")
        interrupted(lambda: removal.delete(open_house(instance), "again"))
        with pytest.raises(UserError, match="the deletion of training run again was interrupted, and must be finished"):
            register_run(instance, "again")
        [said] = operation.finish_all(operation.stores(open_lake(home().lake), instance))
        assert said == "finished the deletion of training run again, which had been interrupted"
        register_run(instance, "again")
        assert list(operation.finish_all(operation.stores(open_lake(home().lake), instance))) == []
        assert runs.get(open_lake(home().lake), "again")["status"] == "registered"
