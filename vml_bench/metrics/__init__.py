"""Metrics: distortion and perception an image, Fréchet and kernel distances a set."""

from vml_bench.metrics.suite import MetricSuite

__all__ = ["MetricSuite"]
