"""Measurements: differentiable, linear, and those that are an orthogonal transform and a diagonal."""

from vml_bench.operators.base import SpectralOperator, divide_on_support
from vml_bench.operators.circulant import CircularBlur, MotionBlur, RandomGaussianBlur, motion_kernel
from vml_bench.operators.colorize import Colorize
from vml_bench.operators.dense import DenseOperator, RandomProjection
from vml_bench.operators.kinds import AsLinear, DifferentiableOperator, LinearOperator, conjugate_gradients
from vml_bench.operators.masks import Denoise, InpaintBox, InpaintHalf, InpaintRandom, InpaintRandomBox, Mask
from vml_bench.operators.nonlinear import JPEG, HighDynamicRange, PhaseRetrieval, Quantize, StraightThrough
from vml_bench.operators.poisson import Poisson
from vml_bench.operators.separable import (
    Bicubic,
    BlockAverage,
    GaussianBlur,
    SeparableBlur,
    SeparableOperator,
    UniformBlur,
)
from vml_bench.operators.stored import InpaintMask, StoredBlur

__all__ = [
    "JPEG",
    "AsLinear",
    "Bicubic",
    "BlockAverage",
    "CircularBlur",
    "Colorize",
    "Denoise",
    "DenseOperator",
    "DifferentiableOperator",
    "GaussianBlur",
    "HighDynamicRange",
    "InpaintBox",
    "InpaintHalf",
    "InpaintMask",
    "InpaintRandom",
    "InpaintRandomBox",
    "LinearOperator",
    "Mask",
    "MotionBlur",
    "PhaseRetrieval",
    "Poisson",
    "Quantize",
    "RandomGaussianBlur",
    "RandomProjection",
    "SeparableBlur",
    "SeparableOperator",
    "SpectralOperator",
    "StoredBlur",
    "StraightThrough",
    "UniformBlur",
    "conjugate_gradients",
    "divide_on_support",
    "motion_kernel",
]
