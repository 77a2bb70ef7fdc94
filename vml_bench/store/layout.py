"""What lies where in a results folder, as its README.md says; the one place that knows its names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vml_bench.files import replacing

CONFIG, RECORD = "config.yaml", "run.json"
TABLE, FEATURES, SCENES, POSTERIOR = "images.parquet", "features.npz", "oracle.parquet", "posterior.npz"
PICTURES, PARTS, LOCKS, LOCK, PROGRESS = "recon", "parts", "locks", ".lock", "progress.csv"
COMPLETED = "features_{network}.npz"
"""Features of a network that were computed after the run, from its pictures."""
RUNS, ORIGINALS, MEASUREMENTS = "runs", "originals", "measurements"
ABOUT = "README.md"
LEADERBOARD = "leaderboard.csv"

OK, DIVERGED = "ok", "diverged"
STATUSES = (OK, DIVERGED)
"""Values of the column `status`."""
EFFORT = ("nfe", "vjp", "seconds", "memory_mb")
"""Columns that are numbers in every row, whatever became of the image."""

TAKEN = {
    "dataset": (RUNS, ORIGINALS, MEASUREMENTS, "references", "report", "sweeps", "wandb", LEADERBOARD, ABOUT.lower()),
}
"""Names that mean something else in a results folder."""

README = """# Results

| what | where |
| --- | --- |
| a run | `runs/<dataset>/<task>/<method>/<run>/`, as follows; `vml-bench show <run>` prints it, and all paths |
| its configuration | `config.yaml`, resolved |
| how it was made | `run.json`: command, date, problem, prior, settings, … |
| scores | `images.parquet`: one row per image, with residual, nfe, vjp, seconds and status |
| restorations | `recon/<image>.png` |
| features of metric networks | `features.npz`; `features_<network>.npz` where they were computed later |
| against an exact posterior | `oracle.parquet`: one row per scene; `posterior.npz`: the posteriors, if small |
| while processes work on it | `parts/`, `locks`, `.lock` |
| ground truth | `originals/<dataset>/<images>/<image>.png`, with `images.parquet` and `features.npz` |
| measurements | `measurements/<dataset>/<task>/<problem>/<image>.png` |
| tables, figures | `<dataset>/`, written by `vml-bench leaderboard` |

`<run>`, `<problem>` and `<images>` are names by content: ten digits of a hash. `run.json` holds all three. Runs whose
problem has the same name were asked the same question; only they stand in one table.
"""


@dataclass(frozen=True)
class RunPlace:
    """Where a run lies.

    Attributes:
        results: the results folder.
        dataset, task, method, run: the names of the folders below <results>/runs.
    """

    results: Path
    dataset: str
    task: str
    method: str
    run: str

    @classmethod
    def of(cls, folder: Path) -> RunPlace:
        """The place of a run's folder.

        Raises:
            ValueError: it lies in no runs/<dataset>/<task>/<method>/.
        """
        for path in (Path(folder), Path(folder).resolve()):
            if len(path.parts) >= 5 and path.parts[-5] == RUNS:
                return cls(path.parents[4], *path.parts[-4:])
        raise ValueError(f"{path} is no <results>/{RUNS}/<dataset>/<task>/<method>/<run>")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.results / RUNS / self.dataset / self.task / self.method / self.run

    @property
    def label(self) -> str:
        """ "<dataset>/<task>/<method>/<run>"."""
        return f"{self.dataset}/{self.task}/{self.method}/{self.run}"


def originals(results: str | Path, dataset: str, images: str) -> Path:
    """The folder of a data set's images: pictures, hashes and features."""
    return Path(results, ORIGINALS, dataset, images)


def measurements(results: str | Path, dataset: str, task: str, problem: str) -> Path:
    """The folder of the pictures of a problem's measurements."""
    return Path(results, MEASUREMENTS, dataset, task, problem)


def run_folders(results: str | Path, dataset: str | None = None) -> list[Path]:
    """The folders of a data set's runs, or of all, readable or not, by name."""
    root = Path(results, RUNS)
    found = root.glob("*/*/*/*") if dataset is None else (root / dataset).glob("*/*/*")
    return [folder for folder in sorted(found) if folder.is_dir() and not folder.name.startswith(".")]


def is_folder_name(name: object) -> bool:
    """Whether a name is that of one folder, and leads to none above or below."""
    return isinstance(name, str) and name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name)


def picture(folder: Path, image_id: str) -> Path:
    """A picture of an image in a folder of pictures."""
    return folder / f"{image_id}.png"


def write_readme(results: str | Path) -> None:
    """Say in a results folder what lies where, unless something does already."""
    file = Path(results, ABOUT)
    if not file.exists():
        with replacing(file) as partial:
            partial.write_text(README, encoding="utf-8")
