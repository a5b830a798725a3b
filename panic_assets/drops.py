"""Registers files that people put into the watched folder. The workload that knows the kind of a file registers it. Each
version of a file is tried once. A file that is refused is named with the reason, and never stops the others."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from panic_assets import problems, variables
from panic_assets.errors import UserError
from panic_assets.problems import Problem, sentence
from panic_assets.reading import read_bytes
from panic_assets.resources import LakeResource
from panic_assets.workload import Drop, kind_of

SOURCE = "dropped_files"


def digest(path: Path) -> str:
    """What a file holds, as a hash; a UserError when it cannot be read."""
    if path.is_dir():
        raise UserError("it is a folder; only a file of this name can be registered")
    try:
        path.stat()
    except FileNotFoundError:
        raise UserError("it is a link to a file that is not there") from None
    except OSError as error:
        raise UserError(f"it cannot be read: {error.strerror}") from None
    return hashlib.sha256(read_bytes(path)).hexdigest()


def sensor(drops: Sequence[Drop], jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor that watches the folder for files of these kinds."""
    kinds = "; ".join(f"{d.noun}: *{', *'.join(d.suffixes)}" for d in drops)

    @dg.sensor(
        name=SOURCE,
        jobs=[job for job in jobs if job.name in {d.job for d in drops}],
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Registers files that are put into the folder experiments/ ({kinds}), and starts their jobs. Each "
        "version of a file is tried once. A file that is refused is a row of table `problems`, with the reason.",
    )
    def dropped_files(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        cursor = json.loads(context.cursor or "{}")
        folder = variables.read().experiments
        present = {path.name: path for path in sorted(folder.glob("*")) if kind_of(path, drops)}
        tried: dict[str, str] = {name: seen for name, seen in cursor.get("tried", {}).items() if name in present}
        refused: dict[str, str] = {name: why for name, why in cursor.get("refused", {}).items() if name in present}
        requests, changed = [], False
        for name, path in present.items():
            drop = kind_of(path, drops)
            assert drop is not None
            try:
                seen = digest(path)
            except UserError as error:
                tried[name] = refused[name] = str(error)
                continue
            if tried.get(name) == seen:
                continue
            tried[name], changed = seen, True
            refused.pop(name, None)
            try:
                keys = drop.register(lake, context.instance, path)
            except Exception as error:  # One bad file never stops the others.
                refused[name] = sentence(error)
                if not isinstance(error, UserError):
                    context.log.exception(f"{name} could not be registered as {drop.noun}")
            else:
                # Without a run key: neither a tick that died here nor a deletion may prevent the job.
                requests += [dg.RunRequest(job_name=drop.job, partition_key=key) for key in keys if drop.job]
        met = [Problem(str(present[name]), why) for name, why in refused.items()]
        for problem in problems.report(lake.lake, SOURCE, met):
            context.log.error(f"{problem.item} is refused: {problem.problem}")
            changed = True
        if changed:
            lake.refresh()
        after = json.dumps({"tried": tried, "refused": refused})
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=after)
        context.update_cursor(after)
        said = "; ".join(f"{name} is refused: {why}" for name, why in refused.items())
        return dg.SkipReason(said or f"there is no new file in {folder}")

    return dropped_files
