"""The start: help, an error, a cell's first network pass, and what each further cell of a sweep adds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.performance.paired import Work, interleave
from benchmarks.performance.record import Benchmark, Table, begin, options, write

FIRST_PASS = """
import os, sys, time
from vml_bench.priors.unet import EDMPrior
def first(self, x, sigma):
    print(time.monotonic(), flush=True)
    os._exit(0)
EDMPrior.forward = first
from vml_bench.cli import main
main(sys.argv[1:])
"""
"""A child that runs the command line and says when its network is asked for the first time."""

COUNTED = """
import sys
from vml_bench.priors import unet
load, loaded = unet.load_edm_prior, []
def counting(*arguments, **keywords):
    loaded.append(1)
    return load(*arguments, **keywords)
unet.load_edm_prior = counting
from vml_bench.cli import main
main(sys.argv[1:])
print(len(loaded))
"""
"""A child that runs the command line and says how often the prior was loaded."""

TASKS = ("denoise", "inpaint_half", "inpaint_box", "inpaint_random", "sr4", "sr4_bicubic", "deblur_uniform",
         "deblur_gauss", "deblur_aniso", "colorize")  # fmt: skip


def command(*arguments: str) -> list[str]:
    """`vml-bench` with arguments, by this Python."""
    return [sys.executable, "-m", "vml_bench.cli", *arguments]


def answered(line: Sequence[str], code: int) -> None:
    """Run a command that ends with this exit code.

    Raises:
        RuntimeError: it ended otherwise.
    """
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise RuntimeError(f"{' '.join(line)} ended with {done.returncode}: {done.stderr[-500:]}")


def first_pass(results: str) -> float:
    """Seconds from the command to a cell's first network pass."""
    began = time.monotonic()
    line = [sys.executable, "-c", FIRST_PASS, "run", *one_image(results), "method=ddrm"]
    return float(subprocess.run(line, capture_output=True, text=True, check=True).stdout) - began


def sweep(results: str, tasks: Sequence[str], levels: Sequence[str]) -> tuple[float, int]:
    """Seconds of a sweep of pseudo-inverses, and how often its prior was loaded."""
    grid = ["method=pinv", f"task={','.join(tasks)}", f"task.noise_std={','.join(levels)}"]
    line = ["run", "-m", *one_image(results), *grid]
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", COUNTED, *line], capture_output=True, text=True, check=True)
    return time.monotonic() - began, int(done.stdout.splitlines()[-1])


def one_image(results: str) -> list[str]:
    """Overrides: one image, into a folder."""
    return ["dataset=photos64", "runner.limit=1", f"runner.results_dir={results}"]


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    arguments = options(__doc__).parse_args(argv)
    device = begin(arguments)
    rounds = 1 if arguments.quick else 7
    tasks = TASKS[:1] if arguments.quick else TASKS
    works = {
        "python alone": Work(lambda: answered([sys.executable, "-c", "pass"], 0)),
        "import torch": Work(lambda: answered([sys.executable, "-c", "import torch"], 0)),
        "vml-bench --help": Work(lambda: answered(command("--help"), 0)),
        "vml-bench leaderboard --help": Work(lambda: answered(command("leaderboard", "--help"), 0)),
        "a name that Hydra refuses (task=nonsense)": Work(lambda: answered(command("run", "task=nonsense"), 2)),
        "a value that a cell refuses (runner.limit=0)": Work(lambda: answered(command("run", "runner.limit=0"), 2)),
    }
    timings = interleave(works, device, least=rounds, most=rounds)
    commands = [{"command": name, "seconds": timings.interval(name)} for name in works]
    with tempfile.TemporaryDirectory() as scratch:
        firsts = [first_pass(f"{scratch}/first-{i}") for i in range(rounds + 1)][1:]
        seconds, loads = sweep(f"{scratch}/one", tasks[:1], ["0.05"])
        many, loads_of_many = sweep(f"{scratch}/many", tasks, ["0", "0.05"])
    cells = 2 * len(tasks)
    rows = [
        {"what": "one cell, to its first network pass, s (median)", "measured": sorted(firsts)[len(firsts) // 2]},
        {"what": "one cell of one pseudo-inverse, s", "measured": seconds},
        {"what": "loads of the prior in that cell", "measured": str(loads)},
        {"what": f"a sweep of {cells} such cells, s", "measured": many},
        {"what": "loads of the prior in that sweep", "measured": str(loads_of_many)},
        {"what": "seconds of a further cell", "measured": (many - seconds) / (cells - 1)},
    ]
    tables = [Table("Commands", ["command"], commands), Table("Cells", ["what"], rows)]
    notes = ("Goal: help and errors within a second; one load of the prior a sweep.",)
    write(Benchmark("start", "Start", tables, {"rounds": rounds}, notes), device, arguments)


if __name__ == "__main__":
    main()
