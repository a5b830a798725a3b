"""One Dagster asset graph for people who study how models move.

What notebooks and training loops need is here by name: `panic_assets.connect()`, `runs`, `log`, ... (see `api`).
"""

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panic_assets.api import as_of, connect, embeddings, invocations, log, metrics, runs

__all__ = ["as_of", "connect", "embeddings", "invocations", "log", "metrics", "runs"]

# Partitioned checks are young in Dagster; we pin its version and test them, so users need not be told each time.
warnings.filterwarnings("ignore", message=".*partitions_def on an AssetCheckSpec.*")
warnings.filterwarnings("ignore", message="Parameter `owners` of initializer")
warnings.filterwarnings(
    "ignore", message="Class `(LocalFileCodeReference|CodeReferencesMetadataValue)` is currently in beta"
)


def __getattr__(name: str) -> Any:
    """Imports the API when it is first asked for: everything imports this package, and most of it needs no pandas."""
    if name in __all__:
        from panic_assets import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
