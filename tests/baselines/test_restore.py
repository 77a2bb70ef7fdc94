"""The baselines from measurement to answer, on priors known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from baselines.ddrm import DDRM
from baselines.dps import DPS
from baselines.pinv import PseudoInverse
from tests.methods.problems import problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.schedule import DDPMSchedule

DDRM20 = DDRM(schedule=DDPMSchedule(20, spacing="leading"))
DPS200 = DPS(scale=0.3, schedule=DDPMSchedule(200))


def test_pinv_meets_the_measurement_and_asks_no_network():
    case = problem(0, components=1)
    answer, denoiser = case.restore(PseudoInverse())
    assert case.operator.residual(answer, case.y).max() < 1e-10
    assert (answer.flatten(1).norm(dim=1) <= case.truth.flatten(1).norm(dim=1) + 1).all()
    assert denoiser.nfe == denoiser.vjps == 0


@pytest.mark.parametrize(("method", "nfe", "vjp"), [(DDRM20, 20, 0), (DPS200, 200, 200)])
@pytest.mark.parametrize("noise_std", [0.0, 0.05, 0.5])
def test_finite_and_counted(method, nfe, vjp, noise_std):
    case = problem(1, components=1, noise_std=noise_std)
    answer, denoiser = case.restore(method)
    assert torch.isfinite(answer).all()
    assert (denoiser.nfe, denoiser.vjps) == (nfe, vjp)


@pytest.mark.parametrize("method", [DDRM20, DPS200])
def test_residual_has_the_noises_scale_and_the_error_beats_pinv(method):
    """y holds 12 numbers with noise of σ_y, so that the truth's own residual is about σ_y √12."""
    case = problem(2, images=32, components=1)
    answer, _ = case.restore(method)
    residual = case.operator.residual(answer, case.y).square().mean().sqrt() / (case.noise_std * math.sqrt(12))
    assert 0.3 < residual < 3
    error = (answer - case.truth).square().mean()
    assert error < (case.operator.pinv(case.y) - case.truth).square().mean()


def test_ddrm_without_noise_meets_the_measurement():
    case = problem(3, components=1, noise_std=0.0)
    answer, _ = case.restore(DDRM20)
    assert case.operator.residual(answer, case.y).max() < 1e-9


@pytest.mark.parametrize("method", [DDRM20, DPS200])
def test_an_image_does_not_depend_on_its_batch(method):
    case = problem(4)
    together, _ = case.restore(method)
    alone = method.restore(
        case.y[5:6], case.operator, case.noise_std, Denoiser(case.prior), ImageNoise(0, ["5"], "method")
    )
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize(
    ("make", "names"),
    [(lambda: DPS(scale=-1.0), "scale"), (lambda: DDRM(eta=1.5), "eta"), (lambda: DDRM(eta_b=-0.1), "eta_b")],
)
def test_bad_hyperparameters_are_refused(make, names):
    with pytest.raises(InputError, match=names):
        make()
