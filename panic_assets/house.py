"""The house of PANIC_HOME: its lake with the tables of all workloads, their asset graph and their spaces."""

import dagster as dg

from panic_assets.operations.house import House
from panic_assets.settings import home
from panic_assets.tables import open_lake
from panic_assets.workloads import SPACES, asset_graph


def open_house(instance: dg.DagsterInstance) -> House:
    """What operations work on, for whoever has Dagster's instance open."""
    return House(open_lake(home().lake), instance, asset_graph(), SPACES)
