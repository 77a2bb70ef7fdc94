"""LPIPS: the fetched trunks under the package's own linear layers."""

from __future__ import annotations

import os
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
from PIL import Image

from vml_bench.data.images import from_uint8
from vml_bench.metrics.perceptual import lpips_network
from vml_bench.weights.lpips import load_trunk


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_every_trunk_tensor_is_assigned_and_the_linear_layers_are_the_packages(net):
    state = torch.random.get_rng_state()
    network = lpips_network(net)
    assert torch.equal(torch.random.get_rng_state(), state)
    trunk = load_trunk(net)
    assigned = {f"features.{name.split('.', 1)[1]}": value for name, value in network.net.state_dict().items()}
    assert assigned.keys() == trunk.keys()
    assert all(torch.equal(assigned[name], trunk[name]) for name in trunk)
    published = torch.load(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth", "cpu", weights_only=True)
    own = network.state_dict()
    assert published.keys() <= own.keys()
    assert all(torch.equal(own[name], value) for name, value in published.items())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.skipif(not os.environ.get("VML_BENCH_LPIPS_EXAMPLES"), reason="set it to the folder of LPIPS's ex_*.png")
def test_the_packages_own_example_pair_has_its_published_distances():
    folder = Path(os.environ["VML_BENCH_LPIPS_EXAMPLES"])
    reference, first, second = (
        from_uint8(np.asarray(Image.open(folder / f"ex_{name}.png").convert("RGB")))[None]
        for name in ("ref", "p0", "p1")
    )
    network = lpips_network("alex")
    assert network(reference, first).item() == pytest.approx(0.722, abs=5e-4)
    assert network(reference, second).item() == pytest.approx(0.138, abs=5e-4)
