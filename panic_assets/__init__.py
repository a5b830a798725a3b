"""One Dagster asset graph for people who study how models move."""

import warnings

# Partitioned checks are young in Dagster; we pin its version and test them, so users need not be told each time.
warnings.filterwarnings("ignore", message=".*partitions_def on an AssetCheckSpec.*")
warnings.filterwarnings("ignore", message="Parameter `owners` of initializer")
warnings.filterwarnings(
    "ignore", message="Class `(LocalFileCodeReference|CodeReferencesMetadataValue)` is currently in beta"
)
