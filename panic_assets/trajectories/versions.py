"""Versions of the code that makes each result. Another one says that old and new results were made differently.

They stand apart from the code, which is imported when a stage runs: the graph shows them without it.
"""

WALK_VERSION = "1"
EMBED_VERSION = "2"
DIAGRAM_VERSION = "4"
CLUSTER_VERSION = "3"
CODE_VERSION = "4"
"""Of all analyses."""
SEED = 0
"""Seed of what is random in analyses."""
