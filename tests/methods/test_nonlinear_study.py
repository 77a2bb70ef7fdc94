"""The brute force of the nonlinear study: where the measurement is linear, it is the exact posterior."""

from __future__ import annotations

import pytest
import torch

from vml_bench.operators import DenseOperator
from vml_bench.studies.nonlinear import PLANE, Case, OfThePlane, answer, case, prior


class First(OfThePlane):
    """x₁."""

    def apply(self, x):
        return x.flatten(1)[:, :1]


@pytest.mark.parametrize("noise_std", [0.05, 0.3])
def test_on_a_linear_measurement_the_highest_point_is_the_exact_map(noise_std):
    y = torch.tensor([[0.4], [-1.1]], dtype=torch.float64)
    where, value = Case(First(), noise_std, y).highest
    exact = prior().posterior(y, DenseOperator(PLANE, torch.tensor([[1.0, 0.0]], dtype=torch.float64)), noise_std)
    assert exact.map_gap(where).max() < 1e-6
    assert torch.allclose(where, exact.map(), atol=1e-5)
    assert torch.allclose(Case(First(), noise_std, y).log_posterior(where), value)


def test_a_method_ends_no_higher_than_the_highest_point():
    here = case("product", 0.3, 2)
    x, denoiser = answer(here, "vml_map_pre")
    assert (here.highest[1] - here.log_posterior(x) > -1e-9).all()
    assert denoiser.vjps > 0
