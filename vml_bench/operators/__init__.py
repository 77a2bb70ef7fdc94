"""Linear measurements, each an orthogonal transform and a diagonal."""

from vml_bench.operators.base import SpectralOperator, divide_on_support
from vml_bench.operators.circulant import CircularBlur, MotionBlur, RandomGaussianBlur, motion_kernel
from vml_bench.operators.colorize import Colorize
from vml_bench.operators.dense import DenseOperator, RandomProjection
from vml_bench.operators.masks import Denoise, InpaintBox, InpaintHalf, InpaintRandom, InpaintRandomBox, Mask
from vml_bench.operators.separable import (
    Bicubic,
    BlockAverage,
    GaussianBlur,
    SeparableBlur,
    SeparableOperator,
    UniformBlur,
)

__all__ = [
    "Bicubic",
    "BlockAverage",
    "CircularBlur",
    "Colorize",
    "Denoise",
    "DenseOperator",
    "GaussianBlur",
    "InpaintBox",
    "InpaintHalf",
    "InpaintRandom",
    "InpaintRandomBox",
    "Mask",
    "MotionBlur",
    "RandomGaussianBlur",
    "RandomProjection",
    "SeparableBlur",
    "SeparableOperator",
    "SpectralOperator",
    "UniformBlur",
    "divide_on_support",
    "motion_kernel",
]
