"""Where things live, and the few settings that come from the environment.

Nothing here touches the disk: a path is computed, never created.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from panic_assets.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """The one directory that holds everything the platform stores; removing it starts afresh."""

    root: Path

    @property
    def lake(self) -> Path:
        """Parquet files and their manifests."""
        return self.root / "lake"

    @property
    def catalogue(self) -> Path:
        """The DuckDB file analysts open, read-only."""
        return self.root / "panic.duckdb"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"

    @property
    def locks(self) -> Path:
        """File locks: leases on units of work and on GPUs."""
        return self.root / "locks"

    @property
    def deletions(self) -> Path:
        """Journals of deletions, so that an interrupted one is finished."""
        return self.root / "deletions"


def home() -> Home:
    """The home named by PANIC_HOME, else `.panic` in the project (in the working folder if installed)."""
    named = os.environ.get("PANIC_HOME")
    if named:
        root = Path(named).expanduser().resolve()
        if root.exists() and not root.is_dir():
            raise UserError(f"PANIC_HOME is {root}, which is a file; name a folder")
        return Home(root)
    base = PROJECT if (PROJECT / "pyproject.toml").exists() else Path.cwd()
    return Home(base / ".panic")


def experiments_folder() -> Path:
    """Where files are dropped to be taken up: PANIC_EXPERIMENTS, else `experiments/` in the project."""
    return Path(os.environ.get("PANIC_EXPERIMENTS") or PROJECT / "experiments")


def number(name: str, default: float) -> float:
    """A numeric setting from the environment; a sentence instead of a traceback when it is no number."""
    text = os.environ.get(name)
    if text is None or text == "":
        return default
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{name} is {text!r}; it must be a number") from None
