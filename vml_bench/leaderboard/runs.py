"""Reading run folders (design, section 7): one run, whole, or the reason why it cannot be read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vml_bench.configuration import read_config, read_record
from vml_bench.errors import InputError
from vml_bench.leaderboard.columns import method_rank
from vml_bench.leaderboard.features import Features, read_features
from vml_bench.store import parts

STATUSES = ("ok", "diverged")
UNREADABLE = (*parts.DAMAGED, OverflowError)
"""What reading a run raises where a file is missing, broken, or lacks what the contract says it holds."""


@dataclass(frozen=True)
class Run:
    """One run: a method on a task, over the images it has finished.

    What it is stands in memory. Its images, features and scenes are read when they are first asked for, which raises
    one of `UNREADABLE` where that cannot be done, and stay with this object; `each` goes over many runs without
    keeping more than one run's.

    Attributes:
        folder: its folder.
        dataset, task, noise_std, method, seed: from its resolved configuration.
        name: the folder's name, a short hash of that configuration.
        synthetic: its images or its weights are made up, so its numbers mean nothing.
        asked: ids of the images it was asked for; None where run.json does not say.
    """

    folder: Path
    dataset: str
    task: str
    noise_std: float
    method: str
    seed: int
    name: str
    synthetic: bool
    asked: tuple[str, ...] | None

    @cached_property
    def images(self) -> pd.DataFrame:
        """A row an image, in the order in which the images were asked for."""
        return _read_images(self.folder, self.asked or ())

    @cached_property
    def features(self) -> Features:
        """Of its restorations."""
        return read_features(self.folder)

    @cached_property
    def scenes(self) -> pd.DataFrame | None:
        """oracle.parquet, a row a scene; None for a run that is not scored against an exact posterior."""
        table = self.folder / "oracle.parquet"
        return pd.read_parquet(table) if table.is_file() else None

    @property
    def expected(self) -> tuple[str, ...]:
        """Ids of the images it was asked for."""
        return tuple(self.images["image_id"].tolist()) if self.asked is None else self.asked

    @property
    def label(self) -> str:
        """The run in words."""
        return f"{self.task} at noise_std {self.noise_std:g}, {self.method} ({self.name})"

    @cached_property
    def good(self) -> pd.DataFrame:
        """The rows of the images that did not diverge; `images` itself where none did."""
        good = self.images["status"] == "ok"
        return self.images if good.all() else self.images[good]

    @property
    def exact(self) -> bool:
        """Whether it is scored against an exact posterior."""
        return "map_gap" in self.images

    def picture(self, image_id: str) -> Path:
        """Where the restoration of an image lies."""
        return self.folder / "recon" / f"{image_id}.png"

    @property
    def measurements(self) -> Path:
        """The folder of its measurements' pictures, <noise_std>-<seed>, however the number is spelt."""
        root = self.folder.parents[1] / "measurements"
        for folder in sorted(root.glob(f"*-{self.seed}")):
            try:
                spelt = float(folder.name.removesuffix(f"-{self.seed}"))
            except ValueError:
                continue
            if math.isclose(spelt, self.noise_std, abs_tol=1e-12):
                return folder
        return root / f"{self.noise_std:g}-{self.seed}"


