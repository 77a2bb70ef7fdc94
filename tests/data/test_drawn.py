"""Images drawn from a closed-form prior: ids, scenes, and what a draw depends on."""

from __future__ import annotations

import pytest
import torch

from vml_bench.data import DrawnImages
from vml_bench.errors import InputError
from vml_bench.identity import digests_of
from vml_bench.priors.closed_form import random_mixture

PRIOR = random_mixture((1, 2, 3), 2, seed=0)


def test_repeats_of_a_scene_are_one_image_under_ids_of_their_own():
    images = DrawnImages(PRIOR, scenes=2, repeats=3)
    assert images.ids == ("p000-r00", "p000-r01", "p000-r02", "p001-r00", "p001-r01", "p001-r02")
    assert [images.scene(image_id) for image_id in images.ids] == ["p000"] * 3 + ["p001"] * 3
    assert images.load("p000-r00").equal(images.load("p000-r02"))
    assert not images.load("p000-r00").equal(images.load("p001-r00"))
    assert images.load("p000-r00").shape == images.image_shape == (1, 2, 3)
    assert images.load("p000-r00").dtype == images.dtype == torch.float64


def test_a_draw_depends_on_the_seed_and_its_scene_alone():
    few, many = DrawnImages(PRIOR, scenes=2, repeats=1), DrawnImages(PRIOR, scenes=5, repeats=4)
    assert few.load("p001-r00").equal(many.load("p001-r03"))
    assert digests_of(few).items() <= digests_of(many).items()
    assert not few.load("p001-r00").equal(DrawnImages(PRIOR, scenes=2, repeats=1, seed=1).load("p001-r00"))


def test_draws_have_the_priors_mean_and_spread():
    images = DrawnImages(PRIOR, scenes=4000, repeats=1)
    drawn = torch.stack([images.load(image_id) for image_id in images.ids]).flatten(1)
    mean = (PRIOR.weights[:, None] * PRIOR.means).sum(dim=0)
    second = PRIOR.covariances + torch.einsum("ki,kj->kij", PRIOR.means, PRIOR.means)
    covariance = (PRIOR.weights[:, None, None] * second).sum(dim=0) - torch.outer(mean, mean)
    error = (drawn.mean(dim=0) - mean) / (covariance.diagonal() / len(drawn)).sqrt()
    assert error.abs().max() < 4.5
    assert torch.allclose(drawn.T.cov(), covariance, atol=0.1 * float(covariance.diagonal().max()))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prior": object()}, "prior=.* does not fit DrawnImages"),
        ({"prior": PRIOR, "scenes": 0}, "scenes=0 does not fit DrawnImages; it must be more than 0"),
        ({"prior": PRIOR, "repeats": 0}, "repeats=0 does not fit DrawnImages; it must be more than 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, says):
    with pytest.raises(InputError, match=says):
        DrawnImages(**arguments)
