"""Run the fault suite in full and write its table: `python -m benchmarks.faults`."""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.faults.ground import Outcome
from benchmarks.faults.room import Unavailable
from benchmarks.faults.suite import EVERY_CHANGE, FAULTS, Fault, run
from benchmarks.performance.record import cpu_name, memory_gb
from vml_bench.files import replacing
from vml_bench.runner.provenance import environment
from vml_bench.text import markdown

HEAD = """# What faults do to a run

Each fault is injected into real processes of `vml-bench run`; then the same command is started again, and what it
leaves is compared with a run to which nothing happened: rows (all columns but seconds and memory), features and every
picture, byte for byte. Where memory ran out, batches had another size: there PSNR is within 0.01 dB and LPIPS within
0.001. Written by `python -m benchmarks.faults`.

"Lost", "twice" and "different" count images of the finished run that have no row, features or picture; that have two
rows, or were restored by two processes; or are not those of the undisturbed run. "In vain": finished images, untouched
by the fault, that were restored again. "Destroyed": finished images that had to be restored again, for their picture,
row or features had been damaged. A manual step is anything beyond ending the fault (making room, giving back the right
to write or the good checkpoint) and starting the command again; an unclear end (no single line that says what is wrong)
counts as one, too.

"""
NOTES = """
- An image for which the denoiser answered NaN or ±∞ is a result: a row with status "diverged", counted in the
  leaderboard, in none of its means. A later start leaves it alone. If the cause has passed (a broken GPU, say), remove
  the run's folder and start again; the suite does that, too, and gets the undisturbed run. It is the one manual step,
  and is not counted.
- While config.yaml has been edited, tables are what they were (run.json says what a run is), and `vml-bench verify`
  names the file; the next start writes it anew.
- A killed process may leave one half-written file (.<name>.partial), and a start sets damaged tables aside
  (<name>.damaged). No one reads either; `vml-bench verify` counts them.
- On a read-only results folder the leaderboard is printed; its files cannot be written, which is said in one line.
"""


def row(name: str, outcome: Outcome | Unavailable) -> list[str]:
    """A line of the table; a fault that could not be injected has its reason in place of numbers."""
    if isinstance(outcome, Unavailable):
        return [name, "0", *[""] * 6, f"not injected: {outcome}"]
    states = ", ".join(f"{state} ({count})" for state, count in sorted(outcome.states.items())) or "between starts"
    counts = ("injected", "lost", "twice", "different", "again", "redone", "manual")
    return [name, *(str(getattr(outcome, count)) for count in counts), states]


def table(outcomes: dict[Fault, Outcome | Unavailable]) -> str:
    """The table in Markdown, with a line of sums."""
    titles = [
        "fault",
        "times",
        "lost",
        "twice",
        "different",
        "in vain",
        "destroyed",
        "manual steps",
        "process ended by",
    ]
    rows = [row(fault.name, outcome) for fault, outcome in outcomes.items()]
    sums = [Outcome(**{**vars(one), "states": {}}) for one in outcomes.values() if isinstance(one, Outcome)]
    *whole, _ = row("all", sum(sums, Outcome()))
    return "\n".join(markdown(titles, [*rows, [*whole, ""]], left=[0, 8]))


def main() -> None:
    """Run all faults side by side; exit code 1 where one did harm."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--times", type=int, default=300, help="random SIGKILLs; other faults in proportion")
    parser.add_argument("--seed", type=int, default=0, help="of what is random")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="faults at once; default: a core each")
    parser.add_argument("--out", type=Path, default=Path("results/durability.md"), help="default: %(default)s")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    outcomes: dict[Fault, Outcome | Unavailable] = {}
    faults = [*FAULTS, EVERY_CHANGE]
    pieces = [(fault, times) for fault in faults for times in fault.split(arguments.times) if times]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(arguments.workers) as pool:
        folders = (Path(scratch, str(number)) for number in itertools.count())

        def attempt(piece: tuple[Fault, int], folder: Path) -> Outcome | Unavailable:
            try:
                return run(piece[0], folder, arguments.seed, piece[1])
            except Unavailable as reason:
                return reason

        done = pool.map(attempt, pieces, folders)
        for (fault, _), outcome in zip(tqdm(pieces, unit="part", desc="faults"), done, strict=True):
            earlier = outcomes.get(fault)
            outcomes[fault] = earlier + outcome if isinstance(earlier, Outcome) else outcome
    made = environment(torch.device("cpu"))
    versions = ", ".join(f"{name} {version}" for name, version in made["packages"].items() if version)
    footer = (
        f"\n{cpu_name()}, {made['cpu_count']} cores, {memory_gb()} GB; {platform.system()}; Python {made['python']}, "
        f"{versions}; revision {made['git']}; seed {arguments.seed}; {time.monotonic() - began:.0f} s.\n"
    )
    with replacing(arguments.out) as partial:
        partial.write_text(HEAD + table(outcomes) + "\n" + NOTES + footer)
    print(table(outcomes))
    if not all(isinstance(one, Unavailable) or one.harmless for one in outcomes.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
