"""Passes that are remembered: the same values, once computed; bounded; nothing kept where gradients are asked for."""

from __future__ import annotations

import lpips
import numpy as np
import pytest
import torch

from vml_bench.metrics import MetricSuite
from vml_bench.metrics.remembered import Remembered


class Counted:
    """x ↦ (2x,), which counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        self.calls += 1
        return (2 * x,)


@pytest.mark.parametrize("shown", [torch.ones(2, 3), torch.ones(3, 2).mT])
def test_the_same_values_are_computed_once_whatever_tensor_holds_them(shown):
    compute = Counted()
    remembered = Remembered(compute)
    with torch.no_grad():
        for x in (shown, shown.clone(), shown.contiguous()):
            assert torch.equal(remembered(x)[0], 2 * x)
        assert compute.calls == 1
        for other in (shown.reshape(6), shown.double(), -shown):
            assert torch.equal(remembered(other)[0], 2 * other)
    assert compute.calls == 4


def test_what_was_not_asked_for_longest_is_forgotten_first():
    compute = Counted()
    first, second, third = (torch.full((4,), value) for value in (1.0, 2.0, 3.0))
    remembered = Remembered(compute, limit=2 * first.nbytes)
    with torch.no_grad():
        for x in (first, second, first, third):
            remembered(x)
        assert compute.calls == 3
        remembered(first)
        assert compute.calls == 3
        remembered(second)
        assert compute.calls == 4
        large = torch.ones(100)
        for calls in (5, 6):
            assert torch.equal(remembered(large)[0], 2 * large)
            assert compute.calls == calls


def test_gradients_flow_through_a_pass_of_their_own():
    compute = Counted()
    remembered = Remembered(compute)
    x = torch.ones(3, requires_grad=True)
    for calls in (1, 2):
        (gradient,) = torch.autograd.grad(remembered(x)[0].sum(), x)
        assert gradient.tolist() == [2, 2, 2]
        assert compute.calls == calls


def test_scores_are_to_the_bit_those_of_lpips_and_a_reference_passes_the_trunk_once(monkeypatch):
    suite = MetricSuite(("lpips_alex",))
    noise = torch.Generator().manual_seed(0)
    reference, *restored = torch.rand(4, 1, 3, 64, 64, generator=noise) * 2 - 1
    passes = []
    trunk = lpips.pretrained_networks.alexnet.forward
    network = suite._networks["alex"]
    network.net.slice1.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        scores = [suite(image, reference)["lpips_alex"] for image in restored]
        features = [suite.features(image)["alex"] for image in restored]
        assert len(passes) == 4
        monkeypatch.setattr(network.net, "forward", trunk.__get__(network.net))
        for image, score, vector in zip(restored, scores, features, strict=True):
            assert torch.equal(score, network(image, reference).reshape(1))
            np.testing.assert_array_equal(vector, suite.features(image)["alex"])
