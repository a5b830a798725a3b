"""The layers stage in a process where EVoC is interpreted, not compiled: its own code without minutes of compiling.

    NUMBA_DISABLE_JIT=1 python -m panic_assets_tests.trajectories.clusters.interpreted_layers LAKE MODEL

Prints, as JSON, the layers of the same vectors computed once more, and whether seven vectors are outliers.
"""

import json
import sys
from pathlib import Path

import evoc.node_embedding
import numpy as np

from panic_assets.tables import open_lake
from panic_assets.trajectories import stages
from panic_assets.trajectories.clusters.layers import layers
from panic_assets_tests.trajectories.world import Nobody

_epoch = evoc.node_embedding.node_embedding_epoch_repr


def wide(*arguments: object) -> None:
    """Compiled, the number of the epoch (a byte) is added in 64 bits; NumPy keeps the byte, which overflows."""
    _epoch(*(int(a) if isinstance(a, np.uint8) else a for a in arguments))


if __name__ == "__main__":
    assert not hasattr(_epoch, "py_func"), "EVoC is compiled"
    evoc.node_embedding.node_embedding_epoch_repr = wide
    lake, model = open_lake(Path(sys.argv[1])), sys.argv[2]
    stages.layers(lake, Nobody(), model, draws=1)
    rows = lake.sql("SELECT vector FROM embeddings ORDER BY run_id, sequence_number", embedding_model=model)
    vectors = np.array(rows["vector"].to_pylist(), dtype=np.float32)
    found = [layer.labels.tolist() for layer in layers(vectors)]
    print(json.dumps({"labels": found, "few": layers(vectors[:7])[0].outliers}))
