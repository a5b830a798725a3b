"""The lake as a Dagster resource."""

import dagster as dg

from panic_assets.lake.catalogue import Refresher, build
from panic_assets.lake.lake import Lake
from panic_assets.settings import Home, home


class LakeResource(dg.ConfigurableResource):
    """The lake and the catalogue of PANIC_HOME. Holds no state: made anew in every process."""

    @property
    def home(self) -> Home:
        """Where everything is."""
        return home()

    @property
    def lake(self) -> Lake:
        """The tables."""
        return Lake(self.home.lake)

    def refresh(self) -> None:
        """Rebuild `panic.duckdb` now."""
        build(self.lake, self.home.catalogue)

    def refresher(self) -> Refresher:
        """Rebuilds `panic.duckdb` from time to time within a long step."""
        return Refresher(self.lake, self.home.catalogue)
