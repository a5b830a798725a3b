"""Actions: the single changes that an operation is made of. Each names what it changes, as it was when the operation
began, and may be carried out any number of times: what is done already stays, and what came later is left alone.
"""

import errno
import hashlib
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from panic_assets.asleep import asleep
from panic_assets.files import TEMPORARY, replace_by_copy, sync_folder
from panic_assets.instance.hook import without_hook
from panic_assets.lake import generations
from panic_assets.lake.catalogue import build
from panic_assets.lake.lake import Lake
from panic_assets.settings import home

if TYPE_CHECKING:
    import dagster as dg
else:
    dg = asleep("dagster")


@dataclass(frozen=True)
class Stores:
    """What an operation changes: the lake, and Dagster's records unless it changes none."""

    lake: Lake
    instance: "dg.DagsterInstance | None"
    root: Path
    """The home; actions name files in it from here, so that it can be moved."""

    @property
    def records(self) -> "dg.DagsterInstance":
        """Dagster's records, for an action that changes them."""
        assert self.instance is not None
        return self.instance

    def path(self, named: str) -> Path:
        """A file or folder that an action names."""
        return self.root / named

    def name(self, path: Path) -> str:
        """How an action names a file or folder."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path.absolute())


class Action(Protocol):
    """One change. `do` may be interrupted anywhere, and repeated."""

    def do(self, stores: Stores) -> None:
        """Make the change, or what is left of it."""


@dataclass(frozen=True)
class Retire:
    """Take files of a partition off its list. They are kept in the folder `kept`, unless that is empty."""

    table: str
    partition: dict[str, str]
    files: tuple[str, ...]
    kept: str = ""

    def do(self, stores: Stores) -> None:
        kept = stores.path(self.kept) if self.kept else None
        stores.lake.retire(self.table, self.files, kept, **self.partition)


@dataclass(frozen=True)
class Erase:
    """Remove the files of a partition that no longer count, at once and for ever."""

    table: str
    partition: dict[str, str]

    def do(self, stores: Stores) -> None:
        stores.lake.erase(self.table, **self.partition)


@dataclass(frozen=True)
class Bring:
    """List the files that the folder `kept` holds of a partition, unless the partition has been written since."""

    table: str
    partition: dict[str, str]
    kept: str

    def do(self, stores: Stores) -> None:
        stores.lake.bring(self.table, stores.path(self.kept), **self.partition)


@dataclass(frozen=True)
class TakeRows:
    """Take the rows that name a key out of a partition that stays, because it has other rows too."""

    table: str
    partition: dict[str, str]
    files: tuple[str, ...]
    """The files that the partition had."""
    columns: tuple[str, ...]
    key: str
    root: str
    """The table that says whether the key is registered. Empty if no table does."""
    root_column: str
    """The column of `root` that names the key."""
    root_files: tuple[str, ...]
    """The files of the key in `root`. If there are others by then, the key was registered again. Then only rows in `files`
    are taken."""

    def do(self, stores: Stores) -> None:
        lake = stores.lake
        names_it = " OR ".join(f'"{column}" IS NOT DISTINCT FROM ?' for column in self.columns)
        there = lake.manifest(self.root, **{self.root_column: self.key}) if self.root else None
        again = there is not None and any(f.name not in self.root_files for f in there.files)
        only = self.files if again else None
        lake.take_rows(self.table, names_it, [self.key] * len(self.columns), only, **self.partition)


@dataclass(frozen=True)
class AddKeys:
    """Give Dagster partition keys."""

    space: str
    keys: tuple[str, ...]

    def do(self, stores: Stores) -> None:
        known = set(stores.records.get_dynamic_partitions(self.space))
        new = [key for key in self.keys if key not in known]
        if new:
            stores.records.add_dynamic_partitions(self.space, new)


@dataclass(frozen=True)
class DeleteKey:
    """Take a partition key from Dagster. What else goes with it, other actions say."""

    space: str
    key: str

    def do(self, stores: Stores) -> None:
        with without_hook():
            stores.records.delete_dynamic_partition(self.space, self.key)


@dataclass(frozen=True)
class Wipe:
    """Forget that partitions of an asset were materialised."""

    asset: str
    partitions: tuple[str, ...]

    def do(self, stores: Stores) -> None:
        stores.records.wipe_asset_partitions(dg.AssetKey.from_user_string(self.asset), list(self.partitions))


@dataclass(frozen=True)
class Record:
    """Record that partitions of an asset are materialised."""

    asset: str
    partitions: tuple[str, ...]
    description: str

    def do(self, stores: Stores) -> None:
        asset = dg.AssetKey.from_user_string(self.asset)
        known = stores.records.get_materialized_partitions(asset)
        for partition in self.partitions:
            if partition not in known:
                made = dg.AssetMaterialization(asset, partition=partition, description=self.description)
                stores.records.report_runless_asset_event(made)


@dataclass(frozen=True)
class Show:
    """Renew the catalogue. With `at_once`, older ones go without a grace: they hold copies of small tables."""

    at_once: bool = False

    def do(self, stores: Stores) -> None:
        catalogue = home().catalogue
        build(stores.lake, catalogue)
        if self.at_once:
            generations.sweep(catalogue, 0.0)


@dataclass(frozen=True)
class Move:
    """Move a file or folder, unless another one is there now under its name. The target takes the place of nothing."""

    source: str
    target: str
    inode: int

    def do(self, stores: Stores) -> None:
        source, target = stores.path(self.source), stores.path(self.target)
        if not _is(source, self.inode) or target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _move_to_another_disk(source, target)
        sync_folder(target.parent)
        sync_folder(source.parent)


@dataclass(frozen=True)
class Discard:
    """Remove a folder with all that is in it, unless another one is there now under its name."""

    folder: str
    inode: int

    def do(self, stores: Stores) -> None:
        folder = stores.path(self.folder)
        if _is(folder, self.inode):
            shutil.rmtree(folder)


@dataclass(frozen=True)
class Overwrite:
    """Give a file the content of another one, `source`. A file that somebody edited meanwhile stays as it is.

    `before` and `after` are SHA-256 hashes of its content.
    """

    file: str
    before: str
    after: str
    source: str

    def do(self, stores: Stores) -> None:
        file = stores.path(self.file)
        if file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == self.before:
            replace_by_copy(stores.path(self.source), file)


ACTIONS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Retire, Erase, Bring, TakeRows, AddKeys, DeleteKey, Wipe, Record, Show, Move, Discard, Overwrite)
}


def written(action: Any) -> dict[str, Any]:
    """An action as JSON has it."""
    return {"do": type(action).__name__, **asdict(action)}


def read(raw: dict[str, Any]) -> Action:
    """The inverse of `written`."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items() if name != "do"}
    made: Action = ACTIONS[raw["do"]](**fields)
    return made


def inode(path: Path) -> int:
    """What tells a file or folder from another one that takes its name later."""
    return os.stat(path).st_ino


def _move_to_another_disk(source: Path, target: Path) -> None:
    half = target.with_name(target.name + TEMPORARY)
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source, half, symlinks=True)
    half.rename(target)
    shutil.rmtree(source)


def _is(path: Path, number: int) -> bool:
    try:
        return os.lstat(path).st_ino == number
    except FileNotFoundError:
        return False
