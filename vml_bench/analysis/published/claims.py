"""What papers claim: results/published.yaml, read and checked number by number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from vml_bench.configuration import choices, published_file
from vml_bench.errors import InputError

METRICS: dict[str, tuple[str, ...]] = {
    "PSNR": ("psnr",),
    "SSIM": ("ssim",),
    "LPIPS": ("lpips_alex", "lpips_vgg"),
    "FID": ("fid", "fid_legacy_pytorch", "fid_torch_fidelity", "fid_torchvision"),
    "KID": ("kid",),
}
"""For each metric as papers name it, the leaderboard columns it could mean, the default convention first."""

THE_PAPER = "arXiv 2512.10524"
NOISE_STDS = (0.0, 0.05)
"""σ_y to measure where a source states none: noiseless, and what most programs mean by their 0.05."""
TEXTS = ("paper", "method", "dataset", "task", "metric", "source")
OPTIONAL_TEXTS = ("open", "remark", "protocol", "network", "unsafe")
LISTS = ("methods", "candidates")
SHARED = ("paper", "source", "dataset", "images", "network", "protocol", "open", "remark")
"""What a table says once for all its numbers."""


@dataclass(frozen=True)
class Claim:
    """One published number.

    Attributes:
        paper: title and where it is published.
        method: as the source names it; "DPS@100" is DPS with 100 levels.
        methods: names of method configs that it could be; none where this project has no such method.
        dataset: as the source words it.
        task: as the source words it.
        metric: one of `METRICS`; PSNR in dB.
        value: the number.
        source: the table it stands in.
        candidates: task configs that the wording could mean; none where this project has no such task.
        noise_std: σ_y, images in [-1, 1]; None where the source does not state it.
        images: number of images; None where the source does not state it.
        open: what the source leaves open.
        remark: what else a reader should know.
        protocol: how the source measures, measures of quality included.
        network: file name of the checkpoint that the source used; empty where it does not say.
        own: whether the source's authors made this method; else it is their rerun or quotation of a rival's.
        unsafe: why the number should not be relied on; empty where nothing is known against it.
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
    protocol: str = ""
    network: str = ""
    own: bool = True
    unsafe: str = ""


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
        """Data sets to compare: those with runs about which something is claimed, and those of the paper itself."""
        ours = {claim.dataset for claim in self.claims if THE_PAPER in claim.paper}
        found: dict[str, None] = {}
        for wording, names in self.datasets.items():
            run = [name for name in names if name in with_runs]
            found |= dict.fromkeys(run or (names[:1] if wording in ours else []))
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
    if not isinstance(content, dict) or not {"datasets", "claims"} <= content.keys() <= {
        "datasets",
        "claims",
        "tables",
    }:
        raise InputError(f"{file} needs the keys datasets and claims, may have tables", "see the comment at its head")
    datasets, claims, tables = content["datasets"], content["claims"], content.get("tables", [])
    if not isinstance(datasets, dict) or not all(map(_is_names, datasets.values())):
        raise InputError(f"{file}: datasets must map each wording to a list of names", "see the comment at its head")
    if not isinstance(claims, list) or not isinstance(tables, list):
        raise InputError(f"{file}: claims and tables must be lists", "see the comment at its head")
    told = [(f"claim {number}", row) for number, row in enumerate(claims, 1)]
    for number, table in enumerate(tables, 1):
        name = table.get("name", number) if isinstance(table, dict) else number
        try:
            told += [(f"table {name}", row) for row in numbers_of(table)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            said = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{file}: table {name}: {said}", "see the comment at its head") from error
    rows = []
    for where, row in told:
        if problem := _problem(row, datasets):
            raise InputError(f"{file}: {where}{_words(row)}: {problem}", "correct that row")
        rows.append(Claim(**{key: tuple(value) if key in LISTS else value for key, value in row.items()}))
    return Published(tuple(rows), {wording: tuple(names) for wording, names in datasets.items()})


def numbers_of(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each number of a table as a claim of its own.

    Args:
        table: as results/published.yaml has it: what all numbers share (`SHARED`); `tasks`, how the table words each
            and what it could mean; `columns`, a task and a metric each; `rows`, a method's values, null where the
            table has none; `methods`; `own`; `unsafe`, by "METHOD task"; `noise_std`, one or by task.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it has another form.
    """
    shared = {key: table[key] for key in SHARED if key in table}
    for method, values in table["rows"].items():
        base = method if method in table["methods"] else method.partition("@")[0]
        if len(values) != len(table["columns"]):
            raise ValueError(f"{method} has {len(values)} values for {len(table['columns'])} columns")
        for column, value in zip(table["columns"], values, strict=True):
            task, metric = column.rsplit(" ", 1)
            if value is None:
                continue
            noise_std = table.get("noise_std")
            noise_std = noise_std.get(task) if isinstance(noise_std, Mapping) else noise_std
            yield {
                **shared,
                "method": method,
                "methods": table["methods"][base],
                "own": base in table["own"],
                "metric": metric,
                "value": value,
                **table["tasks"][task],
                **({} if noise_std is None else {"noise_std": noise_std}),
                "unsafe": table.get("unsafe", {}).get(f"{method} {task}", ""),
            }


def _problem(row: object, datasets: dict) -> str | None:
    """What is wrong with a row, None where nothing is."""
    if not isinstance(row, dict):
        return "is no mapping"
    known = {field.name: field.default is MISSING for field in fields(Claim)}
    if unknown := sorted(map(str, row.keys() - known.keys())):
        return f"unknown key '{unknown[0]}'; known are {', '.join(known)}"
    if absent := [name for name, required in known.items() if required and name not in row]:
        return f"{absent[0]} is missing"
    if wrong := [name for name in (*TEXTS, *OPTIONAL_TEXTS) if not isinstance(row.get(name, ""), str)]:
        return f"{wrong[0]} is no text"
    if wrong := [name for name in LISTS if not _is_names(row[name])]:
        return f"{wrong[0]} is no list of names"
    if not _is_finite(row["value"]):
        return f"value {row['value']!r} is no number"
    if row["metric"] not in METRICS:
        return f"no metric '{row['metric']}'; known are {', '.join(METRICS)}"
    if row["dataset"] not in datasets:
        return f"no data set '{row['dataset']}' under datasets"
    for group, names in (("task", row["candidates"]), ("method", row["methods"])):
        if strange := [name for name in names if name not in choices(group)]:
            return f"no {group} '{strange[0]}'; known are {', '.join(sorted(choices(group)))}"
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
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
