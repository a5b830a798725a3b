"""Runs every benchmark, one after another, each in a process of its own: `python -m benchmarks`."""

import subprocess
import sys
from pathlib import Path

for script in sorted(Path(__file__).parent.glob("[!_]*.py")):
    print(f"\n## {script.stem}\n", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{script.stem}"], check=False)
