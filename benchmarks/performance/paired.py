"""Work timed side by side in one process: A B, then B A, and so on, so that what slows the machine slows all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A median over rounds and the bounds that its bootstrap gives.

    Attributes:
        median: of the rounds.
        low, high: 95 % percentile bootstrap of the median (Efron 1979); NaN of a single round.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float], scale: float = 1.0) -> Interval:
        """The interval of one number a round, each multiplied by `scale`."""
        values = scale * np.fromiter(values, np.float64)
        if len(values) < 2:
            return cls(float(np.median(values)), float("nan"), float("nan"))
        bounds = stats.bootstrap(
            (values,), np.median, method="percentile", n_resamples=2000, random_state=np.random.default_rng(0)
        ).confidence_interval
        return cls(float(np.median(values)), float(bounds.low), float(bounds.high))


@dataclass(frozen=True)
class Work:
    """Something to be timed.

    Attributes:
        run: what is timed; takes what `prepare` returns.
        prepare: made anew before each round, not timed.
    """

    run: Callable[..., object]
    prepare: Callable[[], tuple] = tuple


@dataclass(frozen=True)
class Timings:
    """Seconds of each work, round by round: `seconds[name]` is (rounds,), and rounds are paired across names."""

    seconds: dict[str, np.ndarray]

    def interval(self, name: str, scale: float = 1.0) -> Interval:
        """Seconds of one work times `scale`."""
        return Interval.of(self.seconds[name], scale)

    def ratio(self, over: str, under: str) -> Interval:
        """Seconds of `over` over seconds of `under`, in each round."""
        return Interval.of(self.seconds[over] / self.seconds[under])


def interleave(
    works: Mapping[str, Work], device: torch.device, least: int = 3, most: int = 15, budget: float = 20.0
) -> Timings:
    """Time several works, each once a round, the order turned by one and reversed from round to round.

    Args:
        works: by name; each runs once untimed before the first round.
        device: waited for at the end of each work, if it is a GPU.
        least: rounds in any case, 1 or more.
        most: rounds at most.
        budget: seconds after which no further round begins.
    """
    for work in works.values():
        work.run(*work.prepare())
    seconds: dict[str, list[float]] = {name: [] for name in works}
    began = time.monotonic()
    for turn in count():
        if turn >= most or (turn >= least and time.monotonic() - began > budget):
            break
        shift = turn // 2 % len(works)
        names = [*list(works)[shift:], *list(works)[:shift]]
        for name in names if turn % 2 == 0 else reversed(names):
            given = works[name].prepare()
            synchronise(device)
            start = time.perf_counter()
            works[name].run(*given)
            synchronise(device)
            seconds[name].append(time.perf_counter() - start)
    return Timings({name: np.array(values) for name, values in seconds.items()})


def synchronise(device: torch.device) -> None:
    """Wait for a GPU; nothing elsewhere."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
