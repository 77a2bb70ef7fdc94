"""The report: a folder of static files that shows what is on disk, to be opened from disk or served by any host."""

from vml_bench.report.write import write_report

__all__ = ["write_report"]
