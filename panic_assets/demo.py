"""One small real job of each workload: `make demo`, or `python -m panic_assets.demo` in a project folder."""

import shlex
import subprocess
import sys
import time

from panic_assets.cli.output import fail, say
from panic_assets.workloads import WORKLOADS

PROGRAMS = {"panic": [sys.executable, "-m", "panic_assets.cli.main"], "python": [sys.executable]}


def main() -> int:
    """Run the demo of every workload. Returns the exit code of the first command that failed, else 0."""
    for workload in WORKLOADS:
        if not workload.demo:
            continue
        say((f"\n{workload.name}: ", "bold"), workload.purpose)
        began = time.monotonic()
        for line in workload.demo:
            say((f"\n$ {line}", "bold cyan"))
            program, *arguments = shlex.split(line)
            code = subprocess.run([*PROGRAMS[program], *arguments]).returncode
            if code:
                fail(f"`{line}` ended with exit code {code}")
                return code
        say((f"\n{workload.name} took {time.monotonic() - began:.0f} s", "dim"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
