"""How long a sweep takes on several equal devices."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

from vml_bench.runner.progress import clock

DEVICES = (1, 8, 64)
"""Numbers of equal devices that a plan gives the time for."""


def spread(hours: Sequence[float], devices: int) -> float:
    """Time until all jobs are done on that many devices, each free device taking the longest job left."""
    busy = [0.0] * devices
    for job in sorted(hours, reverse=True):
        heapq.heapreplace(busy, busy[0] + job)
    return max(busy)


class Share(NamedTuple):
    """Hours that a sweep takes on several equal devices, one job per cell, and one per shard of a cell.

    However many devices there are, a cell takes its own time; divided into n shards, an n-th of it. `shards` is the
    fewest per cell with which no job takes longer than all the work evenly divided.
    """

    devices: int
    hours: float
    shards: int
    sharded_hours: float


def on_devices(hours: Sequence[float], devices: Sequence[int] = DEVICES) -> list[Share]:
    """A sweep on several equal devices.

    Args:
        hours: of its cells, one at least.
        devices: numbers of devices.
    """
    found = []
    for number in devices:
        shards = max(1, math.ceil(max(hours) * number / sum(hours))) if sum(hours) else 1
        parts = [time / shards for time in hours for _ in range(shards)]
        found.append(Share(number, spread(hours, number), shards, spread(parts, number)))
    return found


def format_devices(hours: Sequence[float]) -> str:
    """`on_devices` as a line, with shards where they shorten the time."""
    times = on_devices(hours)
    line = f"on {' / '.join(str(time.devices) for time in times)} devices like this one: "
    line += " / ".join(clock(time.hours * 3600) for time in times)
    line += f", where the longest cell alone takes {clock(max(hours) * 3600)}"
    divided = [time for time in times if time.shards > 1]
    if divided:
        line += "; with cells in shards (runner.shard=i/n) " + ", ".join(
            f"{clock(time.sharded_hours * 3600)} on {time.devices} (n={time.shards})" for time in divided
        )
    return line
