"""Why does my number differ: a run rescored from its pictures, one convention changed at a time."""

from vml_bench.analysis.protocols.render import format_report, write
from vml_bench.analysis.protocols.report import rescore

__all__ = ["format_report", "rescore", "write"]
