"""The one reader of runs: what a run is, from its record, and what lies in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from vml_bench.cards import Card, card
from vml_bench.configuration import read_config, read_record
from vml_bench.errors import InputError
from vml_bench.identity import in_words
from vml_bench.store import layout, parts
from vml_bench.store.features import Features, read_features

UNREADABLE = (*parts.DAMAGED, OverflowError)
"""What reading a run raises where a file is missing, broken, or lacks what the contract says it holds."""
HELD_ONCE = lru_cache(maxsize=64)(tuple)
"""Equal tuples as one object: thousands of runs on the same images hold their names once."""

EXTERNAL = "external"
"""The family of a run whose pictures another program restored (`vml_bench.runner.external`)."""

Read = TypeVar("Read")


@dataclass(frozen=True)
class Problem:
    """What a run was asked (`vml_bench.identity.problem_form`). Two runs compare where their problems are equal.

    Attributes:
        dataset, task: the names under which it is filed.
        name: its name by content.
        form: images, operator, noise_std, seed.
    """

    dataset: str
    task: str
    name: str
    form: Mapping[str, Any] = field(compare=False, hash=False, repr=False)

    @property
    def noise_std(self) -> float:
        """σ_y, images in [-1, 1]."""
        return float(self.form["noise_std"])

    @property
    def images(self) -> str:
        """The name of its set of images."""
        return str(self.form["images"])


@dataclass(frozen=True)
class Run:
    """One run: a method on a problem, over the images it has finished.

    What it is stands in memory. Its images, features and scenes are read when they are first asked for, which raises
    one of `UNREADABLE` where that cannot be done, and stay with this object; `each` goes over many runs without
    keeping more than one run's.

    Attributes:
        folder: its folder.
        problem: what it was asked.
        method: the method's name.
        settings: what the method has otherwise than its configuration, by dotted key.
        form: what it computed (`vml_bench.identity.run_form`).
        prior: "name@hash" of its prior; empty for a method that asks none.
        name: its name by content, and the folder's.
        synthetic: its images or its weights are made up, so its numbers mean nothing.
        asked: ids of the images it was asked for.
        about: what its configuration says of the method.
        columns: what its own metrics declare.
    """

    folder: Path
    problem: Problem
    method: str
    settings: Mapping[str, Any] = field(hash=False)
    form: Mapping[str, Any] = field(hash=False, repr=False)
    prior: str
    name: str
    synthetic: bool
    asked: tuple[str, ...] = field(repr=False)
    about: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    columns: tuple[Mapping[str, Any], ...] = field(default=(), hash=False, repr=False)

    @property
    def dataset(self) -> str:
        """The name under which its data set is filed."""
        return self.problem.dataset

    @property
    def task(self) -> str:
        """The name under which its task is filed."""
        return self.problem.task

    @property
    def noise_std(self) -> float:
        """σ_y, images in [-1, 1]."""
        return self.problem.noise_std

    @property
    def results(self) -> Path:
        """The results folder."""
        return layout.RunPlace.of(self.folder).results

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return read_config(self.folder / layout.CONFIG)

    @cached_property
    def record(self) -> dict[str, Any]:
        """How it was made."""
        return read_record(self.folder / layout.RECORD)

    @cached_property
    def images(self) -> pd.DataFrame:
        """One row per image, those asked for first and in that order."""
        images = parts.read_rows(self.folder, check=True)
        if "status" not in images:
            raise ValueError(f"{layout.TABLE} lacks the column status")
        if unknown := sorted(set(images["status"].unique()) - set(layout.STATUSES), key=str):
            raise ValueError(f"{layout.TABLE} has the status '{unknown[0]}'")
        position = {image_id: i for i, image_id in enumerate(self.asked)}
        order = np.array([position.get(image_id, len(position)) for image_id in images["image_id"].tolist()])
        if (np.diff(order) >= 0).all():
            return images
        return images.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)

    @cached_property
    def features(self) -> Features:
        """Of its restorations."""
        return read_features(self.folder)

    @cached_property
    def scenes(self) -> pd.DataFrame | None:
        """One row per scene; None for a run that is not scored against an exact posterior."""
        table = self.folder / layout.SCENES
        return pd.read_parquet(table) if table.is_file() else None

    @cached_property
    def card(self) -> Card:
        """What is said of its method."""
        return card(self.method, self.about)

    @property
    def place(self) -> tuple[Any, ...]:
        """Sort key: by task, noise level, problem and method."""
        return self.task, self.noise_std, self.problem.name, self.card.place, in_words(self.all_settings), self.name

    @property
    def all_settings(self) -> dict[str, Any]:
        """`settings`, and how the network was computed where not plainly."""
        compute = {f"compute.{key}": value for key, value in self.form.get("compute", {}).items()}
        return {**self.settings, **compute}

    @property
    def label(self) -> str:
        """The run in words."""
        return f"{self.task} at noise_std {self.noise_std:g}, {self.method} ({self.name})"

    @cached_property
    def good(self) -> pd.DataFrame:
        """The rows of the images that did not diverge; `images` itself where none did."""
        good = self.images["status"] == layout.OK
        return self.images if good.all() else self.images[good]

    @property
    def exact(self) -> bool:
        """Whether it is scored against an exact posterior."""
        return "reference" in self.problem.form

    @property
    def external(self) -> bool:
        """Whether another program restored its pictures; then what they took may be unknown."""
        return self.about.get("family") == EXTERNAL

    def picture(self, image_id: str) -> Path:
        """Where the restoration of an image lies."""
        return layout.picture(self.folder / layout.PICTURES, image_id)

    def original(self, image_id: str) -> Path:
        """Where the original of an image lies."""
        return layout.picture(self.originals, image_id)

    def measurement(self, image_id: str) -> Path:
        """Where the picture of an image's measurement lies."""
        return layout.picture(self.measurements, image_id)

    @property
    def originals(self) -> Path:
        """The folder of its originals."""
        return layout.originals(self.results, self.dataset, self.problem.images)

    @property
    def measurements(self) -> Path:
        """The folder of its measurements' pictures."""
        return layout.measurements(self.results, self.dataset, self.task, self.problem.name)


