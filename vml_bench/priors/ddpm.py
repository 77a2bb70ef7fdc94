"""DDPM networks (Ho et al. 2020, arXiv:2006.11239) as diffusers' `UNet2DModel`, in diffusers' format or DDIM's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vml_bench.priors.checkpoint import check_tensors, read_tensors, without_prefix
from vml_bench.priors.networks import published
from vml_bench.priors.vp import FirstTimestep, VPPrior

EARLIER = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
"""What diffusers called the layers of an attention block before version 0.15."""

DDIM = {
    "time_embedding.linear_1.": "temb.dense.0.",
    "time_embedding.linear_2.": "temb.dense.1.",
    "conv_norm_out.": "norm_out.",
    "mid_block.resnets.0.": "mid.block_1.",
    "mid_block.attentions.0.": "mid.attn_1.",
    "mid_block.resnets.1.": "mid.block_2.",
    "down_blocks.": "down.",
    ".resnets.": ".block.",
    ".attentions.": ".attn.",
    ".downsamplers.0.": ".downsample.",
    ".upsamplers.0.": ".upsample.",
    ".time_emb_proj.": ".temb_proj.",
    ".conv_shortcut.": ".nin_shortcut.",
    ".group_norm.": ".norm.",
    ".to_q.": ".q.",
    ".to_k.": ".k.",
    ".to_v.": ".v.",
    ".to_out.0.": ".proj_out.",
}
"""What the DDIM program (Song et al. 2021, arXiv:2010.02502; its models/diffusion.py) calls the parts of a UNet."""

NAMES = ("diffusers", "diffusers before 0.15", "ddim")
"""The ways to name the tensors of one UNet."""


def renamed(name: str, parts: Mapping[str, str]) -> str:
    """A tensor's name with its parts called otherwise."""
    for now, other in parts.items():
        name = name.replace(now, other)
    return name


def meta_network(unet: Mapping) -> nn.Module:
    """A `UNet2DModel` on the meta device: shapes without memory.

    Args:
        unet: keyword arguments of `diffusers.UNet2DModel`.
    """
    from diffusers import UNet2DModel  # heavy; only what runs the network pays for it

    with torch.device("meta"):
        return UNet2DModel(**unet)


class DDPMFormat:
    """The tensors of a DDPM checkpoint, and where each goes.

    Args:
        network: a `diffusers.UNet2DModel`, of which only the shapes are asked.
        names: one of `NAMES`.

    Attributes:
        network: the same.
        targets: the checkpoint's tensor name -> diffusers' of today.
        shapes: the checkpoint's tensor name -> its shape.
    """

    def __init__(self, network: nn.Module, names: str = "diffusers") -> None:
        self.network = network
        self._names = names
        self._ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        self.targets = {self._theirs(name): name for name in self._ours}
        self.shapes = {theirs: self._shape(theirs, self._ours[ours]) for theirs, ours in self.targets.items()}

    def _theirs(self, name: str) -> str:
        if self._names == "diffusers":
            return name
        if self._names == "diffusers before 0.15":
            return renamed(name, EARLIER)
        last = len(self.network.config.block_out_channels) - 1
        name = re.sub(r"^up_blocks\.(\d+)\.", lambda at: f"up.{last - int(at[1])}.", name)  # 0: full resolution
        return renamed(name, DDIM)

    def _shape(self, theirs: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        is_attention = self._names == "ddim" and re.search(r"\.(q|k|v|proj_out)\.weight$", theirs)
        return (*shape, 1, 1) if is_attention else shape  # 2-D convolutions of width 1

    def to_diffusers(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename; nothing else changes."""
        return {ours: tensors[theirs].reshape(self._ours[ours]) for theirs, ours in self.targets.items()}


def read_ddpm(unet: Mapping, path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """`read_network` of a `UNet2DModel` whose file may be the DDIM program's, too.

    Args:
        unet: keyword arguments of `diffusers.UNet2DModel`.
        path: .safetensors, or .bin, .pt or .ckpt of tensors alone.
    """
    return read_network(meta_network(unet), path, NAMES)


def read_network(network: nn.Module, path: Path, names: Sequence[str] = NAMES[:2]) -> tuple[nn.Module, tuple[str, ...]]:
    """Read a checkpoint of diffusers, old or new, into its network, in single precision.

    Args:
        network: of diffusers, on the meta device.
        path: .safetensors, or .bin, .pt or .ckpt of tensors alone.
        names: which ways to name the tensors are known, of `NAMES`.

    Returns:
        The network, and how its tensors were found in the file, if not simply by their names.

    Raises:
        InputError: the file is broken, holds more than tensors, or differs from the network by a tensor.
    """
    stored = read_tensors(path)
    forms = [DDPMFormat(network, each) for each in names]
    found = [without_prefix(stored, form.shapes, path) for form in forms]
    form, stored = max(zip(forms, found, strict=True), key=lambda pair: len(pair[0].shapes.keys() & pair[1].tensors))
    check_tensors(form.shapes, stored.tensors, path)
    tensors = {name: tensor.float() for name, tensor in form.to_diffusers(stored.tensors).items()}
    network.load_state_dict(tensors, assign=True)
    return network, stored.notes


def load_ddpm_prior(name: str, checkpoint: str | Path | None = None, first_timestep: FirstTimestep = 0) -> VPPrior:
    """Load a DDPM prior, ready for inference.

    Args:
        name: of a network in vml_bench/priors/networks whose format is "ddpm", such as "celebahq256".
        checkpoint: diffusion_pytorch_model.safetensors or .bin, or the folder it lies in, or a file of the DDIM
            program; None is the published file in the cache.
        first_timestep: the number of the first timestep: see `VPPrior`.

    Raises:
        InputError: unknown name; the file is missing, broken, or differs from its network by a tensor.
    """
    described = published(name, "ddpm")
    path = described.locate(checkpoint)
    network, notes = read_ddpm(described.network, path)
    side = described.network["sample_size"]
    prior = VPPrior(network, (described.network["in_channels"], side, side), first_timestep=first_timestep)
    prior.checkpoint, prior.notes = path, notes
    return prior.requires_grad_(False).eval()
