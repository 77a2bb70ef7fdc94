"""The classical anchors: Wiener against the exact posterior; total variation against its dual and scikit-image."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.restoration import denoise_tv_chambolle

from baselines.pinv import PseudoInverse
from baselines.tv import TotalVariation, gradient, gradient_adjoint, project, total_variation
from baselines.wiener import Wiener
from tests.methods.problems import SHAPE, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import BlockAverage, Denoise, GaussianBlur, InpaintRandom, RandomProjection
from vml_bench.priors.closed_form import GaussianPrior


def normal(seed: int, like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def restore(method, y, operator, noise_std):
    """Neither method may touch denoiser or rng."""
    return method.restore(y, operator, noise_std, None, None)


def squares(image_shape: tuple[int, int, int], images: int = 2) -> torch.Tensor:
    """Piecewise constant images in [-1, 1]: a bright square on a dark ground, in each channel a little other."""
    channels, height, width = image_shape
    x = torch.full((images, *image_shape), -0.6, dtype=torch.float64)
    for b in range(images):
        for c in range(channels):
            x[b, c, height // 4 : height // 4 + height // 2, width // 3 : width // 3 + width // 3 + b] = 0.3 + 0.2 * c
    return x


@pytest.mark.parametrize("noise_std", [1e-3, 0.05, 0.5])
def test_wiener_is_the_posterior_mean_of_the_white_prior(noise_std):
    prior = GaussianPrior(torch.zeros(32).double(), 0.7**2 * torch.eye(32).double(), SHAPE)
    operator = RandomProjection(SHAPE, 12, seed=3, dtype=torch.float64)
    truth = prior.sample(5, torch.Generator().manual_seed(0))
    y = operator.measure(truth, noise_std, normal(1, operator.forward(truth)))
    exact = prior.posterior(y, operator, noise_std).mean
    assert torch.allclose(restore(Wiener(0.7), y, operator, noise_std), exact, atol=1e-10, rtol=0)


def test_wiener_without_noise_is_pinv():
    case = problem(0, noise_std=0.0)
    pinv = restore(PseudoInverse(), case.y, case.operator, 0.0)
    assert torch.allclose(restore(Wiener(), case.y, case.operator, 0.0), pinv, atol=1e-12)


@pytest.mark.parametrize("image_shape", [(3, 5, 7), (1, 4, 8), (1, 1, 9), (2, 6, 1)])
def test_gradient_has_its_adjoint_and_norm(image_shape):
    x = normal(0, torch.empty(2, *image_shape))
    p = normal(1, gradient(x))
    assert torch.allclose((gradient(x) * p).sum(), (x * gradient_adjoint(p)).sum())
    identity = torch.eye(math.prod(image_shape), dtype=torch.float64).reshape(-1, *image_shape)
    assert torch.linalg.matrix_norm(gradient(identity).flatten(1), ord=2) ** 2 <= 8


def test_total_variation_couples_the_channels():
    """A step of height h in C channels at one edge of n pixels costs n h √C; at edges of its own, n h C."""
    together = torch.zeros(1, 3, 6, 6)
    together[..., 3:] = 0.5
    apart = torch.stack([torch.roll(together[:, c], c, dims=-1) for c in range(3)], dim=1)
    apart[..., :2] = 0
    assert float(total_variation(together)) == pytest.approx(6 * 0.5 * math.sqrt(3))
    assert float(total_variation(apart)) == pytest.approx(6 * 0.5 * 3)


@pytest.mark.parametrize("image_shape", [(1, 24, 24), (3, 16, 20), (1, 1, 40)])
def test_denoising_closes_the_primal_dual_gap(image_shape):
    """P(x) = TV(x) + ‖x − y‖²/(2λ) ≥ −G*(−∇ᵀp) = ⟨∇ᵀp, y⟩ − λ‖∇ᵀp‖²/2; at the optimum ∇ᵀp = (y − x)/λ."""
    x = squares(image_shape)
    y = x + 0.2 * normal(0, x)
    method = TotalVariation(weight=1.0)
    answer, weight = restore(method, y, Denoise(image_shape), 0.2), 0.2
    p = torch.zeros_like(gradient(y))
    for _ in range(4000):  # projected gradient on the dual: another algorithm
        p = project(p + gradient(y - weight * gradient_adjoint(p)) / (8 * weight))
    divergence = gradient_adjoint(p)
    primal = total_variation(answer) + (answer - y).square().sum(dim=(1, 2, 3)) / (2 * weight)
    dual = (divergence * y).sum(dim=(1, 2, 3)) - weight * divergence.square().sum(dim=(1, 2, 3)) / 2
    assert (primal - dual >= -1e-9).all()
    assert (primal - dual <= 2e-3 * primal).all()


def test_denoising_agrees_with_scikit_image():
    """Its `weight` is λ here; iterated until its own steps are lost in float64, both meet to 1e-3 of a range of 2."""
    x = squares((1, 24, 24), images=1)
    y = x + 0.2 * normal(0, x)
    ours = restore(TotalVariation(weight=0.8, iterations=1000), y, Denoise((1, 24, 24)), 0.2)
    theirs = denoise_tv_chambolle(y[0, 0].numpy(), weight=0.16, eps=1e-12, max_num_iter=5000)
    assert torch.allclose(ours[0, 0], torch.from_numpy(theirs), atol=1e-3, rtol=0)


OPERATORS = {
    "sr4": lambda: BlockAverage((3, 16, 16), 4).to(dtype=torch.float64),
    "inpaint": lambda: InpaintRandom((3, 16, 16), 0.7).for_images(["a", "b"], 0).to(dtype=torch.float64),
    "blur": lambda: GaussianBlur((3, 16, 16), 5, 1.0).to(dtype=torch.float64),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("noise_std", [0.0, 1e-3, 0.05, 0.5])
def test_tv_is_converged_finite_and_better_than_pinv(name, noise_std):
    operator, x = OPERATORS[name](), squares((3, 16, 16))
    y = operator.measure(x, noise_std, normal(0, operator.forward(x)))
    answer = restore(TotalVariation(), y, operator, noise_std)
    long_run = restore(TotalVariation(iterations=4000), y, operator, noise_std)
    assert torch.isfinite(answer).all()
    assert (answer - long_run).square().mean().sqrt() < 0.02
    error, pinv_error = (answer - x).square().mean(), (operator.pinv(y) - x).square().mean()
    assert error < pinv_error or pinv_error < 1e-12
    if noise_std == 0:
        assert operator.residual(answer, y).max() < 1e-5  # the blur's bases are orthogonal to float32's precision
        assert (total_variation(answer) <= total_variation(x) + 1e-2 * total_variation(x)).all()


@pytest.mark.parametrize("method", [Wiener(), TotalVariation(iterations=20)])
def test_no_network_is_asked_and_an_image_does_not_depend_on_its_batch(method):
    case = problem(4)
    together, denoiser = case.restore(method)
    assert denoiser.nfe == denoiser.vjps == 0
    noise = ImageNoise(0, ["5"], "method")
    alone = method.restore(case.y[5:6], case.operator, case.noise_std, Denoiser(case.prior), noise)
    assert torch.allclose(alone[0], together[5], atol=1e-9)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: Wiener(signal_std=0.0), "signal_std"),
        (lambda: TotalVariation(weight=-1.0), "weight"),
        (lambda: TotalVariation(iterations=0), "iterations"),
        (lambda: TotalVariation(primal_step=0.0), "primal_step"),
    ],
)
def test_bad_hyperparameters_are_refused(make, names):
    with pytest.raises(InputError, match=names):
        make()
