"""Published claims beside measured results: claims, read and checked; the comparison; how it is written."""

from vml_bench.analysis.published.claims import Claim, Published, read_published
from vml_bench.analysis.published.compare import compare
from vml_bench.analysis.published.render import format_comparison, write_comparison

__all__ = ["Claim", "Published", "compare", "format_comparison", "read_published", "write_comparison"]
