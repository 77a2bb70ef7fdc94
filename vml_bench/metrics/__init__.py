"""Metrics: distortion and perception an image, Fréchet and kernel distances a set, distances to an exact posterior."""

from vml_bench.metrics.oracle import Oracle
from vml_bench.metrics.suite import MetricSuite

__all__ = ["MetricSuite", "Oracle"]
