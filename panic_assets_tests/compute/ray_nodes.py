"""Ray nodes on this machine, on loopback addresses of their own: a cluster that can lose a node."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

HEAD, OTHER = "127.0.0.2", "127.0.0.3"

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    # A dead node is noticed in 2 s, not 25.
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}


class Node:
    """One `ray start --block`: a raylet with its workers, and the control store if it is the head."""

    def __init__(self, address, arguments, folder):
        log = (folder / f"{address}.log").open("w")
        ray = Path(sys.executable).with_name("ray")
        command = [ray, "start", "--block", f"--node-ip-address={address}", "--object-store-memory=100000000"]
        self._popen = subprocess.Popen(
            [*command, "--disable-usage-stats", *arguments],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self):
        """Ends every process of the node at once, as a power cut would."""
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self._popen.pid)
            for process in [own, *own.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._popen.wait()


@contextlib.contextmanager
def two_nodes(folder, cpus=1, gpus=1):
    """Yields (address of the cluster, head node, other node), each node with these resources declared."""
    port = _free_port()
    resources = [f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
    nodes = [
        Node(
            HEAD, ["--head", "--include-dashboard=false", f"--port={port}", f"--temp-dir={folder}", *resources], folder
        )
    ]
    try:
        until(lambda: _answers(HEAD, port))
        nodes.append(Node(OTHER, [f"--address={HEAD}:{port}", *resources], folder))
        yield f"{HEAD}:{port}", *nodes
    finally:
        for node in nodes:
            node.kill()


def _free_port():
    with socket.socket() as probe:
        probe.bind((HEAD, 0))
        return probe.getsockname()[1]


def _answers(address, port):
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def until(condition):
    """Waits for what a node does when it starts."""
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "the Ray node did not start"
        time.sleep(0.1)
