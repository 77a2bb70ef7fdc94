"""`python -m vml_bench.cli`."""

from vml_bench.cli import main

main()
