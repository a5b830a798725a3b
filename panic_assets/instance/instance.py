"""The instance class that dagster.yaml names: deleting a partition key starts the deletion cascade."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from dagster import DagsterInstance
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData

from panic_assets.instance.hook import hook_is_off, without_hook
from panic_assets.instance.storage import dagster_home

logger = logging.getLogger(__name__)


class PanicInstance(DagsterInstance):
    """Dagster's instance. Deleting a partition key also deletes everything made from it."""

    @staticmethod
    def config_schema() -> Mapping[str, Any]:
        """No settings of its own in dagster.yaml (Dagster asks every instance class)."""
        return {}

    @staticmethod
    def config_defaults(base_dir: str) -> Mapping[str, ConfigurableClassData | None]:
        """Dagster's own defaults for everything dagster.yaml does not mention. Without a DAGSTER_HOME, Dagster proposes
        a folder that it removes at the end; logs of steps go to ours."""
        return InstanceRef.config_defaults(base_dir if os.environ.get("DAGSTER_HOME") else dagster_home())

    @property
    def supports_wipe_on_delete_for_multipartitioned_assets(self) -> bool:
        """True: our storage wipes multi-partition keys like any others."""
        return True

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        """Deletes the key, then everything downstream of it. The UI's delete button ends here.

        The key is deleted in any case. If the rest fails, that is reported, and the orphan sensor finishes it.
        """
        existed = self.has_dynamic_partition(partitions_def_name, partition_key)
        super().delete_dynamic_partition(partitions_def_name, partition_key)
        if not existed or hook_is_off():
            return
        try:
            # Only here: whoever opens the instance need not have the whole platform imported.
            from panic_assets.operations.keys import key_deleted

            with without_hook():
                key_deleted(self, partitions_def_name, partition_key)
        except Exception as error:
            logger.error(
                f"{partitions_def_name} {partition_key!r} is deleted, but not everything made from it: {error}; "
                "the sensor `orphans` or `panic doctor --fix` finishes the deletion"
            )
