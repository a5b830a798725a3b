"""Run a function in a process of its own, which is killed if it takes too long or too much memory.

This is for native code that cannot be interrupted. The function must be importable (module level); its arguments and
result must pickle. The child does not outlive its caller for long: the kernel ends it once it has used its time on all
cores.
"""

import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def limited(function: Callable[..., Any], *arguments: Any, seconds: float, memory: float) -> Any | None:
    """`function(*arguments)`, or None when it needed more than `seconds` of wall clock or `memory` bytes.

    Any other failure of the child is raised here as RuntimeError with the child's last words.
    """
    task = pickle.dumps((function, arguments, seconds, memory))
    try:
        ended = subprocess.run(
            [sys.executable, "-m", __name__], input=task, capture_output=True, timeout=seconds + _START
        )
    except subprocess.TimeoutExpired:
        return None
    if ended.returncode == 0:
        return pickle.loads(ended.stdout)
    words = ended.stderr.decode(errors="replace").strip()
    if ended.returncode < 0 or "MemoryError" in words or "bad_alloc" in words:
        return None
    raise RuntimeError(
        f"{function.__qualname__} failed in its process: {words.splitlines()[-1] if words else 'it printed nothing'}"
    )


_START = 2.0
"""Seconds allowed for starting Python and importing."""


def _child() -> None:
    answer = os.dup(1)
    os.dup2(2, 1)  # Whatever the function prints must not mix with the answer.
    function, arguments, seconds, memory = pickle.load(sys.stdin.buffer)
    pages = Path("/proc/self/statm")  # What Python itself has mapped does not count.
    used = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (int(used + memory), resource.RLIM_INFINITY))
    cpu = int((seconds + _START) * (os.cpu_count() or 1)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    with os.fdopen(answer, "wb") as out:
        pickle.dump(function(*arguments), out)


if __name__ == "__main__":
    _child()
