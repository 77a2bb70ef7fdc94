"""The columns of a leaderboard: what they are called, which way is better, how many digits they bear."""

from __future__ import annotations

from dataclasses import dataclass

KEYS = ("dataset", "task", "noise_std", "method", "run", "n", "diverged")
METHOD_ORDER = ("pinv", "ddrm", "dps", "vml_map", "vml_map_pre", "vml_fixed_point")


@dataclass(frozen=True)
class Column:
    """A measured column.

    Attributes:
        name: as in the frame and in images.parquet.
        title: as printed.
        better: +1 where more is better, −1 where less is, 0 where none is marked best.
        digits: digits after the point; best and second best are judged on what is printed.
        unit: printed behind the title.
        features: the features whose distance it is; empty for a mean over images.
    """

    name: str
    title: str
    better: int
    digits: int
    unit: str = ""
    features: str = ""


COLUMNS = (
    Column("psnr", "PSNR", +1, 2, "dB"),
    Column("ssim", "SSIM", +1, 3),
    Column("lpips_alex", "LPIPS", -1, 3),
    Column("lpips_vgg", "LPIPS-VGG", -1, 3),
    Column("fid", "FID", -1, 2, features="inception"),
    Column("fid_legacy_pytorch", "FID-legacy-pytorch", -1, 2, features="inception_legacy_pytorch"),
    Column("fid_torch_fidelity", "FID-torch-fidelity", -1, 2, features="inception_torch_fidelity"),
    Column("fid_torchvision", "FID-torchvision", -1, 2, features="inception_torchvision"),
    Column("kid", "KID", -1, 4, features="inception"),
    Column("fd_alex", "fd_alex", -1, 1, features="alex"),
    Column("kd_alex", "kd_alex", -1, 2, features="alex"),
    Column("nfe", "NFE", 0, 0),
    Column("vjp", "VJP", 0, 0),
    Column("seconds", "time", 0, 2, "s"),
    Column("memory_mb", "memory", 0, 0, "MB"),
)
MEANS = tuple(column for column in COLUMNS if not column.features)
DISTANCES = tuple(column for column in COLUMNS if column.features)
BY_NAME = {column.name: column for column in COLUMNS}


def method_rank(method: str) -> tuple[int, str]:
    """Sort key: the simplest method first, the paper's own last, any other behind them by name."""
    return (METHOD_ORDER.index(method) if method in METHOD_ORDER else len(METHOD_ORDER), method)
