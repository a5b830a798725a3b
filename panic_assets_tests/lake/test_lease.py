"""Leases: one holder at a time, told who it is, free the moment it dies."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from panic_assets.errors import UserError
from panic_assets.lake.lease import LeaseHeld
from panic_assets.tables import open_lake

HOLDER = """
import sys
from pathlib import Path
from panic_assets.lake.lake import Lake
from panic_assets.tables import open_lake
with open_lake(Path(sys.argv[1])).lease("experiment a"):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(root: Path) -> "subprocess.Popen[bytes]":
    """A process that holds the lease until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(root)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child


def test_the_second_is_refused_in_a_sentence_or_waits(tmp_path: Path) -> None:
    lake, told = open_lake(tmp_path), []
    child = hold(tmp_path)

    def let_go(sentence: str) -> None:
        told.append(sentence)
        child.stdin.close()

    try:
        sentence = rf"experiment a is being worked on by process {child.pid} on .+, since"
        with pytest.raises(LeaseHeld, match=sentence), lake.lease("experiment a"):
            pass
        assert issubclass(LeaseHeld, UserError)
        with lake.lease("experiment b"):  # Another unit of work is free.
            pass
        with lake.lease("experiment a", wait_seconds=60, on_wait=let_go):
            assert child.wait(60) == 0
        assert len(told) == 1
        assert str(child.pid) in told[0]
    finally:
        child.kill()
        child.wait()


def test_a_killed_holder_frees_its_lease_at_once(tmp_path: Path) -> None:
    child = hold(tmp_path)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with open_lake(tmp_path).lease("experiment a"):
        pass  # without waiting


def test_an_exception_frees_the_lease(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    with pytest.raises(RuntimeError), lake.lease("x"):
        raise RuntimeError
    with lake.lease("x"), pytest.raises(LeaseHeld), lake.lease("x"):
        pass
