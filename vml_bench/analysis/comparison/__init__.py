"""Which method is better, and how sure one can be: paired tests, ranks with ties, steadiness of ranks."""

from vml_bench.analysis.comparison.compare import Comparison, compare
from vml_bench.analysis.comparison.render import format_comparison, write

__all__ = ["Comparison", "compare", "format_comparison", "write"]
