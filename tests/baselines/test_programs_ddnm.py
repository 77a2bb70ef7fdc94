"""DDNM beside its authors' program, over whole trajectories: the files of `golden/` whose names begin with ddnm."""

from __future__ import annotations

from collections.abc import Collection

import pytest
import torch
from torch import Tensor

from baselines.ddnm import DDNM, from_block_spectrum
from tests.baselines.programs import (
    SHAPE,
    Program,
    files,
    operator_of,
    rounded_grey,
    step_differences,
)
from vml_bench.operators import BlockAverage, SpectralOperator
from vml_bench.operators.filters import filter_matrix, gaussian_taps, uniform_taps
from vml_bench.schedule import DDPMSchedule

FILES = files("ddnm")
EXACT = 1e-9
KERNELS = {"deblur_gauss": gaussian_taps(5, 10.0), "deblur_uni": uniform_taps(9)}
ROUNDED_WEIGHTS = 1e-3
"""Colour: the program sees 0.3333 R + 0.3334 G + 0.3333 B, this project the mean."""


AS_PROGRAM = {"epsilon_as_spectrum": True, "lambda_of_blur": True}


def drawn(program: Program, operator: SpectralOperator) -> list[Tensor]:
    """The spectrum of each noise that the program drew: under noise it takes the numbers for the spectrum by its V."""
    task, noises = program.meta["task"], list(program.noise)
    if program.meta["sigma_y"] == 0 or task in ("inp", "deno"):
        return [operator.to_spectrum(noise) for noise in noises]
    if task in KERNELS:  # this project's V but for signs, which are LAPACK's there
        taps = KERNELS[task]
        right = torch.linalg.svd(filter_matrix(SHAPE[1], taps[:-1], -(len(taps) // 2), "zero")).Vh.mT
        signs = (right * operator.v_vertical).sum(dim=0).sign()
        return [noise * torch.outer(signs, signs) for noise in noises]
    return [operator.to_spectrum(from_block_spectrum(noise, program.y, operator)) for noise in noises]


def differences(program: Program, operator: SpectralOperator, **options) -> list[float]:
    """Largest difference of each x_t from the program's, in the variance-preserving frame; that of the answer last."""
    meta = program.meta
    method = DDNM(eta=meta["eta"], schedule=DDPMSchedule(levels=meta["steps"], spacing="leading"), **options)
    noises = [program.start, *drawn(program, operator)]
    return step_differences(method, program, operator, meta["sigma_y"], noises)


@pytest.mark.parametrize("name", FILES)
def test_every_step_is_the_programs(name: str) -> None:
    program = Program(name)
    allowed = ROUNDED_WEIGHTS if program.meta["task"] == "color" else EXACT
    assert max(differences(program, operator_of(program), **AS_PROGRAM)) <= allowed


@pytest.mark.parametrize("name", [name for name in FILES if "color" in name])
def test_rounded_weights_are_all_that_differs_in_colour(name: str) -> None:
    assert max(differences(Program(name), rounded_grey(), **AS_PROGRAM)) <= EXACT


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("option", "tasks"), {"epsilon_as_spectrum": ("sr4", "color"), "lambda_of_blur": KERNELS}.items()
)
def test_each_option_counts_under_noise_for_its_own_operators(name: str, option: str, tasks: Collection[str]) -> None:
    program = Program(name)
    largest = max(differences(program, operator_of(program), **AS_PROGRAM | {option: False}))
    assert (largest > 0.1) == (program.meta["sigma_y"] > 0 and program.meta["task"] in tasks)


@pytest.mark.parametrize("name", [name for name in FILES if "deblur" in name])
def test_a_true_blur_is_not_the_programs(name: str) -> None:
    program = Program(name)
    assert max(differences(program, operator_of(program, scrambled=False), **AS_PROGRAM)) > 0.1


@pytest.mark.parametrize("factor", [2, 4])
def test_a_block_spectrum_is_the_one_that_lapack_makes_of_a_row(factor: int) -> None:
    operator = BlockAverage(SHAPE, factor, dtype=torch.float64)
    c = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    row = torch.full((1, factor**2), 1 / factor**2, dtype=torch.float64)
    v = torch.linalg.svd(row).Vh.mT
    v = v * torch.where(torch.arange(factor**2) == 0, -v[0, 0].sign(), 1)  # the seen direction's sign is free
    blocks = torch.nn.functional.unfold(c.flatten(0, 1)[:, None], factor, stride=factor)
    expected = torch.nn.functional.fold(v @ blocks, SHAPE[1:], factor, stride=factor).view_as(c)
    y = operator.forward(c)
    assert torch.allclose(from_block_spectrum(c, y, operator), expected, atol=1e-12)
    assert torch.allclose(from_block_spectrum(from_block_spectrum(c, y, operator), y, operator), c, atol=1e-12)
