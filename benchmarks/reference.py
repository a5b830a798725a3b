"""The reference experiment, cold: `panic experiment perform` in a new process and a new home, start-up included.

    python benchmarks/reference.py [--runs 5]

1 network, 4 prompts, 4 unseeded runs each, length 100, one embedder: 1,600 invocations, 800 vectors, 16 diagrams.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

EXPERIMENT = {
    "networks": [["DummyT2I", "DummyI2T"]],
    "prompts": ["a red cat", "a blue house", "rain on a window", "two boats"],
    "seed_count": 4,
    "embedding_models": ["DummyText"],
    "max_length": 100,
}
EARLIER_SYSTEM = 137.0
"""Seconds the best-known earlier system needs for it on two such cores."""


def perform() -> tuple[float, float]:
    """(wall seconds, CPU seconds) of one cold run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reference.yaml"
        file.write_text(yaml.safe_dump(EXPERIMENT))
        before, began = os.times(), time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "panic_assets.cli.main", "experiment", "perform", str(file)],
            env={**os.environ, "PANIC_HOME": f"{folder}/home"},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    times = [perform() for _ in range(parser.parse_args().runs)]
    wall = statistics.median(w for w, _ in times)
    print("| cold perform of the reference experiment | seconds |")
    print("|---|---|")
    print(f"| wall, median of {len(times)} | {wall:.2f} |")
    print(f"| wall, fastest and slowest | {min(w for w, _ in times):.2f} - {max(w for w, _ in times):.2f} |")
    print(f"| CPU, median | {statistics.median(c for _, c in times):.2f} |")
    print(f"| times faster than the earlier system ({EARLIER_SYSTEM:.0f} s) | {EARLIER_SYSTEM / wall:.0f} |")


if __name__ == "__main__":
    main()
