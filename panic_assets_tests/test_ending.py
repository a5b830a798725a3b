"""Children end with a parent that is killed, and with them what they started in their own process group."""

import subprocess
import sys
import time

import psutil

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
CHILD = f"""
import os, subprocess, sys, time
from panic_assets import ending
leader = os.getpid() if sys.argv[1] == "leader" else 0
ending.follow(os.getppid(), leader)
started = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], stdout=subprocess.PIPE)
started.stdout.readline()
print(os.getpid(), started.pid, flush=True)
time.sleep(600)
"""
PARENT = f"""
import subprocess, sys, time
for role in ("leader", "other"):
    subprocess.Popen([sys.executable, "-c", {CHILD!r}, role], start_new_session=True)
time.sleep(600)
"""


def test_a_killed_parent_takes_its_children_and_their_groups_along():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for _ in range(2) for pid in parent.stdout.readline().split()]
        processes = {process.pid: process for process in map(psutil.Process, pids)}
        try:
            leaders = [pid for pid in pids if processes[pid].ppid() == parent.pid]
            assert len(leaders) == 2
            parent.kill()
            deadline = time.monotonic() + 300
            while sum(map(_lives, processes.values())) > 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            (left,) = [process for process in processes.values() if _lives(process)]
            assert left.pid not in leaders, (
                "what was started by the one that leads no group may be a stranger, and stays"
            )
        finally:
            for process in processes.values():
                if _lives(process):
                    process.kill()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
