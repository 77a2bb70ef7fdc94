"""`python -m benchmarks.performance [PART ...]`: the parts of `make bench`, or those named, each in its own process."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.performance.record import RESULTS

PARTS = ("start", "metrics", "floor", "overhead", "conjugate_gradients", "against_deepinv", "memory", "quality")
"""In the order in which they run; `quality` draws with what `floor` measured."""
FURTHER = ("growth", "cpu", "gpu")
"""Run where they are named."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns 1 if a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"among {', '.join(PARTS)} (default: all of these), {', '.join(FURTHER)}",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results; default: %(default)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N; default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="see that it works; not to report")
    arguments = parser.parse_args(argv)
    if unknown := sorted({*arguments.parts} - {*PARTS, *FURTHER}):
        parser.error(f"there is no part '{unknown[0]}'; choose among {', '.join([*PARTS, *FURTHER])}")
    common = ["--out", str(arguments.out), "--device", arguments.device, *["--quick"] * arguments.quick]
    failed = []
    for part in arguments.parts or PARTS:
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"benchmarks.performance.{part}", *common], check=False)
        print(f"— {part}: {time.monotonic() - began:.0f} s, exit {done.returncode}", file=sys.stderr, flush=True)
        failed += [part] * bool(done.returncode)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
