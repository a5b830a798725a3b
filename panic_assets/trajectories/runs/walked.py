"""A finished run with its vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Walked:
    """One run as one embedding model sees it, in order."""

    run: Mapping[str, Any]
    invocations: list[str]
    sequence: np.ndarray
    vectors: np.ndarray

    def until(self, steps: int) -> np.ndarray | None:
        """The first `steps` vectors; a run that stopped because it loops goes on round its loop. None if too short."""
        n = len(self.vectors)
        if n >= steps:
            return self.vectors[:steps]
        if self.run["stop_reason"] != "loop" or n == 0:
            return None
        period = int((self.sequence > self.sequence[-1] - self.run["loop_length"]).sum())
        later = np.arange(n, steps)
        return self.vectors[np.append(np.arange(n), n - period + (later - n) % period)]
