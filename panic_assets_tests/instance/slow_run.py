"""Executes one run of the slow asset in this process, as a `panic` command does: `slow_run.py HOME PARTITION`."""

import sys
from pathlib import Path

import dagster as dg

from panic_assets.instance.home import open_instance
from panic_assets.instance.launcher import process_tags
from panic_assets.settings import Home
from panic_assets_tests.instance import miniature

if __name__ == "__main__":
    home, partition = sys.argv[1:]
    with open_instance(Home(Path(home))) as instance:
        dg.materialize([miniature.slow], instance=instance, partition_key=partition, tags=process_tags())
