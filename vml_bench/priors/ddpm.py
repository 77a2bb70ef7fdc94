"""DDPM networks (Ho et al. 2020, arXiv:2006.11239) in diffusers' own format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from vml_bench.priors.checkpoint import check_tensors, read_tensors
from vml_bench.priors.networks import published
from vml_bench.priors.vp import VPPrior

EARLIER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""What diffusers called the layers of an attention block before version 0.15."""


def earlier_name(name: str) -> str:
    """A tensor's name in diffusers before 0.15; only those of attention blocks differed."""
    for now, then in EARLIER.items():
        name = name.replace(f".{now}.", f".{then}.")
    return name


def read_ddpm(unet: Mapping, path: Path) -> nn.Module:
    """Read a checkpoint of diffusers, old or new, into its `UNet2DModel`, in single precision.

    Args:
        unet: keyword arguments of `diffusers.UNet2DModel`.
        path: .safetensors, or .bin or .pt of tensors alone.

    Raises:
        InputError: the file is broken, holds more than tensors, or differs from the network by a tensor.
    """
    from diffusers import UNet2DModel  # heavy; only what runs the network pays for it

    with torch.device("meta"):
        network = UNet2DModel(**unet)
    tensors = read_tensors(path)
    is_old = any(name.endswith(".proj_attn.weight") for name in tensors)
    expected = {
        earlier_name(name) if is_old else name: (name, tuple(tensor.shape))
        for name, tensor in network.state_dict().items()
    }
    check_tensors({theirs: shape for theirs, (_, shape) in expected.items()}, tensors, path)
    network.load_state_dict({ours: tensors[theirs].float() for theirs, (ours, _) in expected.items()}, assign=True)
    return network


def load_ddpm_prior(name: str, checkpoint: str | Path | None = None) -> VPPrior:
    """Load a DDPM prior, ready for inference.

    Args:
        name: "celebahq256".
        checkpoint: diffusion_pytorch_model.safetensors or .bin, or the folder it lies in; None is the published
            file in the cache.

    Raises:
        InputError: unknown name; the file is missing, broken, or differs from its network by a tensor.
    """
    described = published(name, "ddpm")
    path = described.locate(checkpoint)
    unet = described.network
    prior = VPPrior(read_ddpm(unet, path), (unet["in_channels"], unet["sample_size"], unet["sample_size"]))
    prior.checkpoint = path
    return prior.requires_grad_(False).eval()
