"""Repair from the Dagster UI."""

import dagster as dg

from panic_assets.doctor import doctor
from panic_assets.house import open_house
from panic_assets.resources import LakeResource


@dg.op(name="repair_op")
def repair_op(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Removes rows, files and keys that break a rule. The orphan sensor or `panic doctor --fix` then has what is missing
    made."""
    house = open_house(context.instance)
    found = doctor.examine(house)
    for finding in found:
        context.log.warning(str(finding))
    for done in doctor.repair(house, found):
        context.log.info(done)
    lake.refresh()


@dg.job(description="Removes rows, files and keys that break a rule, as `panic doctor --fix` does.")
def repair() -> None:
    repair_op()


JOBS = [repair]
