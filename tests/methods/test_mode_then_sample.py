"""The knob of `ModeThenSample`: its ends, its cost, and the noise that it keeps."""

from __future__ import annotations

import pytest
import torch

from baselines.ddnm import DDNM
from tests.methods.problems import SHAPE, problem
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.methods import ModeThenSample, VMLFixedPoint
from vml_bench.noise import ImageNoise
from vml_bench.operators import DenseOperator
from vml_bench.schedule import EDMSchedule


class Known:
    """A prior that knows the image: D is `image` whatever x is; it keeps the x of its last call."""

    sigma_min, sigma_max, image_shape = 0.01, 100.0, SHAPE

    def __init__(self, image):
        self.image = image

    def __call__(self, x, sigma):
        self.x, self.sigma = x, float(sigma)
        return self.image.expand_as(x)


def noise(images: int) -> ImageNoise:
    return ImageNoise(0, [str(i) for i in range(images)], "method")


@pytest.mark.parametrize("noise_std", [0.0, 0.05])
def test_at_zero_it_is_the_fixed_point(noise_std):
    case = problem(0, images=4, noise_std=noise_std)
    mode = VMLFixedPoint(2, 1.5, start="pinv", schedule=EDMSchedule(6, sigma_max=3.0, sigma_min=0.05))
    own, _ = case.restore(ModeThenSample(switch=0.0, mode_levels=6, sigma_min=0.05))
    assert torch.equal(own, case.restore(mode)[0])


@pytest.mark.parametrize(("switch", "evaluations"), [(0.0, 6), (0.5, 16), (3.0, 10), (50.0, 10)])
def test_evaluations(switch, evaluations):
    case = problem(0, images=2)
    _, denoiser = case.restore(ModeThenSample(switch=switch, mode_levels=3, levels=10))
    assert (denoiser.nfe, denoiser.vjps) == (evaluations, 0)


def test_without_noise_each_step_of_the_sampler_is_ddnms():
    """Both go on from their first level with the same noise; a start so far up leaves nothing of itself."""
    case = problem(0, images=4, noise_std=0.0)
    levels = EDMSchedule(12, sigma_max=80.0, sigma_min=0.05)
    own, _ = case.restore(ModeThenSample(switch=80.0, levels=12, sigma_min=0.05, fresh=0.49))
    theirs, _ = case.restore(DDNM(eta=0.7, schedule=levels))
    assert torch.allclose(own, theirs, atol=1e-2)
    assert not torch.allclose(own, case.truth, atol=0.1)


@pytest.mark.parametrize("noise_std", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("fresh", [0.0, 0.36, 1.0])
def test_noise_about_a_known_image_stays_that_of_the_level(fresh, noise_std):
    """Observed or not, cleaner than the level or noisier: the denoiser is told σ, and x has no more noise than that."""
    n, images = 32, 600
    singular = torch.tensor([0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 0.0] * 4, dtype=torch.float64)
    operator = DenseOperator(SHAPE, torch.diag(singular)[singular > 0])
    truth = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = torch.randn(images, int((singular > 0).sum()), generator=torch.Generator().manual_seed(2)).double()
    y = operator.forward(truth) + noise_std * drawn.view(images, *operator.forward(truth).shape[1:])
    prior = Known(truth)
    sampler = ModeThenSample(switch=1.0, levels=12, sigma_min=0.05, fresh=fresh)
    sampler.restore(y, operator, noise_std, Denoiser(prior), noise(images))
    spread = (prior.x - truth).square().mean(dim=0).sqrt().flatten() / prior.sigma
    assert spread.shape == (n,)
    assert spread.max() < 1.1
    assert spread.min() > 0.6


def test_more_of_the_knob_is_more_spread():
    case = problem(0, images=64)
    apart = []
    for switch in (0.0, 0.1, 0.5, 2.0):
        first, second = (case.restore(ModeThenSample(switch=switch), seed)[0] for seed in (0, 1))
        apart.append(float((first - second).square().mean()))
    assert apart[0] == 0.0
    assert apart == sorted(apart)


def test_levels_that_cannot_be():
    case = problem(0, images=1)
    with pytest.raises(InputError, match="sigma_min"):
        case.restore(ModeThenSample(switch=0.01, sigma_min=0.02))
