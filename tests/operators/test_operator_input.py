"""What cannot be used is refused at once, by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vml_bench import operators as ops
from vml_bench.errors import InputError

RGB = (3, 16, 16)
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "factor does not divide": (lambda: ops.BlockAverage((3, 16, 18), factor=4), "16×18.*factor=4"),
    "bicubic factor does not divide": (lambda: ops.Bicubic((3, 18, 16), factor=4), "18×16.*factor=4"),
    "factor zero": (lambda: ops.BlockAverage(RGB, factor=0), "factor=0"),
    "factor not whole": (lambda: ops.BlockAverage(RGB, factor=2.5), "factor=2.5"),
    "bicubic padding": (lambda: ops.Bicubic(RGB, padding="mirror"), "padding 'mirror'.*symmetric"),
    "grey colorization": (lambda: ops.Colorize((1, 16, 16)), "1 channels"),
    "ratio of all": (lambda: ops.InpaintRandom(RGB, ratio=1.0), "ratio=1.0"),
    "negative ratio": (lambda: ops.InpaintRandom(RGB, ratio=-0.1), "ratio=-0.1"),
    "ratio nan": (lambda: ops.InpaintRandom(RGB, ratio=float("nan")), "ratio=nan"),
    "ratios reversed": (lambda: ops.InpaintRandom(RGB, ratio=(0.7, 0.3)), "ratio="),
    "three ratios": (lambda: ops.InpaintRandom(RGB, ratio=(0.1, 0.3, 0.7)), "neither one number nor two"),
    "no pixel left": (lambda: ops.InpaintRandom((3, 2, 2), ratio=0.95), "leaves no pixel"),
    "unknown half": (lambda: ops.InpaintHalf(RGB, missing="middle"), "middle"),
    "half of one pixel": (lambda: ops.InpaintHalf((3, 4, 1)), "no halves"),
    "box too large": (lambda: ops.InpaintBox(RGB, fraction=1.0), "fraction=1.0"),
    "box too small": (lambda: ops.InpaintBox(RGB, fraction=0.01), "fraction=0.01"),
    "even box blur": (lambda: ops.UniformBlur(RGB, taps=8), "taps=8"),
    "no taps": (lambda: ops.UniformBlur(RGB, taps=-1), "taps=-1"),
    "even Gaussian": (lambda: ops.GaussianBlur(RGB, taps=60), "taps=60"),
    "std zero": (lambda: ops.GaussianBlur(RGB, std=0), "std=0"),
    "std of three": (lambda: ops.GaussianBlur(RGB, std=(1, 2, 3)), "std="),
    "truncate zero": (lambda: ops.GaussianBlur(RGB, truncate=0), "truncate=0"),
    "blur padding": (lambda: ops.UniformBlur(RGB, padding="replicate"), "padding 'replicate'"),
    "negative threshold": (lambda: ops.UniformBlur(RGB, zero_below=-1), "zero_below=-1"),
    "even motion": (lambda: ops.MotionBlur(RGB, taps=60), "taps=60"),
    "motion too large": (lambda: ops.MotionBlur(RGB, taps=61, reference_side=None), "61×61 taps.*16×16"),
    "intensity": (lambda: ops.MotionBlur(RGB, intensity=1.5), "intensity=1.5"),
    "even kernel": (lambda: ops.CircularBlur(RGB, torch.ones(2, 3)), "taps=2"),
    "matrix does not fit": (lambda: ops.DenseOperator((1, 1, 32), torch.ones(12, 31)), r"\(12, 31\)"),
    "too many measurements": (lambda: ops.RandomProjection((1, 1, 32), measurements=33), "measurements=33"),
    "no measurement": (lambda: ops.RandomProjection((1, 1, 32), measurements=0), "measurements=0"),
    "image without channels": (lambda: ops.Denoise((16, 16)), r"\(16, 16\)"),
    "empty image": (lambda: ops.Denoise((3, 0, 16)), r"\(3, 0, 16\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    build, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as error:
        build()
    assert error.value.remedy
