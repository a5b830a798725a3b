"""Names of files that a data set's own folder holds. Anybody may have written them, so they must stay inside of it."""

from pathlib import Path

from panic_assets.errors import UserError, shown


def inside(folder: Path, name: object) -> Path:
    """The file of a data set that `name` names: directly in `folder`, and no link that leads out of it."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise UserError(f"{shown(name)} is not the name of a file in {folder}; nothing was written")
    path = folder / name
    if path.is_symlink() and path.resolve().parent != folder.resolve():
        raise UserError(f"{path} is a link that leads out of {folder}; nothing was written")
    return path