def open_run(folder: Path) -> Run:
    """What a run is, from its config.yaml and run.json; its images are still to be read.

    Raises:
        One of `UNREADABLE`.
    """
    for required in ("config.yaml", "run.json"):
        if not (folder / required).is_file():
            raise ValueError(f"{required} is missing")
    if not parts.table(folder).is_file() and not parts.part_files(folder):
        raise ValueError("images.parquet is missing")
    config, record = read_config(folder / "config.yaml"), read_record(folder / "run.json")
    ids = record.get("ids")
    return Run(
        folder=folder,
        dataset=str(config["dataset"]["name"]),
        task=str(config["task"]["name"]),
        noise_std=float(config["task"]["noise_std"]),
        method=str(config["method"]["name"]),
        seed=int(config["seed"]),
        name=folder.name,
        synthetic=bool(record.get("synthetic", False)),
        asked=None if ids is None else _held_once(tuple(map(str, ids))),
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


def run_folders(results_dir: str | Path, dataset: str) -> list[Path]:
    """The folders of a data set's runs, readable or not, by name."""
    found = sorted(Path(results_dir, "runs", dataset).glob("*/*/*"))
    return [folder for folder in found if folder.parent.name != "measurements" and folder.is_dir()]


def read_runs(results_dir: str | Path, dataset: str) -> tuple[list[Run], list[str]]:
    """Every run of a data set whose images can be read; they are read for that, and again when they are asked for.

    Args:
        results_dir: the folder that holds runs/.
        dataset: name under which the runs are filed.

    Returns:
        The runs, by task, noise level and method; and a line for each folder that had to be left out.

    Raises:
        InputError: there is no readable run.
    """
    runs, warnings = [], []
    for folder in run_folders(results_dir, dataset):
        try:
            run = open_run(folder)
            replace(run).images  # noqa: B018
        except UNREADABLE as error:
            warnings.append(left_out(folder, error))
        else:
            runs.append(run)
    if not runs:
        raise no_run(results_dir, dataset, warnings)
    runs.sort(key=lambda run: place_of(run.task, run.noise_std, run.method, run.name))
    return runs, warnings


def each(runs: Iterable[Run]) -> Iterator[Run]:
    """The runs one by one, each as an object of its own, so that what is read of it goes when the next one comes."""
    return map(replace, runs)


def place_of(task: str, noise_std: float, method: str, name: str) -> tuple[Any, ...]:
    """Sort key of runs: by task, noise level and method."""
    return task, noise_std, method_rank(method), name


def left_out(folder: Path, error: BaseException) -> str:
    """A line for a run that cannot be read."""
    return f"{'/'.join(folder.parts[-3:])} left out: {_reason(error, folder)}"


def no_run(results_dir: str | Path, dataset: str, warnings: Iterable[str]) -> InputError:
    """The error where no run can be read, with a line for each that was tried."""
    root = Path(results_dir, "runs", dataset)
    found = f"no run of '{dataset}' under {root}" + "".join(f"; {line}" for line in warnings)
    return InputError(found, f"vml-bench run dataset={dataset} task=sr4 method=vml_map_pre")


def _read_images(folder: Path, asked: Sequence[str]) -> pd.DataFrame:
    """Rows of all images, merged or not, those of `asked` first and in that order."""
    unmerged = parts.part_files(folder)
    images = _read_merged(folder)
    if unmerged or images is None:
        images = parts.read_rows(folder)
        images["image_id"] = images["image_id"].astype(str)
    if unknown := sorted(set(images["status"].unique()) - set(STATUSES), key=str):
        raise ValueError(f"images.parquet has the status '{unknown[0]}'")
    position = {image_id: i for i, image_id in enumerate(asked)}
    order = np.array([position.get(image_id, len(position)) for image_id in images["image_id"].tolist()])
    if (np.diff(order) >= 0).all():
        return images
    return images.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def _read_merged(folder: Path) -> pd.DataFrame | None:
    """images.parquet, each image once; None where there is none yet."""
    try:
        merged = parts.read_table(folder)
    except KeyError as error:
        raise ValueError(f"images.parquet lacks the column {error.args[0]}") from error
    if merged is None:
        return None
    if "status" not in merged:
        raise ValueError("images.parquet lacks the column status")
    if len(twice := merged.loc[merged["image_id"].duplicated(), "image_id"]):
        raise ValueError(f"images.parquet lists '{twice.iloc[0]}' twice")
    return merged


@lru_cache(maxsize=64)
def _held_once(ids: tuple[str, ...]) -> tuple[str, ...]:
    """The same object for equal ids: thousands of runs on the same images hold their names once."""
    return ids


def _reason(error: BaseException, folder: Path) -> str:
    if isinstance(error, KeyError):
        return f"it lacks the key {error}"
    return " ".join(str(error).replace(f"{folder}/", "").split()) or type(error).__name__