def open_run(folder: Path) -> Run:
    """What a run is, from its record; its images are still to be read.

    Raises:
        One of `UNREADABLE`.
    """
    folder = Path(folder)
    for required in (layout.CONFIG, layout.RECORD):
        if not (folder / required).is_file():
            raise ValueError(f"{required} is missing")
    if not parts.table(folder).is_file() and not parts.part_files(folder):
        raise ValueError(f"{layout.TABLE} is missing")
    return run_of(folder, read_record(folder / layout.RECORD))


def run_of(folder: Path, record: Mapping[str, Any]) -> Run:
    """The run that a record tells of.

    Raises:
        ValueError, KeyError, TypeError: it is none of this version's, or lacks something.
    """
    if "problem" not in record:
        raise ValueError("made by an older version; `python -m vml_bench.migrate` of revision 8891275 renames it")
    problem = record["problem"]
    prior = record.get("prior")
    for name in (record["dataset"], record["task"], problem["name"], problem["form"]["images"]):
        if not layout.is_folder_name(name):  # a record that was handed around may lead out of the folder
            raise ValueError(f"it names a folder {name!r}")
    return Run(
        folder=folder,
        problem=Problem(str(record["dataset"]), str(record["task"]), str(problem["name"]), dict(problem["form"])),
        method=str(record["method"]),
        settings=dict(record.get("settings", {})),
        form=dict(record["form"]),
        prior=f"{prior['name']}@{str(prior['hash'])[:8]}" if prior else "",
        name=folder.name,
        synthetic=bool(record.get("synthetic", False)),
        asked=HELD_ONCE(tuple(map(str, record["ids"]))),
        about=dict(record.get("about") or {}),
        columns=tuple(record.get("columns") or ()),
    )


def read_run(folder: Path) -> Run:
    """Read one run folder, all of it.

    Raises:
        One of `UNREADABLE`.
    """
    run = open_run(folder)
    for read in ("images", "features", "scenes"):
        getattr(run, read)
    return run


def read_runs(
    results_dir: str | Path, dataset: str, synthetic: bool, read: Callable[[Run], Read]
) -> tuple[list[tuple[Run, Read]], list[str]]:
    """Every run of a data set, with what is read of it; only one run's data is in memory at a time.

    Args:
        results_dir: the results folder.
        dataset: name under which the runs are filed.
        synthetic: whether synthetic runs are read, too.
        read: takes a run; where it raises one of `UNREADABLE`, the run is left out.

    Returns:
        The runs, each without its data, and what was read of it, by task, noise level, problem and method; and lines
        that say which were left out.

    Raises:
        InputError: there is no readable run, or every run is synthetic and those were not asked for.
    """
    found, notes, hidden = [], [], 0
    for folder in layout.run_folders(results_dir, dataset):
        try:
            run = open_run(folder)
            if synthetic or not run.synthetic:
                found.append((run, read(replace(run))))
            else:
                hidden += 1
        except UNREADABLE as error:
            notes.append(f"{'/'.join(folder.parts[-3:])} left out: {reason(error, folder)}")
    if not found and hidden:
        raise InputError(f"every run of '{dataset}' is synthetic ({hidden})", "add --synthetic to show them")
    if not found:
        what = "; ".join([f"no run of '{dataset}' under {Path(results_dir, layout.RUNS)}", *notes])
        raise InputError(what, f"vml-bench run dataset={dataset} task=sr4 method=vml_map_pre")
    if hidden:
        notes.append(f"{hidden} synthetic run{'s' * (hidden > 1)} left out (--synthetic shows them)")
    return sorted(found, key=lambda pair: pair[0].place), notes


def select_runs(results_dir: str | Path, dataset: str, synthetic: bool = False) -> tuple[list[Run], list[str]]:
    """The runs of a data set whose images can be read; they are read for that, and again when they are asked for.

    Arguments, the order, the lines and what is raised are those of `read_runs`.
    """
    found, notes = read_runs(results_dir, dataset, synthetic, lambda run: len(run.images))
    return [run for run, _ in found], notes


def each(runs: Iterable[Run]) -> Iterator[Run]:
    """Yields fresh copies, so that only one run's data is in memory."""
    return map(replace, runs)


def by_problem(runs: Iterable[Run]) -> dict[Problem, list[Run]]:
    """The runs of each problem, in order."""
    groups: dict[Problem, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.problem, []).append(run)
    return groups


def datasets(results_dir: str | Path, dataset: str | None = None) -> list[str]:
    """Names of the data sets that have runs, or just `dataset`.

    Raises:
        InputError: there are no runs.
    """
    if dataset is not None:
        return [dataset]
    root = Path(results_dir, layout.RUNS)
    found = sorted(folder.name for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
    if not found:
        raise InputError(f"no run under {root}", "vml-bench run dataset=photos64 task=sr4 method=vml_map_pre")
    return found


def reason(error: BaseException, folder: Path) -> str:
    """Why something in a folder cannot be read, on one line."""
    if isinstance(error, KeyError):
        return f"it lacks the key {error}"
    return " ".join(str(error).replace(f"{folder}/", "").split()) or type(error).__name__
