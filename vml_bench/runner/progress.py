"""Progress of a sweep: one line before each cell, with its number, the total and the time left."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


def cells_of(config: DictConfig) -> int:
    """Number of cells in a sweep: the product of the lengths of its lists.

    Args:
        config: a composed configuration with Hydra's own node.
    """
    overrides = list(config.hydra.overrides.task)
    given = {text.split("=", 1)[0] for text in overrides}
    params = config.hydra.sweeper.get("params") or {}
    overrides += [f"{key}={value}" for key, value in params.items() if key not in given]
    lengths = [
        len(list(override.sweep_string_iterator()))
        for override in OverridesParser.create().parse_overrides(overrides)
        if override.is_sweep_override()
    ]
    return math.prod(lengths)


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class SweepProgress(Callback):
    """Prints "cell 5 of 18 · 1:02 so far · about 3:20 left" to stderr before each cell of a sweep.

    The time left is the mean time per cell so far times the number of cells that remain: a rough guide, since cells
    differ. Launchers that run cells in other processes print the number only.
    """

    def __init__(self) -> None:
        self._total = 0
        self._done = 0
        self._started = 0.0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Count the cells."""
        self._total = cells_of(config)
        self._started = time.monotonic()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Say where the sweep stands."""
        if not self._total:
            return
        line = f"cell {config.hydra.job.num + 1} of {self._total}"
        if self._done:
            elapsed = time.monotonic() - self._started
            line += (
                f" · {clock(elapsed)} so far · about {clock(elapsed / self._done * (self._total - self._done))} left"
            )
        print(line, file=sys.stderr, flush=True)

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Count a finished cell."""
        self._done += 1
