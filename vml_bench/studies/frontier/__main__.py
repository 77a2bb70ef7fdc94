"""`python -m vml_bench.studies.frontier`."""

from vml_bench.studies.frontier.report import main

main()
