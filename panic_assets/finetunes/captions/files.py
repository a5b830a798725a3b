"""A folder of captions: checks it, shows repairs as a diff, and backs files up that are repaired."""

import difflib
import hashlib
import json
import uuid
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from panic_assets.errors import UserError, suggest
from panic_assets.files import appearing
from panic_assets.finetunes.captions import rules as captions
from panic_assets.finetunes.captions.names import inside
from panic_assets.finetunes.pictures.colour import decode

IMAGES = (".png", ".webp", ".jpg", ".jpeg", ".gif", ".bmp")
BACKUPS = ".caption-backups"
AFTER = "after"
BATCH = "batch.json"
UNDONE = "undone.json"


@dataclass(frozen=True)
class CaptionFile:
    """One caption as it is on disk. `picture` is the image of the same stem beside it, if there is one."""

    path: Path
    data: bytes
    picture: Path | None

    @property
    def hash(self) -> str:
        """SHA-256 of the file's bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def text(self) -> str:
        """The caption, without the line ends that close the file."""
        return self.data.decode("utf-8-sig").rstrip("\r\n")


@dataclass(frozen=True)
class Report:
    """What the rules say of one file."""

    file: CaptionFile
    findings: tuple[captions.Finding, ...]


@dataclass(frozen=True)
class Change:
    """A repair not yet made: the file as it is, and the bytes it would have."""

    file: CaptionFile
    after: bytes

    @property
    def diff(self) -> str:
        """The change as a unified diff."""
        before = self.file.data.decode("utf-8-sig").splitlines(keepends=True)
        after = self.after.decode("utf-8-sig").splitlines(keepends=True)
        name = self.file.path.name
        lines = difflib.unified_diff(before, after, f"a/{name}", f"b/{name}")
        return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


@dataclass(frozen=True)
class Entry:
    """One file of an applied batch, by name, with the hashes before and after."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Batch:
    """Repairs that are made together, and can be undone together."""

    id: str
    entries: tuple[Entry, ...]

    def folder(self, captions: Path) -> Path:
        """Where its backup is: the files as they were under their names, and as they become in `after`."""
        return captions / BACKUPS / self.id


def load(folder: Path) -> list[CaptionFile]:
    """Every `.txt` of a folder (not of its subfolders), by name."""
    if not folder.is_dir():
        raise UserError(f"captions folder {folder} is not a folder; give the path of an existing one")
    found = []
    for path in sorted(folder.glob("*.txt")):
        data = path.read_bytes()
        try:
            data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text; save it as UTF-8 ({error})") from None
        picture = next((p for s in IMAGES if (p := path.with_suffix(s)).exists()), None)
        found.append(CaptionFile(path, data, picture))
    if not found:
        raise UserError(f"captions folder {folder} has no .txt file; every caption must be a .txt file in it")
    return found


def set_hash(files: Iterable[CaptionFile]) -> str:
    """What identifies a caption version: the hash over all names and contents."""
    joined = "\n".join(f"{f.path.name}\0{f.hash}" for f in files)
    return hashlib.sha256(joined.encode()).hexdigest()


def _picture(file: CaptionFile) -> tuple[captions.Picture | None, list[captions.Finding]]:
    """The picture, or what is wrong with it: the caption is then checked without."""
    if file.picture is None:
        return None, []
    try:
        return captions.Picture.of(decode(file.picture.read_bytes())), []
    except (UserError, OSError) as error:
        said = f"the picture {file.picture.name} cannot be read: {error}"
        return None, [captions.Finding("picture", 1, said, "replace the picture")]


def _checked(file: CaptionFile, rules: captions.Rules) -> Report:
    picture, unreadable = _picture(file)
    return Report(file, (*unreadable, *captions.check(file.text, rules, picture)))


def check(files: Iterable[CaptionFile], rules: captions.Rules) -> list[Report]:
    """The findings of every file; files without any are in the list too."""
    return [_checked(file, rules) for file in files]


def repairs(files: Iterable[CaptionFile], rules: captions.Rules) -> list[Change]:
    """The changes that would repair what can be repaired; nothing is written. Line ends and marks are kept."""
    changes = []
    for file in files:
        after = captions.repaired(file.text, rules, _picture(file)[0])
        if after != file.text:
            whole = file.data.decode("utf-8-sig")
            mark = b"\xef\xbb\xbf" if file.data.startswith(b"\xef\xbb\xbf") else b""
            changes.append(Change(file, mark + (after + whole[len(file.text) :]).encode()))
    return changes


def back_up(folder: Path, changes: Collection[Change]) -> Batch:
    """Writes down what changes would do, and keeps the files as they are. Refused when one has changed since it was read."""
    for change in changes:
        if not change.file.path.exists() or change.file.path.read_bytes() != change.file.data:
            raise UserError(f"{change.file.path} has changed since it was checked, so nothing was written; check again")
    made = Batch(
        uuid.uuid4().hex[:12],
        tuple(Entry(c.file.path.name, c.file.hash, hashlib.sha256(c.after).hexdigest()) for c in changes),
    )
    backup = made.folder(folder)
    (backup / AFTER).mkdir(parents=True)
    for change in changes:
        _write(backup / change.file.path.name, change.file.data)
        _write(backup / AFTER / change.file.path.name, change.after)
    _write(backup / BATCH, json.dumps(asdict(made), indent=1).encode())
    return made


def batches(folder: Path) -> list[str]:
    """Batches that can be undone, oldest first."""
    found = (folder / BACKUPS).glob(f"*/{BATCH}")
    return [p.parent.name for p in sorted(found, key=lambda p: (p.stat().st_mtime_ns, p))]


def batch(folder: Path, batch_id: str, told: str = BATCH) -> Batch:
    """What was written down of a batch; `told` is UNDONE for one that was undone."""
    raw = json.loads((folder / BACKUPS / batch_id / told).read_text())
    return Batch(batch_id, tuple(Entry(**e) for e in raw["entries"]))


def undoable(folder: Path, batch_id: str) -> Batch:
    """The batch of that id. Refused when one of its files was edited since: undoing would lose that edit."""
    file = folder / BACKUPS / batch_id / BATCH
    if not file.exists():
        known = batches(folder)
        raise UserError(
            f"there is no repair {batch_id!r} to undo{suggest(batch_id, known)} (accepted: {', '.join(known) or 'none'})"
        )
    found = batch(folder, batch_id)
    for entry in found.entries:
        path = inside(folder, entry.name)
        kept = inside(found.folder(folder), entry.name)
        if not kept.is_file() or hashlib.sha256(kept.read_bytes()).hexdigest() != entry.before:
            raise UserError(f"the backup {kept} is gone or was changed, so nothing was written")
        now = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
        if now not in (entry.before, entry.after):
            raise UserError(
                f"{path} was edited after repair {batch_id}; undoing the repair would lose that edit, so nothing was "
                "written"
            )
    return found


def _write(path: Path, data: bytes) -> None:
    with appearing(path) as out:
        out.write(data)
