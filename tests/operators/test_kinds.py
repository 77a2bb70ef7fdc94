"""Operators of the three kinds: what conjugate gradients and autograd find is what a spectrum or algebra says."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from baselines.daps import DAPS
from baselines.diffpir import DiffPIR
from baselines.dps import DPS
from baselines.lmaps import LMAPS
from baselines.pigdm import PiGDM
from baselines.proximap import ProxiMAP
from baselines.reddiff import REDDiff
from vml_bench import operators as ops
from vml_bench.contract import OPERATORS, lacking, needs_operator, takes
from vml_bench.denoiser import Denoiser
from vml_bench.methods import VMLMAP, VMLFixedPoint, VMLMAPPreconditioned
from vml_bench.noise import ImageNoise
from vml_bench.schedule import EDMSchedule

SHAPE = (3, 16, 16)
BUILDERS = {
    "sr4": partial(ops.BlockAverage, factor=4),
    "bicubic": partial(ops.Bicubic, factor=4),
    "blur": partial(ops.GaussianBlur, taps=5, std=1.0, truncate=4.0),
    "motion": ops.MotionBlur,
    "half": ops.InpaintHalf,
    "colorize": ops.Colorize,
}
IDS = ("a", "b")
DEVIATION = 0.5


class Gaussian:
    """D of the prior N(0, 0.25 I)."""

    sigma_min, sigma_max, image_shape = 0.02, 20.0, SHAPE

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return x * DEVIATION**2 / (DEVIATION**2 + sigma**2)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def both(name: str, **options: float) -> tuple[ops.SpectralOperator, ops.AsLinear]:
    return (
        BUILDERS[name](SHAPE, dtype=torch.float64),
        ops.AsLinear(SHAPE, BUILDERS[name], dtype=torch.float64, **{"tolerance": 1e-10, "iterations": 500, **options}),
    )


@pytest.mark.parametrize("name", BUILDERS)
def test_each_kind_has_what_its_contract_says(name):
    spectral, linear = both(name)
    assert (spectral.kind, linear.kind) == ("spectral", "linear")
    assert lacking(spectral, OPERATORS["spectral"]) == lacking(linear, OPERATORS["linear"]) == []
    assert "singular_values" in lacking(linear, OPERATORS["spectral"])


@pytest.mark.parametrize(("noise_std", "step"), [(0.05, 1.0), (0.05, 1e-3), (0.5, 10.0)])
@pytest.mark.parametrize("name", BUILDERS)
def test_conjugate_gradients_find_what_the_spectrum_says(name, noise_std, step):
    spectral, linear = both(name)
    x = normal(2, *SHAPE)
    y = spectral.measure(normal(2, *SHAPE, seed=1), noise_std, normal(*spectral.forward(x).shape, seed=2))
    torch.testing.assert_close(linear.prox(x, y, noise_std, step), spectral.prox(x, y, noise_std, step))
    misfit = y - spectral.forward(x)
    assert torch.allclose(spectral.prox(x, y, noise_std, step) - x, spectral.correct(misfit, noise_std, step))


@pytest.mark.parametrize("name", ["sr4", "bicubic", "half", "colorize", "motion"])
def test_without_noise_they_project_and_invert(name):
    spectral, linear = both(name)
    x, y = normal(2, *SHAPE), spectral.forward(normal(2, *SHAPE, seed=1))
    assert torch.allclose(linear.prox(x, y, 0.0, 1.0), spectral.prox(x, y, 0.0, 1.0), atol=1e-6)
    assert torch.allclose(linear.pinv(y), spectral.pinv(y), atol=1e-6)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_norm_is_found_from_below(name):
    spectral, linear = both(name)
    like = normal(2, *SHAPE)
    exact, found = spectral.squared_norm(like), linear.squared_norm(like)
    assert (found <= exact * (1 + 1e-9)).all()
    assert (found > 0.9 * exact).all()


def test_an_adjoint_that_is_not_given_is_had_by_autograd():
    class Half(ops.LinearOperator):
        image_shape = SHAPE

        def apply(self, x: Tensor) -> Tensor:
            return x[..., ::2] - 2 * x[..., 1::2]

    half, x = Half(), normal(2, *SHAPE)
    y = normal(2, 3, 16, 8, seed=1)
    assert torch.allclose((half.forward(x) * y).sum(), (x * half.adjoint(y)).sum())


def test_an_image_does_not_depend_on_its_batch():
    _, linear = both("motion", tolerance=1e-4)
    x, y = normal(3, *SHAPE), normal(3, *SHAPE, seed=1) * torch.tensor([1.0, 1e-3, 30.0])[:, None, None, None]
    linear.applications = 0.0
    together = linear.prox(x, y, 0.1, 1.0)
    counted = linear.applications
    for i in range(3):
        linear.applications = 0.0
        assert torch.allclose(linear.prox(x[i : i + 1], y[i : i + 1], 0.1, 1.0), together[i : i + 1], atol=1e-12)
        assert float(linear.applications) == float(counted[i])
    assert len({float(number) for number in counted}) > 1


def test_the_cap_on_iterations_holds_and_is_counted():
    _, linear = both("motion", iterations=3)
    linear.applications = 0.0
    linear.prox(normal(1, *SHAPE), normal(1, *SHAPE, seed=1), 0.01, 1.0)
    assert float(linear.applications) == 1 + 1 + 2 * 3  # H x, Hᵀ r, and two an iteration


SCHEDULE = EDMSchedule(6)
LINEAR_METHODS = {
    "diffpir": DiffPIR(schedule=SCHEDULE),
    "pigdm": PiGDM(schedule=SCHEDULE),
    "proximap": ProxiMAP(schedule=SCHEDULE),
    "lmaps": LMAPS(schedule=SCHEDULE),
    "dps": DPS(schedule=SCHEDULE),
    "vml_map_pre": VMLMAPPreconditioned(inner_steps=2, schedule=SCHEDULE),
    "vml_fixed_point": VMLFixedPoint(inner_steps=2, schedule=SCHEDULE),
}


@pytest.mark.parametrize("noise_std", [0.0, 0.05])
@pytest.mark.parametrize("name", LINEAR_METHODS)
def test_a_spectral_operator_run_as_linear_restores_the_same(name, noise_std):
    method = LINEAR_METHODS[name]
    spectral, linear = both("sr4")
    y = spectral.measure(normal(2, *SHAPE), noise_std, normal(2, 3, 4, 4, seed=1))
    answers = [
        method.restore(y, operator, noise_std, Denoiser(Gaussian()), ImageNoise(0, IDS, "method"))
        for operator in (spectral, linear)
    ]
    assert (answers[0] - answers[1]).abs().max() < 1e-5
    assert takes(method, "linear")


def test_of_a_linear_operator_the_jacobian_by_autograd_is_the_operator():
    spectral, _ = both("blur")

    class AsDifferentiable(ops.DifferentiableOperator):
        image_shape, tolerance, iterations = SHAPE, 1e-10, 500

        def apply(self, x: Tensor) -> Tensor:
            return spectral.forward(x)

    operator, x = AsDifferentiable(), normal(2, *SHAPE)
    y = spectral.measure(normal(2, *SHAPE, seed=1), 0.1, normal(2, *SHAPE, seed=2))
    jacobian = operator.linearized(x)
    assert torch.allclose(jacobian.forward(y), spectral.forward(y))
    assert torch.allclose(jacobian.adjoint(y), spectral.adjoint(y))
    torch.testing.assert_close(operator.prox(x, y, 0.1, 1.0), spectral.prox(x, y, 0.1, 1.0))
    for method in (VMLMAPPreconditioned(inner_steps=2, schedule=SCHEDULE), DPS(schedule=SCHEDULE)):
        answers = [
            method.restore(y, one, 0.1, Denoiser(Gaussian()), ImageNoise(0, IDS, "method"))
            for one in (spectral, operator)
        ]
        assert (answers[0] - answers[1]).abs().max() < 1e-5


NONLINEAR = {
    "phase_retrieval": ops.PhaseRetrieval,
    "hdr": ops.HighDynamicRange,
    "jpeg": ops.JPEG,
    "quantize": ops.Quantize,
}
NONLINEAR_METHODS = {
    "dps": DPS(schedule=SCHEDULE, scale=0.1),
    "daps": DAPS(langevin_steps=3, ode_steps=2, schedule=EDMSchedule(4, sigma_min=0.1)),
    "reddiff": REDDiff(),
    "lmaps": LMAPS(schedule=SCHEDULE),
    "vml_map": VMLMAP(inner_steps=2, schedule=SCHEDULE),
    "vml_map_pre": VMLMAPPreconditioned(inner_steps=2, schedule=SCHEDULE),
    "vml_fixed_point": VMLFixedPoint(inner_steps=2, schedule=SCHEDULE),
}


@pytest.mark.parametrize("task", NONLINEAR)
@pytest.mark.parametrize("name", NONLINEAR_METHODS)
def test_a_method_that_takes_any_operator_runs_on_it(name, task):
    method, operator = NONLINEAR_METHODS[name], NONLINEAR[task](SHAPE)
    assert needs_operator(method) == operator.kind == "differentiable"
    assert lacking(operator, OPERATORS["differentiable"]) == []
    clean = (0.3 * normal(2, *SHAPE)).float()
    y = operator.measure(clean, 0.05, torch.zeros_like(operator.forward(clean)))
    operator.applications = 0.0
    answer = method.restore(y, operator, 0.05, Denoiser(Gaussian()), ImageNoise(0, IDS, "method"))
    assert answer.shape == clean.shape
    assert answer.isfinite().all()
    assert torch.as_tensor(operator.applications).min() > 0
    assert operator.picture(y).shape == clean.shape


def test_the_exact_sampler_of_daps_needs_a_spectrum():
    assert needs_operator(DAPS(sampler="exact")) == "spectral"
    assert needs_operator(DAPS) == "differentiable"


def test_phase_retrieval_cannot_tell_an_image_from_itself_turned():
    operator, x = ops.PhaseRetrieval(SHAPE, dtype=torch.float64), normal(1, *SHAPE)
    y = operator.forward(x)
    assert y.shape == (1, 3, 24, 24)
    assert torch.allclose(operator.forward(x.flip(-1, -2)), y)
    assert torch.allclose(y.square().sum(), ((x + 1) / 2).square().sum())  # F is orthonormal


def test_high_dynamic_range_is_cut_off_and_its_derivative_with_it():
    operator = ops.HighDynamicRange((1, 1, 4))
    x = torch.tensor([[[[-0.9, -0.25, 0.25, 0.9]]]])
    assert operator.forward(x).flatten().tolist() == [-1, -0.5, 0.5, 1]
    assert operator.linearized(x).adjoint(torch.ones_like(x)).flatten().tolist() == [0, 2, 2, 0]


def test_steps_are_taken_as_they_are_and_derived_as_if_they_were_none():
    quantized = ops.Quantize((1, 1, 5), bits=2)
    x = torch.tensor([[[[-2.0, -0.7, -0.1, 0.4, 0.9]]]])
    assert torch.allclose(quantized.forward(x).flatten(), torch.tensor([-3.0, -3, -1, 1, 3]) / 3)
    assert torch.equal(quantized.linearized(x).adjoint(x), x)


def test_jpeg_loses_more_at_a_lower_quality():
    x = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)), (32, 32))
    lost = [float((ops.JPEG((3, 32, 32), quality).forward(2 * x - 1) - 2 * x + 1).norm()) for quality in (95, 50, 5)]
    assert lost == sorted(lost)
    assert 0 < lost[0] < lost[2]


def test_a_network_may_stand_in_the_operator():
    """What a latent prior needs: A ∘ decoder differentiates through any module."""
    decoder = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 3, 3, padding=1)).double()

    class Decoded(ops.DifferentiableOperator):
        image_shape = (3, 8, 8)

        def apply(self, x: Tensor) -> Tensor:
            return decoder(x)

    operator, z = Decoded(), normal(1, 3, 8, 8)
    jacobian, v, w = operator.linearized(z), normal(1, 3, 8, 8, seed=1), normal(1, 3, 16, 16, seed=2)
    assert torch.allclose((jacobian.forward(v) * w).sum(), (v * jacobian.adjoint(w)).sum())
