"""The whole graph as text, to be compared with `graph.json`. `python -m panic_assets_tests.snapshot` makes it again."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

PATH = Path(__file__).with_name("graph.json")


def _partitions(space: dg.PartitionsDefinition | None) -> str | None:
    if isinstance(space, dg.DynamicPartitionsDefinition):
        return f"dynamic {space.name}"
    return space and type(space).__name__.removesuffix("PartitionsDefinition").lower()


def _label(condition: dg.AutomationCondition | None) -> str | None:
    return condition and (condition.get_label() or type(condition).__name__)


def graph(defs: dg.Definitions) -> dict[str, Any]:
    """Assets, checks, jobs, sensors and schedules, with what a user or an operator would notice changing."""
    repository = defs.get_repository_def()
    assets = {}
    for key in sorted(repository.asset_graph.get_all_asset_keys(), key=str):
        node = repository.asset_graph.get(key)
        if not node.is_materializable:
            continue
        assets[key.to_user_string()] = {
            "deps": sorted(k.to_user_string() for k in node.parent_keys),
            "group": node.group_name,
            "partitions": _partitions(node.partitions_def),
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "tags": {k: v for k, v in sorted(node.tags.items()) if not k.startswith("dagster/")},
            "pools": sorted(node.pools or ()),
            "automation": _label(node.automation_condition),
            "described": bool(node.description),
            "versioned": node.code_version is not None,
        }
    checks = {
        f"{spec.asset_key.to_user_string()}:{spec.name}": _partitions(spec.partitions_def)
        for spec in (repository.asset_graph.get_check_spec(k) for k in repository.asset_graph.asset_check_keys)
    }
    return {
        "assets": assets,
        "checks": dict(sorted(checks.items())),
        "jobs": sorted(n for n in repository.job_names if not n.startswith("__")),
        "sensors": sorted(s.name for s in repository.sensor_defs),
        "schedules": sorted(s.name for s in repository.schedule_defs),
    }


def text() -> str:
    """The graph of `panic_assets.definitions` as JSON."""
    from panic_assets.definitions import defs

    return json.dumps(graph(defs), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
