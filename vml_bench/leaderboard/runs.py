"""Reading run folders (design, section 7): one run, whole, or the reason why it cannot be read."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vml_bench.errors import InputError
from vml_bench.leaderboard.columns import method_rank
from vml_bench.leaderboard.features import Features, read_features

STATUSES = ("ok", "diverged")
UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, yaml.YAMLError)


@dataclass(frozen=True)
class Run:
    """One run: a method on a task, over the images it has finished.

    Attributes:
        folder: its folder.
        dataset, task, noise_std, method, seed: from its resolved configuration.
        name: the folder's name, a short hash of that configuration.
        synthetic: its images or its weights are made up, so its numbers mean nothing.
        expected: ids of the images it was asked for.
        images: images.parquet, a row an image.
        features: of its restorations.
        scenes: oracle.parquet, a row a scene; None for a run that is not scored against an exact posterior.
    """

    folder: Path
    dataset: str
    task: str
    noise_std: float
    method: str
    seed: int
    name: str
    synthetic: bool
    expected: tuple[str, ...]
    images: pd.DataFrame
    features: Features
    scenes: pd.DataFrame | None = None

    @property
    def label(self) -> str:
        """The run in words."""
        return f"{self.task} at noise_std {self.noise_std:g}, {self.method} ({self.name})"

    @property
    def good(self) -> pd.DataFrame:
        """The rows of the images that did not diverge."""
        return self.images[self.images["status"] == "ok"]

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


def read_run(folder: Path) -> Run:
    """Read one run folder.

    Raises:
        One of `UNREADABLE`: a file is missing, broken, or lacks what the contract says it holds.
    """
    for required in ("config.yaml", "run.json", "images.parquet"):
        if not (folder / required).is_file():
            raise ValueError(f"{required} is missing")
    try:
        config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"config.yaml: {error}") from error
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    images = pd.read_parquet(folder / "images.parquet")
    if absent := {"image_id", "status"} - set(images.columns):
        raise ValueError(f"images.parquet lacks the column {' and '.join(sorted(absent))}")
    images["image_id"] = images["image_id"].astype(str)
    if twice := images.loc[images["image_id"].duplicated(), "image_id"].tolist():
        raise ValueError(f"images.parquet lists '{twice[0]}' twice")
    if unknown := sorted(set(images["status"]) - set(STATUSES), key=str):
        raise ValueError(f"images.parquet has the status '{unknown[0]}'")
    return Run(
        folder=folder,
        dataset=str(config["dataset"]["name"]),
        task=str(config["task"]["name"]),
        noise_std=float(config["task"]["noise_std"]),
        method=str(config["method"]["name"]),
        seed=int(config["seed"]),
        name=folder.name,
        synthetic=bool(record.get("synthetic", False)),
        expected=tuple(str(image_id) for image_id in record.get("ids", images["image_id"])),
        images=images,
        features=read_features(folder),
        scenes=pd.read_parquet(folder / "oracle.parquet") if (folder / "oracle.parquet").is_file() else None,
    )


def read_runs(results_dir: str | Path, dataset: str) -> tuple[list[Run], list[str]]:
    """Read every run of a data set.

    Args:
        results_dir: the folder that holds runs/.
        dataset: name under which the runs are filed.

    Returns:
        The runs, by task, noise level and method; and a line for each folder that had to be left out.

    Raises:
        InputError: there is no readable run.
    """
    root = Path(results_dir, "runs", dataset)
    runs, warnings = [], []
    for folder in sorted(root.glob("*/*/*")):
        if not folder.is_dir() or folder.parent.name == "measurements":
            continue
        try:
            runs.append(read_run(folder))
        except UNREADABLE as error:
            warnings.append(f"{folder.relative_to(root)} left out: {_reason(error, folder)}")
    if not runs:
        found = f"no run of '{dataset}' under {root}" + "".join(f"; {line}" for line in warnings)
        raise InputError(found, f"vml-bench run dataset={dataset} task=sr4 method=vml_map_pre")
    runs.sort(key=lambda run: (run.task, run.noise_std, method_rank(run.method), run.name))
    return runs, warnings


def _reason(error: BaseException, folder: Path) -> str:
    if isinstance(error, KeyError):
        return f"it lacks the key {error}"
    return " ".join(str(error).replace(f"{folder}/", "").split()) or type(error).__name__
