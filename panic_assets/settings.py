"""Where things live. A path is computed here, never created.

All other settings are `variables.read()`. `python -m panic_assets.settings` writes their table into the README.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from panic_assets.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout, for the generated pages of the documentation and for tests. An installed package has none."""


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
    def operations(self) -> Path:
        """Operations of several steps that are not done yet, so that an interrupted one is finished."""
        return self.root / "operations"

    @property
    def deletions(self) -> Path:
        """The journal of deletions, so that one can be undone."""
        return self.root / "deletions"


def home() -> Home:
    """The home that PANIC_HOME names, else `.panic` in the current folder.

    Read here and not through `variables`, which takes longer to import than a query takes.
    """
    named = os.environ.get("PANIC_HOME")
    if not named:
        return Home(Path.cwd() / ".panic")
    root = Path(named).expanduser().resolve()
    if root.exists() and not root.is_dir():
        raise UserError(f"PANIC_HOME is {root}, which is a file; name a folder")
    return Home(root)


def _write_table() -> None:
    """Brings the settings table of the README up to date."""
    from panic_assets import variables

    page = PROJECT / "README.md"
    page.write_text(variables.page(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _write_table()
