"""What stages are given by Dagster: the lake, where models run, and whom to tell about progress."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from panic_assets.compute.choose import compute_from_environment
from panic_assets.compute.protocol import Compute
from panic_assets.lake.catalogue import Refresher, build
from panic_assets.lake.lake import Lake
from panic_assets.progress import Observations, Watcher
from panic_assets.settings import Home, home
from panic_assets.tables import open_lake


class LakeResource(dg.ConfigurableResource):
    """The lake and the catalogue of PANIC_HOME. It holds no state: every process makes its own."""

    @property
    def home(self) -> Home:
        """Where everything is."""
        return home()

    @property
    def lake(self) -> Lake:
        """The tables."""
        return open_lake(self.home.lake)

    def refresh(self) -> None:
        """Rebuild `panic.duckdb` now."""
        build(self.lake, self.home.catalogue)

    def refresher(self) -> Refresher:
        """A throttled rebuild for the inside of a long stage."""
        return Refresher(self.lake, self.home.catalogue)


class ProgressResource(dg.ConfigurableResource):
    """Who watches long stages. By default the Dagster UI, as observations; the command line brings its own."""

    def watcher(self, context: dg.AssetExecutionContext) -> Watcher:
        """Where this stage reports."""
        return Observations(context)


@dg.resource(description="Where models run. PANIC_COMPUTE chooses: auto, in_process, local or ray.")
def compute(_: dg.InitResourceContext) -> Iterator[Compute]:
    """Chosen from the environment; closed with the step, so that no worker outlives it."""
    chosen = compute_from_environment()
    try:
        yield chosen
    finally:
        chosen.close()


RESOURCES: dict[str, Any] = {"lake": LakeResource(), "compute": compute, "progress": ProgressResource()}
