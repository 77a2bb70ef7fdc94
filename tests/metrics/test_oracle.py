"""Scores against an exact posterior, each beside another way to compute it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from vml_bench.errors import InputError
from vml_bench.metrics import Oracle
from vml_bench.metrics.oracle import sliced_wasserstein, total_variance
from vml_bench.noise import image_generator
from vml_bench.operators import RandomProjection
from vml_bench.priors.closed_form import random_gaussian, random_mixture

SHAPE = (1, 2, 4)
N = math.prod(SHAPE)
GAUSSIAN, MIXTURE = random_gaussian(SHAPE, seed=1), random_mixture(SHAPE, 3, seed=2)
OPERATOR = RandomProjection(SHAPE, 3, seed=0, dtype=torch.float64)


def generator(name: str = "test") -> torch.Generator:
    return image_generator(0, name, "test")


def normal(*shape: int, name: str = "test") -> torch.Tensor:
    return torch.randn(*shape, generator=generator(name), dtype=torch.float64)


def posterior_of(prior, noise_std: float):
    x = prior.sample(1, generator("image"))
    y = OPERATOR.measure(x, noise_std, normal(1, 3, name="noise"))
    return Oracle(prior).posterior(y, OPERATOR, noise_std)


def test_one_direction_is_the_optimal_transport_of_the_projections():
    a, b = normal(7, N, name="a"), 2 * normal(7, N, name="b") + 1
    direction = torch.eye(N, dtype=torch.float64)[:1]
    cost = (a[:, :1] - b[:, :1].T).square().numpy()
    pairs = linear_sum_assignment(cost)
    assert sliced_wasserstein(a, b, direction) == pytest.approx(math.sqrt(cost[pairs].mean()))


def test_sets_of_different_sizes_are_compared_as_if_repeated_to_equal_ones():
    a, b = normal(4, N, name="a"), normal(6, N, name="b")
    directions = Oracle(GAUSSIAN, directions=16).directions
    repeated = sliced_wasserstein(a.repeat_interleave(3, 0), b.repeat_interleave(2, 0), directions)
    assert sliced_wasserstein(a, b, directions) == pytest.approx(repeated)
    assert sliced_wasserstein(a, a.repeat_interleave(5, 0), directions) == pytest.approx(0, abs=1e-12)


def test_a_shift_moves_every_projection_by_its_share():
    a, shift = normal(5, N), normal(1, N, name="shift")
    directions = Oracle(GAUSSIAN, directions=4000).directions
    assert torch.allclose(directions.norm(dim=1), torch.ones(4000, dtype=torch.float64))
    assert sliced_wasserstein(a, a + shift, directions) == pytest.approx(float(shift.norm()) / math.sqrt(N), rel=0.05)


@pytest.mark.parametrize("noise_std", [0.001, 0.05, 0.3])
def test_the_gap_of_a_gaussian_is_its_quadratic_form(noise_std):
    posterior = posterior_of(GAUSSIAN, noise_std)
    away = normal(4, *SHAPE)
    scores = Oracle(GAUSSIAN)(posterior.map() + away, [posterior] * 4)
    precision = torch.linalg.inv(posterior.covariances[0, 0])
    expected = torch.einsum("bi,ij,bj->b", away.flatten(1), precision, away.flatten(1)) / 2
    assert torch.allclose(scores["map_gap"], expected, rtol=1e-6)
    assert torch.allclose(scores["map_distance"], away.flatten(1).norm(dim=1))


@pytest.mark.parametrize("noise_std", [0.0, 0.001, 0.05, 0.3])
def test_the_mode_has_no_gap_and_everything_else_has(noise_std):
    posterior = posterior_of(MIXTURE, noise_std)
    mode = posterior.map()
    at_mode = Oracle(MIXTURE)(mode, [posterior])
    assert abs(float(at_mode["map_gap"])) < 1e-9
    assert float(at_mode["map_distance"]) == 0
    samples = posterior.sample(20, generator())[0]
    assert (Oracle(MIXTURE)(samples, [posterior] * 20)["map_gap"] > 0).all()


def test_without_noise_the_gap_is_taken_after_projecting_onto_the_measurement():
    posterior = posterior_of(MIXTURE, 0.0)
    mode = posterior.map()
    off = mode + OPERATOR.adjoint(normal(1, 3))  # in the row space: projecting takes it away
    scores = Oracle(MIXTURE)(off, [posterior])
    assert abs(float(scores["map_gap"])) < 1e-9
    assert float(scores["map_distance"]) > 0.1


def test_an_image_scores_the_same_in_any_batch():
    posterior, x = posterior_of(MIXTURE, 0.05), normal(5, *SHAPE)
    oracle = Oracle(MIXTURE)
    together = oracle(x, [posterior] * 5)
    for i in range(5):
        alone = oracle(x[i : i + 1], [posterior])
        assert all(alone[name].equal(together[name][i : i + 1]) for name in together)


def test_exact_samples_score_the_floor_and_a_point_mass_does_not():
    posterior, oracle = posterior_of(MIXTURE, 0.3), Oracle(MIXTURE, samples=128)
    repeats = 16
    perfect = [
        oracle.scene(posterior.sample(repeats, generator(f"r{i}"))[0].flatten(1), posterior, generator(f"f{i}"))
        for i in range(150)
    ]
    mean = {name: float(np.mean([scores[name] for scores in perfect])) for name in perfect[0]}
    assert mean["sw2"] == pytest.approx(mean["sw2_floor"], rel=0.1)
    square = np.mean([scores["mean_error"] ** 2 for scores in perfect])
    assert math.sqrt(square) == pytest.approx(mean["mean_error_floor"], rel=0.15)
    point = oracle.scene(posterior.mean.flatten(1).expand(repeats, -1), posterior, generator())
    assert point["mean_error"] == pytest.approx(0, abs=1e-12)
    assert point["sw2"] > 1.5 * point["sw2_floor"]


def test_total_variance_is_that_of_samples():
    posterior = posterior_of(MIXTURE, 0.3)
    drawn = posterior.sample(20000, generator())[0].flatten(1)
    assert total_variance(posterior) == pytest.approx(float(drawn.var(dim=0).sum()), rel=0.03)


def test_the_floor_of_the_mean_knows_how_many_restorations_there_are():
    posterior, oracle = posterior_of(GAUSSIAN, 0.05), Oracle(GAUSSIAN)
    floors = [oracle.scene(normal(repeats, N), posterior, generator())["mean_error_floor"] for repeats in (4, 16)]
    assert floors[0] == pytest.approx(2 * floors[1])


def test_a_scene_is_scored_the_same_twice():
    posterior, oracle, x = posterior_of(MIXTURE, 0.05), Oracle(MIXTURE), normal(6, N)
    assert oracle.scene(x, posterior, generator()) == oracle.scene(x, posterior, generator())


def test_only_a_prior_with_an_exact_posterior_can_judge():
    class Network:
        image_shape, sigma_min, sigma_max = SHAPE, 0.01, 10.0

        def __call__(self, x, sigma):
            return x

    with pytest.raises(InputError, match="known exactly; choose dataset=gmm"):
        Oracle(Network())
    with pytest.raises(InputError, match="directions=0 does not fit Oracle; it must be more than 0"):
        Oracle(GAUSSIAN, directions=0)
