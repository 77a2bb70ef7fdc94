"""The columns of every table: what each is called, which way is better, how many digits it bears. Declared once, here.

A metric of your own declares the same itself (`vml_bench.contract.Metric`); a run records that, and tables, figures,
the page, `compare` and W&B take it from there (`columns_of`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

KEYS = ("dataset", "task", "noise_std", "problem", "prior", "method", "settings", "run", "n", "diverged")
"""What a leaderboard's row says of its run, before what is measured."""


@dataclass(frozen=True)
class Column:
    """A measured column.

    Attributes:
        name: as in tables and in each run's rows.
        title: as printed.
        better: +1 where more is better, −1 where less is, 0 where none is marked best.
        digits: digits after the point, at most; best and second best are judged on what is printed.
        unit: printed behind the title.
        features: the features whose distance it is; empty for a mean or median over images or scenes.
        significant: digits that count, for values of any size; 0: all that `digits` allows.
        statistic: "mean" or "median", over images or scenes.
        scenes: whether there is one value per scene instead of one per image.
        exact: whether it is a score against an exact posterior.
        effort: whether it counts what was spent, not what came of it.
        starts: whether it is over several starts of the method, of which one is the row's answer.
        cite: keys of references.bib, or BibTeX entries.
    """

    name: str
    title: str
    better: int
    digits: int
    unit: str = ""
    features: str = ""
    significant: int = 0
    statistic: str = "mean"
    scenes: bool = False
    exact: bool = False
    effort: bool = False
    starts: bool = False
    cite: tuple[str, ...] = ()

    @property
    def of_images(self) -> bool:
        """Whether it is a score of single images, better one way: what `compare` compares."""
        return bool(self.better) and not (self.features or self.scenes or self.exact or self.effort or self.starts)


PSNR = Column("psnr", "PSNR", +1, 2, "dB")
SSIM = Column("ssim", "SSIM", +1, 3, cite=("wang2004ssim",))
LPIPS = Column("lpips_alex", "LPIPS", -1, 3, cite=("zhang2018lpips",))
LPIPS_VGG = Column("lpips_vgg", "LPIPS-VGG", -1, 3, cite=("zhang2018lpips",))
METRICS = (PSNR, SSIM, LPIPS, LPIPS_VGG)
"""Scores of single images that the harness has itself (`vml_bench.metrics`)."""
STARTS = tuple(
    Column(f"{of.name}_{name}", f"{of.title}, {words}", of.better, of.digits, of.unit, cite=of.cite, starts=True)
    for of in (PSNR, LPIPS)
    for name, words in (("mean", "mean start"), ("best", "best start"))
)
"""Of a run of several starts: the mean over all of them, and the best, which only the ground truth can tell."""
FID = ("heusel2017fid", "parmar2022cleanfid")
DISTANCES = (
    Column("fid", "FID", -1, 2, features="inception", cite=FID),
    Column("fid_legacy_pytorch", "FID-legacy-pytorch", -1, 2, features="inception_legacy_pytorch", cite=FID),
    Column("fid_torch_fidelity", "FID-torch-fidelity", -1, 2, features="inception_torch_fidelity", cite=FID),
    Column("fid_torchvision", "FID-torchvision", -1, 2, features="inception_torchvision", cite=FID),
    Column("kid", "KID", -1, 4, features="inception", cite=("binkowski2018kid", "parmar2022cleanfid")),
    Column("fd_alex", "fd_alex", -1, 1, features="alex", cite=("heusel2017fid", "zhang2018lpips")),
    Column("kd_alex", "kd_alex", -1, 2, features="alex", cite=("binkowski2018kid", "zhang2018lpips")),
)
"""Distances between the set of restorations and that of the originals."""
EFFORT = (
    Column("nfe", "NFE", 0, 0, effort=True),
    Column("vjp", "VJP", 0, 0, effort=True),
    Column("applications", "A", 0, 0, effort=True),
    Column("seconds", "time", 0, 2, "s", effort=True),
    Column("memory_mb", "memory", 0, 0, "MB", effort=True),
)
COLUMNS = (*METRICS, *STARTS, *DISTANCES, *EFFORT)
ORACLE = (
    Column("map_gap", "MAP gap", -1, 4, "nats", significant=3, statistic="median", exact=True),
    Column("map_distance", "MAP distance", -1, 4, significant=3, statistic="median", exact=True),
    Column("sw2", "SW2", -1, 4, significant=3, scenes=True, exact=True),
    Column("sw2_floor", "floor", 0, 4, significant=3, scenes=True, exact=True),
    Column("mean_error", "mean error", -1, 4, significant=3, scenes=True, exact=True),
    Column("mean_error_floor", "floor", 0, 4, significant=3, scenes=True, exact=True),
    Column("residual", "residual", 0, 4, significant=3, exact=True),
    Column("residual_ratio", "residual ratio", 0, 2, exact=True),
)
"""What a leaderboard on a closed-form prior has beside `COLUMNS`, and shows in place of pictures' scores."""
BY_NAME = {column.name: column for column in (*COLUMNS, *ORACLE)}


def declared(metric: Any) -> Column:
    """The column that a metric of `vml_bench.contract.Metric` declares.

    Raises:
        ValueError: its name is taken or no identifier, or `better` is none of +1, 0, −1.
    """
    column = Column(
        *(str(metric.name), str(metric.title), int(metric.better), int(metric.digits), str(metric.unit)),
        cite=tuple(map(str, getattr(metric, "cite", ()))),
    )
    if not column.name.isidentifier() or column.name in (*BY_NAME, *KEYS, "image_id", "scene", "status", "sha256"):
        raise ValueError(f"its name is {column.name!r}, which is taken or no identifier")
    if column.better not in (-1, 0, 1):
        raise ValueError(f"better is {column.better}, not +1, 0 or −1")
    return column


def columns_of(recorded: Iterable[Mapping[str, Any]]) -> dict[str, Column]:
    """All columns by name: the harness's own, and behind `METRICS` those that runs recorded of metrics of their own.

    Args:
        recorded: as `asdict` of a column; what does not fit is passed over.
    """
    own: dict[str, Column] = {}
    for said in recorded:
        try:
            declared_as = {key: said[key] for key in ("name", "title", "better", "digits", "unit")}
            column = Column(**declared_as, cite=tuple(map(str, said.get("cite", ()))))
            if column.name not in BY_NAME and column.name.isidentifier() and column.better in (-1, 0, 1):
                own[column.name] = Column(**asdict(column) | {"digits": min(max(int(column.digits), 0), 12)})
        except (TypeError, KeyError, ValueError, AttributeError):
            continue
    ordered = [*METRICS, *own.values(), *STARTS, *DISTANCES, *EFFORT, *ORACLE]
    return {column.name: column for column in ordered}


def with_bounds(name: str) -> tuple[str, str, str]:
    """The names under which a column and its bounds stand."""
    return name, f"{name}_low", f"{name}_high"
