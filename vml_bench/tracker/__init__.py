"""Trackers: where a run is watched while it goes, and where finished runs are compared.

A tracker reads what the runner wrote to disk and the rows it hands over; nothing it does changes a result.
"""

from vml_bench.runner.tracking import NoTracker
from vml_bench.tracker.progress import CSVTracker

__all__ = ["CSVTracker", "NoTracker"]
