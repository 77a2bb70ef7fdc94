"""All faults, by the names that the table has for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults import clocks, damage, kills, numbers, room, together
from benchmarks.faults.ground import Outcome

Scenario = Callable[[Path, random.Random, int], Outcome]


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        name: what happens.
        scenario: makes it happen so many times, in a folder of its own, and says what came of it.
        quick: times in the tests.
        share: times in the full suite, for each random SIGKILL there.
        pieces: parts that the full suite may run side by side.
    """

    name: str
    scenario: Scenario
    quick: int = 1
    share: float = 1 / 75
    pieces: int = 1

    def split(self, times: int) -> Iterator[int]:
        """Times of each piece in a full suite of `times` random SIGKILLs."""
        whole = max(self.quick, round(times * self.share))
        yield from (whole // self.pieces + (i < whole % self.pieces) for i in range(self.pieces))


FAULTS = (
    Fault("SIGKILL at a random moment", kills.at_random, 8, 1, 10),
    Fault("SIGKILL before a given change on disk", kills.at_places, len(kills.PLACES), 0),
    Fault("SIGTERM at a random moment", kills.terminated, 2, 1 / 15),
    Fault("KeyboardInterrupt at a random moment", kills.interrupted, 2, 1 / 15),
    Fault("disk full (a small tmpfs)", room.full_disk, 2),
    Fault("no file may grow further (RLIMIT_FSIZE)", room.no_large_file),
    Fault("results folder read-only", room.read_only_results),
    *(Fault(f"damaged: {name}", scenario) for name, scenario in damage.FILES.items()),
    Fault("config.yaml edited under the run", damage.edited, 2),
    Fault("checkpoint truncated", damage.truncated_checkpoint),
    Fault("NaN or ±∞ from the denoiser", numbers.not_finite, len(numbers.VALUES)),
    Fault("out of memory at random", numbers.out_of_memory),
    Fault("one image does not fit into memory", numbers.one_does_not_fit),
    Fault("2, 3, 4 processes on one run", together.same_run, 3),
    Fault("the same, and one of them is killed", together.one_of_them_killed),
    Fault("three shards at once", together.shards),
    Fault("three methods at once", together.methods),
    Fault("clock and file times moved", clocks.moved),
    Fault("locks left by a dead process", clocks.stale),
)
EVERY_CHANGE = Fault("SIGKILL before every change on disk, one by one", kills.at_changes, 1 << 10, 0)
"""Too long for the tests."""


def run(fault: Fault, folder: Path, seed: int, times: int) -> Outcome:
    """Make a fault happen."""
    folder.mkdir(parents=True)
    return fault.scenario(folder, random.Random(f"{seed} {fault.name} {folder.name}"), times)
