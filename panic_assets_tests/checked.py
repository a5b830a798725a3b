"""What an asset check says of one partition, without a run around it."""

from types import SimpleNamespace

import dagster as dg

from panic_assets.checks import checks_of
from panic_assets.resources import LakeResource


def checked(asset: dg.AssetsDefinition, check: str, key: str) -> dg.AssetCheckResult:
    """One of the checks that every asset gets from its tables and its missing-work query."""
    found = checks_of(asset)
    (asked,) = [k for k in found.check_keys if k.name == check]
    context = SimpleNamespace(partition_key=key, selected_asset_check_keys={asked})
    (told,) = found.op.compute_fn.decorated_fn(context, LakeResource())
    return told
