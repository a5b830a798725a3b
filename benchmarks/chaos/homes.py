"""Homes that are prepared once and copied for every trial, and what a user can see of one."""

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.chaos.commands import Failed, environment, started
from panic_assets.doctor import doctor
from panic_assets.house import open_house
from panic_assets.instance.home import open_instance
from panic_assets.lake import generations
from panic_assets.operations import operation
from panic_assets.settings import home
from panic_assets.workloads import SPACES, asset_graph

Words = tuple[str, ...]
Seen = dict[str, Any]


class Workspace:
    """A folder with the files of the trials, and the one home where all of them work: paths are stored in its rows."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "home"
        self._prepared: dict[tuple[Words, ...], Path] = {}

    def after(self, *commands: Words) -> Path:
        """A home in which these commands were performed, made once."""
        if commands not in self._prepared:
            kept = self.root / "prepared" / str(len(commands)) / "-".join(word for words in commands for word in words)
            if commands:
                self.place(self.after(*commands[:-1]))
                with started(commands[-1], environment(self.home)) as running:
                    running.ended().well()
                shutil.copytree(self.home, kept, symlinks=True)
            else:
                kept.mkdir(parents=True)
            self._prepared[commands] = kept
        return self._prepared[commands]

    def place(self, prepared: Path) -> None:
        """Make the home a copy of a prepared one."""
        self.home.mkdir(exist_ok=True)
        for path in self.home.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.copytree(prepared, self.home, symlinks=True, dirs_exist_ok=True)

    def seen(self, **more: str) -> Seen:
        """What a user can see of the home. Fails when it is not whole."""
        with _opened(self.home, more) as instance:
            return _seen(instance)


@contextlib.contextmanager
def _opened(folder: Path, more: Mapping[str, str]) -> Iterator[dg.DagsterInstance]:
    before = dict(os.environ)
    os.environ.update(environment(folder, DAGSTER_HOME=str(folder / "dagster"), **more))
    try:
        with open_instance(home()) as instance:
            yield instance
    finally:
        os.environ.clear()
        os.environ.update(before)


def _seen(instance: dg.DagsterInstance) -> Seen:
    house = open_house(instance)
    wrong = [finding.sentence for finding in doctor.examine(house) if finding.kind != "stale"]
    left = [begun.sentence for begun in operation.unfinished(home())]
    if wrong or left:
        raise Failed(f"the doctor finds: {'; '.join(wrong + left)}")
    tables = {}
    for name in house.lake.tables:
        if list(house.lake.partitions(name)):
            rows = house.lake.sql(f"SELECT * FROM {name}").to_pylist()
            tables[name] = [{column: _text(value) for column, value in row.items()} for row in rows]
    with generations.opened(home().catalogue) as catalogue:
        counted = {name: catalogue.sql(f'SELECT count(*) FROM "{name}"').fetchall()[0][0] for name in tables}
    behind = [name for name, rows in tables.items() if counted[name] != len(rows)]
    if behind:
        raise Failed(f"the catalogue is behind the lake in: {', '.join(behind)}")
    assets = sorted(asset_graph().get_all_asset_keys())
    return {
        "tables": tables,
        "keys": {space: sorted(instance.get_dynamic_partitions(space)) for space in SPACES},
        "made": {key.to_user_string(): sorted(instance.get_materialized_partitions(key)) for key in assets},
    }


def _text(value: Any) -> str:
    return json.dumps(value, default=repr, sort_keys=True)


@dataclass(frozen=True)
class Wanted:
    """What is there after work that nobody interrupted, without what every making gives anew."""

    seen: Seen
    anew: Mapping[str, frozenset[str]]
    """Columns by table."""

    @classmethod
    def of(cls, first: Seen, second: Seen) -> "Wanted":
        """Two uninterrupted results say what differs anyway."""
        anew = {}
        for name, rows in first["tables"].items():
            others = second["tables"].get(name, [])
            columns = rows[0] if rows else ()
            anew[name] = frozenset(c for c in columns if _column(rows, c) != _column(others, c))
        wanted = cls(first, anew)
        wanted.compare(second)
        return wanted

    def compare(self, found: Seen) -> None:
        """Fail unless the result is the same."""
        for part in ("keys", "made"):
            if found[part] != self.seen[part]:
                raise Failed(f"{part} differ: {_difference(self.seen[part], found[part])}")
        for name in sorted(set(self.seen["tables"]) | set(found["tables"])):
            wanted, rows = (_rows(seen["tables"].get(name, []), self.anew.get(name, ())) for seen in (self.seen, found))
            if wanted != rows:
                lacking, surplus = wanted - rows, rows - wanted
                example = next(iter(lacking or surplus))
                raise Failed(
                    f"table {name}: {lacking.total()} of {wanted.total()} rows lack, {surplus.total()} are there too "
                    f"much, such as {str(example)[:300]}"
                )


def _column(rows: Sequence[Mapping[str, str]], column: str) -> Counter:
    return Counter(row.get(column) for row in rows)


def _rows(rows: Sequence[Mapping[str, str]], without: Any) -> Counter:
    return Counter(tuple((c, v) for c, v in row.items() if c not in without) for row in rows)


def _difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    return "; ".join(f"{k}: {wanted.get(k)} became {found.get(k)}" for k in wanted if wanted[k] != found.get(k))
