"""One Dagster asset graph for people who study how models move."""
