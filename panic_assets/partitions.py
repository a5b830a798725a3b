"""Every partition space of the graph: how keys are made, parsed and mapped. Nothing else mints a key."""

import dagster as dg

from panic_assets.registry import registry

EXPERIMENT = dg.DynamicPartitionsDefinition(name="experiment")
"""One key an experiment: its name."""

EMBEDDING_MODEL = dg.StaticPartitionsDefinition([spec.name for spec in registry.embedders()])
"""One key an embedding model of the registry."""

TRAINING_RUN = dg.DynamicPartitionsDefinition(name="training_run")
"""One key a training run: its name. Its checkpoints are rows: an epoch is seconds of work, not minutes."""
