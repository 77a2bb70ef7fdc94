"""The denoiser as a method sees it: what it hands on of the prior, and what it counts."""

from __future__ import annotations

import torch

from tests.baselines.seen import WithVariance
from vml_bench.denoiser import Denoiser
from vml_bench.priors.closed_form import random_mixture

PRIOR = random_mixture((3, 4, 4), components=2, seed=0)
X, V = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_learned_variance_comes_with_an_evaluation_and_changes_nothing_of_it():
    learned = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(1, 3, 4, 4)
    plain, denoiser = Denoiser(PRIOR), Denoiser(WithVariance(PRIOR, learned))
    denoised, pull_back = plain.vjp(X, 0.5)
    again, variance, pull_back_again = denoiser.vjp_with_variance(X, 0.5)
    assert variance.equal(learned.expand(2, -1, -1, -1))
    assert not variance.requires_grad
    assert not again.requires_grad
    assert again.equal(denoised)
    assert (denoiser.nfe, denoiser.vjps) == (1, 0)
    assert pull_back_again(V).equal(pull_back(V))
    assert (denoiser.nfe, denoiser.vjps) == (plain.nfe, plain.vjps) == (1, 1)


def test_a_denoiser_says_whether_its_prior_has_a_learned_variance():
    assert Denoiser(WithVariance(PRIOR, 0.0)).learned_variance
    assert not Denoiser(PRIOR).learned_variance
