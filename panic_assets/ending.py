"""How processes end together: a child whose parent was killed ends itself, and what it started.

On Linux the kernel could tell a child of its parent's death (PR_SET_PDEATHSIG), but it means the thread that started the
child, and macOS has nothing like it. A pipe tells nothing while another child of the parent holds its end. So a child looks
at who its parent is: it is given another one when the first dies.
"""

import os
import signal
import threading
import time
from typing import NoReturn

_LOOKS_SECONDS = 0.5


def follow(parent: int, leader: int) -> None:
    """From now on, once the process `parent` is gone, the process group of `leader` is killed, and this process."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOKS_SECONDS)
        kill_group(leader)

    threading.Thread(target=watch, daemon=True).start()


def kill_group(leader: int) -> NoReturn:
    """Kills this process, and its whole process group if that is the leader's: another group may hold strangers."""
    if os.getpgrp() == leader:
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def end_when_told() -> None:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, but also where that is ignored: in a script's background job."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
