"""Versions of the code that makes each result. They stand apart from it: the graph shows them without importing it."""

DRAW_VERSION = "2"
"""Raise it when the same cell would give another picture."""
METRIC_VERSION = "3"
"""Raise it when a measure changes, so that old and new numbers are never averaged together."""
MEASURE_VERSION = f"{METRIC_VERSION}.1"
"""Of the measures and of what sums them up, which is the number after the point."""
REPORT_VERSION = "2"
