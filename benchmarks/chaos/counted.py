"""A `panic` command that counts its changes to the disk, and kills its whole process group before one of them.

    python -m benchmarks.chaos.counted COUNT_FILE CHANGE WORDS...      # CHANGE 0: it is not killed

The count stands in eight bytes of a file, which others read while the command works.
"""

import mmap
import os
import signal
import struct
import sys
from pathlib import Path

from panic_assets import ending
from panic_assets.cli.main import command
from panic_assets_tests.killing import before_every_change

SIZE = 8


def main() -> None:
    """Count, and do what the words say. Whoever kills the runner of the trials ends this, too."""
    ending.follow(os.getppid(), os.getpid())
    path, change, *words = sys.argv[1:]
    with Path(path).open("r+b") as file:
        count = mmap.mmap(file.fileno(), SIZE)
    before = int(change)

    def about_to_change(number: int) -> None:
        count[:] = struct.pack("q", number)
        if number == before:
            os.killpg(0, signal.SIGKILL)

    before_every_change(about_to_change)
    sys.argv = ["panic", *words]
    command()


if __name__ == "__main__":
    main()
