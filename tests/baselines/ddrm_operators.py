"""The operators of DDRM's program, which DDNM's shares, at the size of the golden files."""

from __future__ import annotations

import torch

from tests.baselines.programs import SHAPE, Program
from vml_bench.operators import Bicubic, BlockAverage, Colorize, Denoise, GaussianBlur, SpectralOperator, UniformBlur
from vml_bench.operators.masks import Mask

EXACT = {"dtype": torch.float64}


def operator_of(program: Program, scrambled: bool = True) -> SpectralOperator:
    """What a file's measurement was made with, or a true blur in its place; for colour see `rounded_grey`."""
    task = program.meta["task"]
    blur = {"padding": "zero", "drop_last_tap": True, "zero_below": 0.03, "scrambled": scrambled, **EXACT}
    if task == "inp":
        return Mask(SHAPE, program.mask > 0, **EXACT)
    if task.startswith("sr"):
        downsampling = Bicubic if "bicubic" in task else BlockAverage
        return downsampling(SHAPE, factor=int(task[-1]), **EXACT)
    return {
        "deno": lambda: Denoise(SHAPE, **EXACT),
        "color": lambda: Colorize(SHAPE, **EXACT),
        "deblur_uni": lambda: UniformBlur(SHAPE, taps=9, **blur),
        "deblur_gauss": lambda: GaussianBlur(SHAPE, taps=5, std=10.0, **blur),
        "deblur_aniso": lambda: GaussianBlur(SHAPE, taps=9, std=(1.0, 20.0), **blur),
    }[task]()


def rounded_grey() -> Colorize:
    """Colour with the program's weights, 0.3333, 0.3334 and 0.3333."""
    operator = Colorize(SHAPE, **EXACT)
    left, s, right = torch.linalg.svd(torch.tensor([[0.3333, 0.3334, 0.3333]], dtype=torch.float64))
    operator.singular_values[0] = s
    operator.basis = (right * torch.cat([left[0], torch.ones(2)])[:, None]).mT.contiguous()
    return operator
