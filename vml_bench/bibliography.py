"""BibTeX of what stands behind the runs on disk: methods, priors, metrics, data sets, statistics."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from vml_bench.configuration import read_config
from vml_bench.errors import InputError
from vml_bench.figures.styles import base_method
from vml_bench.files import replacing
from vml_bench.leaderboard.aggregate import datasets, select_runs
from vml_bench.leaderboard.columns import COLUMNS
from vml_bench.leaderboard.runs import Run

REFERENCES = Path(__file__).with_name("references.bib")

METHODS: dict[str, tuple[str, ...]] = {
    "pinv": (),
    "wiener": ("wiener1949extrapolation",),
    "tv": ("rudin1992tv", "chambolle2011primaldual"),
    "ddrm": ("kawar2022ddrm",),
    "ddnm": ("wang2023ddnm",),
    "dps": ("chung2023dps",),
    "pigdm": ("song2023pigdm",),
    "tmpd": ("boys2024tmpd",),
    "diffpir": ("zhu2023diffpir",),
    "daps": ("zhang2025daps",),
    "reddiff": ("mardani2024reddiff",),
    "lmaps": ("zhang2025lmaps",),
    "proximap": ("vert2026proximap",),
    "vml_map": ("gutha2025vmlmap",),
    "vml_map_pre": ("gutha2025vmlmap",),
    "vml_fixed_point": ("gutha2025vmlmap",),
}
"""Keys of each method; a variant (dps_1000) has those of its method (dps), the pseudo-inverse has none."""
SCHEDULES = {"EDMSchedule": ("karras2022edm",), "DDPMSchedule": ("ho2020ddpm",)}
PRIORS = {
    "ffhq256": ("dhariwal2021adm", "chung2023dps"),
    "imagenet256": ("dhariwal2021adm",),
    "celebahq256": ("ho2020ddpm",),
    "photos64": ("karras2022edm",),
}
"""The network, and whose weights they are."""
PHOTOS = ("vanderwalt2014scikitimage", "pedregosa2011scikitlearn", "hunter2007matplotlib")
DATASETS = {
    "ffhq256": ("karras2019ffhq",),
    "ffhq256_1k": ("karras2019ffhq",),
    "imagenet256": ("russakovsky2015imagenet",),
    "imagenet256_1k": ("russakovsky2015imagenet",),
    "celebahq256": ("karras2018celebahq",),
    "photos64": PHOTOS,
    "photos64_tune": PHOTOS,
}
SCORES = {"ssim": ("wang2004ssim",), "lpips_alex": ("zhang2018lpips",), "lpips_vgg": ("zhang2018lpips",)}
FEATURES = {
    column.features: ("heusel2017fid", "binkowski2018kid", "parmar2022cleanfid")
    if column.features.startswith("inception")
    else ("heusel2017fid", "zhang2018lpips")
    for column in COLUMNS
    if column.features
}
STATISTICS = ("efron1987bca", "cameron2008cluster", "holm1979sequentially")
"""Of the leaderboard's intervals and of `vml-bench compare`."""


def read_references() -> dict[str, str]:
    """Every BibTeX entry that travels with the package, by key, in the file's order."""
    entries = re.split(r"^(?=@)", REFERENCES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {re.match(r"@\w+\{([^,\s]+),", entry).group(1): entry.strip() + "\n" for entry in entries}


def keys_of(run: Run) -> list[str]:
    """Keys behind one run: its method, schedule, prior, data set and scores; what is not known has none."""
    config = read_config(run.folder / "config.yaml")
    target = _at(config, "method", "sampler", "schedule", "_target_").rpartition(".")[2]
    named = [(METHODS, base_method(run.method)), (SCHEDULES, target), (PRIORS, _at(config, "prior", "name"))]
    named += [(DATASETS, run.dataset)]
    named += [(SCORES, name) for name in run.images.columns]
    named += [(FEATURES, name) for name in run.features.vectors]
    return [key for table, name in named for key in table.get(name, ())]


def _at(config: object, *keys: str) -> str:
    """The text at a place of a configuration; empty where there is none."""
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config if isinstance(config, str) else ""


def bibliography(results_dir: str | Path, dataset: str | None = None, synthetic: bool = False) -> str:
    """BibTeX of what is behind the runs on disk, each entry once, in the order of references.bib.

    Args:
        results_dir: the folder that holds runs/.
        dataset: one data set; default every one with runs.
        synthetic: whether runs whose images or weights are made up count too.

    Raises:
        InputError: there is no run.
    """
    used, failures = set(STATISTICS), []
    names = datasets(results_dir, dataset)
    for name in names:
        try:
            runs, _ = select_runs(results_dir, name, synthetic)
        except InputError as error:
            failures.append(error)
            continue
        used.update(key for run in runs for key in keys_of(run))
    if len(failures) == len(names):
        raise failures[0]
    return entries(used)


def entries(keys: Iterable[str]) -> str:
    """The BibTeX entries of some keys, in the order of references.bib."""
    wanted = set(keys)
    return "\n".join(entry for key, entry in read_references().items() if key in wanted)


def write_bibliography(results_dir: str | Path, dataset: str | None = None, synthetic: bool = False) -> Path:
    """Write `bibliography` to <results_dir>/bibliography.bib, or that of one data set into its folder; returns it."""
    path = Path(results_dir, dataset or "", "bibliography.bib")
    with replacing(path) as partial:
        partial.write_text(bibliography(results_dir, dataset, synthetic), encoding="utf-8")
    return path
