"""Checking again everything that runs left on disk. Only read, never written; what to do about it is printed."""

from vml_bench.verify.findings import Finding
from vml_bench.verify.verify import Checked, mending, summary, verify

__all__ = ["Checked", "Finding", "mending", "summary", "verify"]
