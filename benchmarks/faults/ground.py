"""A results folder to spoil, the undisturbed one to compare it with, and what came of a fault."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from benchmarks.faults import inject
from benchmarks.faults.inject import Injection
from vml_bench.store.parts import features_file, part_files, read_merged_features, read_rows, table

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["benchmarks.faults.warm"])
PATIENCE = 300
"""Seconds after which a process counts as stuck."""

PHOTOS = ("dataset=photos64", "task=sr4", "method=pinv", "runner.limit=6", "runner.batch_size=2")
SINGLY = (*PHOTOS, "runner.batch_size=1")
NETWORK = (*PHOTOS, "method=ddrm", "method.sampler.schedule.levels=2")
EXACT = (
    *("dataset=gmm_2d", "dataset.scenes=3", "dataset.repeats=2", "runner.batch_size=2"),
    *("task=random_projection", "task.operator.measurements=1", "method=pinv"),
)
TIMED = ["seconds", "memory_mb"]
"""Columns in which equal runs differ."""
Vectors = dict[str, np.ndarray]
"""Features of an image by network."""
CLOSE = {"psnr": 0.01, "lpips_alex": 1e-3, "nfe": 0.0}
"""How far an image's scores may be from those in a batch of another size, as in tests/runner/test_cell.py."""


