"""What papers claim: results/published.yaml, read and checked row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import yaml

from vml_bench.configuration import config_dir, published_file
from vml_bench.errors import InputError

METRICS: dict[str, tuple[str, ...]] = {
    "PSNR": ("psnr",),
    "SSIM": ("ssim",),
    "LPIPS": ("lpips_alex", "lpips_vgg"),
    "FID": ("fid", "fid_legacy_pytorch", "fid_torch_fidelity", "fid_torchvision"),
    "KID": ("kid",),
}
"""For each metric as papers name it, the leaderboard columns it could mean, the default convention first."""

TEXTS = ("paper", "method", "dataset", "task", "metric", "source")
LISTS = ("methods", "candidates")


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Attributes:
        paper: title and where it is published.
        method: as the source names it.
        methods: method configs that it could be.
        dataset: as the source words it.
        task: as the source words it.
        metric: one of `METRICS`; PSNR in dB.
        value: the number.
        source: the table it stands in.
        candidates: task configs that the wording could mean.
        noise_std: σ_y, images in [-1, 1]; None where the source does not state it.
        images: number of images; None where the source does not state it.
        open: what the source leaves open.
        remark: what else a reader should know.
    """

    paper: str
    method: str
    methods: tuple[str, ...]
    dataset: str
    task: str
    metric: str
    value: float
    source: str
    candidates: tuple[str, ...]
    noise_std: float | None = None
    images: int | None = None
    open: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Published:
    """All published claims.

    Attributes:
        claims: in the file's order.
        datasets: for each data set as worded, the names under which this project files runs on it.
    """

    claims: tuple[Claim, ...]
    datasets: dict[str, tuple[str, ...]]

    def about(self, dataset: str) -> list[Claim]:
        """The claims that runs filed under a data set's name can answer."""
        return [claim for claim in self.claims if dataset in self.datasets[claim.dataset]]

    def require(self, dataset: str) -> None:
        """Refuse a data set about which nothing is claimed.

        Raises:
            InputError: nothing is; names those about which something is.
        """
        if not self.about(dataset):
            known = dict.fromkeys(name for names in self.datasets.values() for name in names)
            raise InputError(f"no published result is about runs of '{dataset}'", f"choose among {', '.join(known)}")

    def names(self, with_runs: Sequence[str]) -> list[str]:
        """Data sets to compare: of each one claimed about, those with runs, or else the first of its names."""
        found: dict[str, None] = {}
        for names in self.datasets.values():
            found |= dict.fromkeys([name for name in names if name in with_runs] or names[:1])
        return [name for name in found if self.about(name)]


def read_published(file: str | Path | None = None) -> Published:
    """Read and check the claims.

    Args:
        file: default: `results/published.yaml`, of the checkout or of the wheel.

    Raises:
        InputError: the file cannot be read, or a row does not fit; names the row and what is wrong with it.
    """
    file = Path(file or published_file())
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file} cannot be read ({' '.join(str(error).split())})", "restore it") from error
    if not isinstance(content, dict) or content.keys() != {"datasets", "claims"}:
        raise InputError(f"{file} needs the keys datasets and claims, and no others", "see the comment at its head")
    datasets, claims = content["datasets"], content["claims"]
    if not isinstance(datasets, dict) or not all(map(_is_names, datasets.values())):
        raise InputError(f"{file}: datasets must map each wording to a list of names", "see the comment at its head")
    if not isinstance(claims, list):
        raise InputError(f"{file}: claims must be a list", "see the comment at its head")
    tasks = sorted(path.stem for path in (config_dir() / "task").glob("*.yaml"))
    rows = []
    for number, row in enumerate(claims, 1):
        if problem := _problem(row, datasets, tasks):
            raise InputError(f"{file}: claim {number}{_words(row)}: {problem}", "correct that row")
        rows.append(Claim(**{key: tuple(value) if key in LISTS else value for key, value in row.items()}))
    return Published(tuple(rows), {wording: tuple(names) for wording, names in datasets.items()})


def _problem(row: object, datasets: dict, tasks: list[str]) -> str | None:
    """What is wrong with a row, None where nothing is."""
    if not isinstance(row, dict):
        return "is no mapping"
    known = {field.name: field.default is MISSING for field in fields(Claim)}
    if unknown := sorted(map(str, row.keys() - known.keys())):
        return f"unknown key '{unknown[0]}'; known are {', '.join(known)}"
    if absent := [name for name, required in known.items() if required and name not in row]:
        return f"{absent[0]} is missing"
    if wrong := [name for name in (*TEXTS, "open", "remark") if not isinstance(row.get(name, ""), str)]:
        return f"{wrong[0]} is no text"
    if wrong := [name for name in LISTS if not _is_names(row[name])]:
        return f"{wrong[0]} is no list of names"
    if not _is_finite(row["value"]):
        return f"value {row['value']!r} is no number"
    if row["metric"] not in METRICS:
        return f"no metric '{row['metric']}'; known are {', '.join(METRICS)}"
    if row["dataset"] not in datasets:
        return f"no data set '{row['dataset']}' under datasets"
    if strange := [name for name in row["candidates"] if name not in tasks]:
        return f"no task '{strange[0]}'; known are {', '.join(tasks)}"
    if "noise_std" in row and not (_is_finite(row["noise_std"]) and row["noise_std"] >= 0):
        return f"noise_std {row['noise_std']!r} is no noise level"
    if "images" in row and not (isinstance(row["images"], int) and row["images"] > 0):
        return f"images {row['images']!r} is no number of images"
    return None


def _words(row: object) -> str:
    """Which row it is, " (task, data set, metric)", as far as it says."""
    said = [str(row[key]) for key in ("task", "dataset", "metric") if key in row] if isinstance(row, dict) else []
    return f" ({', '.join(said)})" if said else ""


def _is_names(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
