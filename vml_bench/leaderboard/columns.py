"""The columns of a leaderboard: what they are called, which way is better, how many digits they bear."""

from __future__ import annotations

from dataclasses import dataclass

KEYS = ("dataset", "task", "noise_std", "method", "run", "n", "diverged")
METHOD_ORDER = (
    *("pinv", "wiener", "tv"),
    *("ddrm", "ddnm", "pigdm", "tmpd", "dps", "diffpir", "daps", "reddiff", "lmaps", "proximap"),
    *("vml_map", "vml_map_pre", "vml_fixed_point"),
)


@dataclass(frozen=True)
class Column:
    """A measured column.

    Attributes:
        name: as in the frame and in images.parquet.
        title: as printed.
        better: +1 where more is better, −1 where less is, 0 where none is marked best.
        digits: digits after the point, at most; best and second best are judged on what is printed.
        unit: printed behind the title.
        features: the features whose distance it is; empty for a mean or median over images or scenes.
        significant: digits that count, for values of any size; 0: all that `digits` allows.
        statistic: "mean" or "median", over images or scenes.
        scenes: whether there is a value a scene (oracle.parquet) instead of one an image.
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
ORACLE = (
    Column("map_gap", "MAP gap", -1, 4, "nats", significant=3, statistic="median"),
    Column("map_distance", "MAP distance", -1, 4, significant=3, statistic="median"),
    Column("sw2", "SW2", -1, 4, significant=3, scenes=True),
    Column("sw2_floor", "floor", 0, 4, significant=3, scenes=True),
    Column("mean_error", "mean error", -1, 4, significant=3, scenes=True),
    Column("mean_error_floor", "floor", 0, 4, significant=3, scenes=True),
    Column("residual", "residual", 0, 4, significant=3),
    Column("residual_ratio", "residual ratio", 0, 2),
)
"""What a leaderboard on a closed-form prior has beside `COLUMNS`, and shows in place of pictures' scores."""
ALL = (*COLUMNS, *ORACLE)
BY_NAME = {column.name: column for column in ALL}


def with_bounds(name: str) -> tuple[str, str, str]:
    """The names under which a column and its bounds stand."""
    return name, f"{name}_low", f"{name}_high"


ROW = (*KEYS, *(name for column in ALL for name in with_bounds(column.name)))
"""The columns of a leaderboard, those of `ORACLE` last."""


def family(method: str) -> str | None:
    """The method of `METHOD_ORDER` that a method is or, by its name, varies: ddrm of ddrm_20; None for a stranger."""
    kin = [known for known in METHOD_ORDER if method == known or method.startswith(f"{known}_")]
    return max(kin, key=len, default=None)


def method_rank(method: str) -> tuple[int, str]:
    """Sort key: the simplest method first, the paper's own last, variants behind their method, strangers at the end."""
    known = family(method)
    return (METHOD_ORDER.index(known) if known else len(METHOD_ORDER), method)