@dataclass
class Outcome:
    """What came of a fault, added up over the times that it was injected.

    Attributes:
        injected: times.
        lost: images without row, features or picture in the end.
        twice: images with more than one row, or that two processes restored.
        different: images whose row, features or picture are not the undisturbed run's.
        again: images restored again though they were finished and nothing had happened to them.
        redone: images restored again because the fault had destroyed what they had left.
        manual: steps needed beyond ending the fault and starting the same command again.
        states: how spoilt processes ended, and how often.
    """

    injected: int = 0
    lost: int = 0
    twice: int = 0
    different: int = 0
    again: int = 0
    redone: int = 0
    manual: int = 0
    states: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: Outcome) -> Outcome:
        counts = {
            one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self) if one.name != "states"
        }
        states = {
            state: self.states.get(state, 0) + other.states.get(state, 0) for state in {**self.states, **other.states}
        }
        return Outcome(**counts, states=states)

    @property
    def harmless(self) -> bool:
        """Whether nothing is lost, counted twice or different, and nothing had to be done by hand or in vain."""
        return not (self.lost or self.twice or self.different or self.again or self.manual)


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        code: its exit code, minus the signal where one ended it.
        said: what it wrote.
        notes: what it noted, line by line.
    """

    code: int
    said: str
    notes: list[str]

    @property
    def restored(self) -> list[str]:
        """Ids of the images whose restoration it began, as often as it did."""
        return [line.removeprefix("restores ") for line in self.notes if line.startswith("restores ")]

    @property
    def state(self) -> str:
        """How it ended, in words."""
        return f"killed by signal {-self.code}" if self.code < 0 else f"exit {self.code}"

    @property
    def complaint(self) -> str:
        """The one line that says what has to be mended; empty where it said anything else as it ended."""
        last = self.said.rstrip().splitlines()[-1:]
        clear = self.code == 2 and last and last[0].startswith("vml-bench: ") and "Traceback" not in self.said
        return last[0] if clear else ""


class Process:
    """A process that runs `vml-bench`; it is ready when it begins to."""

    def __init__(self, arguments: Sequence[str], prefix: Path, injections: Sequence[Injection]) -> None:
        self._said, self._log = prefix.with_suffix(".said"), prefix.with_suffix(".log")
        self._process: BaseProcess = CONTEXT.Process(
            target=inject.command, args=(arguments, self._said, self._log, injections)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def wait_until(self, line: str) -> None:
        """Wait until it has noted a line that begins so, or has ended."""
        began = time.monotonic()
        while self._process.is_alive():
            if self._log.exists() and f"\n{line}" in f"\n{self._log.read_text()}":
                return
            if time.monotonic() - began > PATIENCE:
                self._process.kill()
                raise AssertionError(f"stuck before '{line}': {self._said.read_text()}")
            self._process.join(0.005)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def end(self) -> Ended:
        """Wait for its end."""
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            raise AssertionError(f"stuck: {self._said.read_text()}")
        notes = self._log.read_text().splitlines() if self._log.exists() else []
        return Ended(self._process.exitcode, self._said.read_text(errors="replace"), notes)


class Ground:
    """A results folder in which runs are spoilt.

    Args:
        folder: of its own, for results, logs and output.
        cell: overrides of the run.
        results: the results folder, if it is not in `folder`.
    """

    def __init__(self, folder: Path, cell: Sequence[str] = PHOTOS, results: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.results = results or folder / "results"
        self.cell = tuple(cell)
        self.outcome = Outcome()
        self._folder = folder
        self._starts = 0

    @property
    def run(self) -> Path:
        """The folder of the first run."""
        return next(file.parent for file in sorted(self.results.glob("runs/*/*/*/*/config.yaml")))

    def finished(self) -> set[str]:
        """Ids of the images of the first run that have a row by now."""
        if not any(self.results.glob("runs/*/*/*/*/config.yaml")):
            return set()
        return set(read_rows(self.run)["image_id"])

    def begin(self, *injections: Injection, more: Sequence[str] = ()) -> Process:
        """Start the command, with further overrides, and do not wait for its end."""
        overrides = [*self.cell, "runner.device=cpu", f"runner.results_dir={self.results}", *more]
        return self.process(["run", *overrides], *injections)

    def process(self, arguments: Sequence[str], *injections: Injection) -> Process:
        """Start any command of `vml-bench`."""
        self._starts += 1
        return Process(arguments, self._folder / f"start-{self._starts}", injections)

    def start(self, *injections: Injection, more: Sequence[str] = ()) -> Ended:
        """Start the command and wait for its end; images it restores in vain count."""
        before = self.finished()
        ended = self.begin(*injections, more=more).end()
        self.outcome.again += len(before.intersection(ended.restored))
        return ended

    def spoilt(self, *ended: Ended, times: int = 1) -> None:
        """Count faults and how they ended."""
        self.outcome.injected += times
        for one in ended:
            self.outcome.states[one.state] = self.outcome.states.get(one.state, 0) + 1

    def copy_undisturbed(self) -> None:
        """Put the undisturbed run in place of this one."""
        shutil.copytree(undisturbed(self.cell), self.results)

    def healed(self, destroyed: Collection[str] = (), before: Collection[str] = (), close: bool = False) -> Outcome:
        """Start the command once more; say what came of it all.

        Args:
            destroyed: ids of the images that have to be restored again though they had been finished.
            before: ids that were finished; needed where the store cannot be read any more.
            close: compare scores up to `CLOSE` instead of comparing everything exactly.
        """
        before = set(before) or self.finished()
        ended = self.begin().end()
        self.outcome.again += len(before.difference(destroyed).intersection(ended.restored))
        self.outcome.redone += len(set(destroyed).intersection(ended.restored))
        self.outcome.manual += ended.code != 0
        return self.compared(close)

    def compared(self, close: bool = False, cells: Sequence[Sequence[str]] = ()) -> Outcome:
        """What is wrong by now with the runs of some cells (default: its own)."""
        for cell in cells or [self.cell]:
            lost, twice, different = compare(self.results, undisturbed(cell), close)
            self.outcome += Outcome(lost=len(lost), twice=len(twice), different=len(different))
        return self.outcome


_whole: dict[tuple[str, ...], tuple[tempfile.TemporaryDirectory, float]] = {}
_one_at_a_time = threading.Lock()


def _run_undisturbed(cell: tuple[str, ...]) -> tuple[tempfile.TemporaryDirectory, float]:
    with _one_at_a_time:
        if cell not in _whole:
            scratch = tempfile.TemporaryDirectory()
            process = Ground(Path(scratch.name), cell).begin()
            process.wait_until("ready")
            began = time.monotonic()
            ended = process.end()
            if ended.code != 0:
                raise AssertionError(f"the undisturbed run failed: {ended.said}")
            _whole[cell] = scratch, time.monotonic() - began
    return _whole[cell]


def undisturbed(cell: Sequence[str]) -> Path:
    """The results folder of a run to which nothing happens; made once."""
    return Path(_run_undisturbed(tuple(cell))[0].name, "results")


def duration(cell: Sequence[str]) -> float:
    """Seconds that an undisturbed run takes."""
    return _run_undisturbed(tuple(cell))[1]


def stores(results: Path) -> Iterator[Path]:
    """Folders of runs and of originals."""
    for pattern in ("runs/*/*/*/*/images.parquet", "originals/*/*/images.parquet"):
        yield from (file.parent for file in sorted(results.glob(pattern)))


def compare(spoilt: Path, whole: Path, close: bool = False) -> tuple[set[str], set[str], set[str]]:
    """Images of a spoilt results folder that are lost, counted twice, or not what they are in a whole one."""
    lost: set[str] = set()
    twice: set[str] = set()
    different: set[str] = set()
    for store in stores(whole):
        where = store.relative_to(whole)
        ours, theirs = _rows(spoilt / where), _rows(store)
        vectors, expected = _features(spoilt / where), _features(store)
        doubled = [*ours.index[ours.index.duplicated()], *(file.name for file in part_files(spoilt / where))]
        if (store / "run.json").exists():
            doubled += set(ours.index) - set(theirs.index)
            different.update([] if _described(spoilt / where) == _described(store) else [f"{where}/run.json"])
        twice.update(f"{where}/{name}" for name in doubled)
        ours = ours[~ours.index.duplicated()]
        for image_id, row in theirs.iterrows():
            of_image = expected.get(image_id, {})
            if image_id not in ours.index or not of_image.keys() <= vectors.get(image_id, {}).keys():
                lost.add(f"{where}/{image_id}")
            elif not (_near if close else _same)(ours.loc[image_id], row, vectors.get(image_id, {}), of_image):
                different.add(f"{where}/{image_id}")
    for file in sorted(
        file for pattern in ("*.png", "oracle.parquet", "posterior.npz") for file in whole.rglob(pattern)
    ):
        name = file.relative_to(whole)
        if not (spoilt / name).exists():
            lost.add(str(name))
        elif not close and (spoilt / name).read_bytes() != file.read_bytes():
            different.add(str(name))
    return lost, twice, different


def _same(ours: pd.Series, theirs: pd.Series, vectors: Vectors, expected: Vectors) -> bool:
    equal = (vectors[network].tobytes() == vector.tobytes() for network, vector in expected.items())
    return ours.equals(theirs) and all(equal)


def _near(ours: pd.Series, theirs: pd.Series, vectors: Vectors, expected: Vectors) -> bool:
    return all(abs(ours[name] - theirs[name]) <= most for name, most in CLOSE.items() if name in theirs)


def _features(folder: Path) -> dict[str, Vectors]:
    """Merged features by image id and network."""
    by_image: dict[str, Vectors] = {}
    for network, vectors in read_merged_features(features_file(folder)).items():
        for image_id, vector in vectors.items():
            by_image.setdefault(image_id, {})[network] = vector
    return by_image


def _rows(folder: Path) -> pd.DataFrame:
    """Merged rows by image id, without what differs between equal runs; none where there are none."""
    if not table(folder).exists():
        return pd.DataFrame()
    rows = pd.read_parquet(table(folder)).set_index("image_id")
    return rows.drop(columns=[name for name in TIMED if name in rows])


def _described(run: Path) -> dict[str, Any]:
    """What config.yaml and run.json say of a run, without what differs between equal runs."""
    config = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    record = json.loads((run / "run.json").read_text())
    return {
        "config": {**config, "runner": None},
        **{key: record[key] for key in ("run", "weights", "ids", "problem", "form")},
    }
