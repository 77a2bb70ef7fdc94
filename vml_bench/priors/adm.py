"""ADM networks (Dhariwal, Nichol 2021, arXiv:2105.05233) as diffusers' `UNet2DModel`, by renaming tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vml_bench.priors.checkpoint import check_tensors, read_tensors, without_prefix
from vml_bench.priors.networks import published
from vml_bench.priors.vp import FirstTimestep, VPPrior

Modules = Mapping[str, tuple[str, ...]]

ENDS: Modules = {
    "time_embed.0": ("time_embedding.linear_1",),
    "time_embed.2": ("time_embedding.linear_2",),
    "input_blocks.0.0": ("conv_in",),
    "out.0": ("conv_norm_out",),
    "out.2": ("conv_out",),
}
RESIDUAL: Modules = {
    "in_layers.0": ("norm1",),
    "in_layers.2": ("conv1",),
    "emb_layers.1": ("time_emb_proj",),
    "out_layers.0": ("norm2",),
    "out_layers.3": ("conv2",),
    "skip_connection": ("conv_shortcut",),
}
ATTENTION: Modules = {"norm": ("group_norm",), "qkv": ("to_q", "to_k", "to_v"), "proj_out": ("to_out.0",)}


@dataclass(frozen=True)
class ADMConfig:
    """The architecture of an ADM UNet; all share the rest (residual up- and downsampling …).

    Attributes:
        image_size: side of the images, in pixels.
        channels: feature channels at full resolution.
        multipliers: channels of each level, in units of `channels`; each level halves the side.
        res_blocks: residual blocks per level on the way down (one more on the way up).
        attention: sides, in pixels, where self-attention follows each residual block.
        head_width: channels per attention head.
        groups: groups of the group norms.
        learned_sigma: whether variances are predicted too, in as many further output channels.
        scale_shift: whether the time embedding scales and shifts the second norm, or is added before it.
        flash: whether attention is that of openai/consistency_models: the rows of `qkv` are all heads' q, then their k,
            then their v, and its convolutions are two-dimensional. In ADM they run head by head.
    """

    image_size: int
    channels: int
    multipliers: tuple[int, ...]
    res_blocks: int
    attention: tuple[int, ...]
    head_width: int = 64
    groups: int = 32
    learned_sigma: bool = True
    scale_shift: bool = True
    flash: bool = False

    def attends(self, level: int) -> bool:
        """Whether a level, 0 at full resolution, has self-attention."""
        return self.image_size >> level in self.attention

    def network(self) -> nn.Module:
        """The `diffusers.UNet2DModel` of this architecture, freshly initialised on torch's current device."""
        from diffusers import UNet2DModel  # heavy; only what runs the network pays for it

        attends = [self.attends(level) for level in range(len(self.multipliers))]
        return UNet2DModel(
            sample_size=self.image_size,
            in_channels=3,
            out_channels=6 if self.learned_sigma else 3,
            block_out_channels=tuple(self.channels * multiplier for multiplier in self.multipliers),
            layers_per_block=self.res_blocks,
            down_block_types=tuple("AttnDownBlock2D" if at else "ResnetDownsampleBlock2D" for at in attends),
            up_block_types=tuple("AttnUpBlock2D" if at else "ResnetUpsampleBlock2D" for at in reversed(attends)),
            downsample_type="resnet",
            upsample_type="resnet",
            resnet_time_scale_shift="scale_shift" if self.scale_shift else "default",
            attention_head_dim=self.head_width,
            norm_num_groups=self.groups,
            attn_norm_num_groups=self.groups,
            norm_eps=1e-5,
            flip_sin_to_cos=True,
            freq_shift=0,
        )

    def layout(self) -> Iterator[tuple[str, str, Modules]]:
        """Walk the UNet: (ADM's prefix, diffusers' prefix, the modules under it)."""
        yield "", "", ENDS
        levels = range(len(self.multipliers))
        block = 1  # input block 0 is the first convolution
        for level in levels:
            for layer in range(self.res_blocks):
                yield f"input_blocks.{block}.0.", f"down_blocks.{level}.resnets.{layer}.", RESIDUAL
                if self.attends(level):
                    yield f"input_blocks.{block}.1.", f"down_blocks.{level}.attentions.{layer}.", ATTENTION
                block += 1
            if level != levels[-1]:
                yield f"input_blocks.{block}.0.", f"down_blocks.{level}.downsamplers.0.", RESIDUAL
                block += 1
        yield "middle_block.0.", "mid_block.resnets.0.", RESIDUAL
        yield "middle_block.1.", "mid_block.attentions.0.", ATTENTION
        yield "middle_block.2.", "mid_block.resnets.1.", RESIDUAL
        block = 0
        for up, level in enumerate(reversed(levels)):
            for layer in range(self.res_blocks + 1):
                yield f"output_blocks.{block}.0.", f"up_blocks.{up}.resnets.{layer}.", RESIDUAL
                if self.attends(level):
                    yield f"output_blocks.{block}.1.", f"up_blocks.{up}.attentions.{layer}.", ATTENTION
                if layer == self.res_blocks and level > 0:
                    last = 2 if self.attends(level) else 1
                    yield f"output_blocks.{block}.{last}.", f"up_blocks.{up}.upsamplers.0.", RESIDUAL
                block += 1


class ADMFormat:
    """The tensors of an ADM checkpoint, and where each goes.

    Args:
        config: the architecture.

    Attributes:
        network: its `UNet2DModel` on the meta device: shapes without memory.
        targets: ADM's tensor name -> diffusers' (three for a `qkv`).
        shapes: ADM's tensor name -> its shape.
    """

    def __init__(self, config: ADMConfig) -> None:
        self._config = config
        with torch.device("meta"):
            self.network = config.network()
        self._ours = {name: tuple(tensor.shape) for name, tensor in self.network.state_dict().items()}
        self.targets = {
            f"{theirs}{module}.{kind}": tuple(f"{ours}{target}.{kind}" for target in targets)
            for theirs, ours, modules in config.layout()
            for module, targets in modules.items()
            for kind in ("weight", "bias")
            if f"{ours}{targets[0]}.{kind}" in self._ours  # a residual block of constant width has no shortcut
        }
        self.shapes = {name: self._shape(name, targets) for name, targets in self.targets.items()}

    def _shape(self, name: str, targets: tuple[str, ...]) -> tuple[int, ...]:
        rows, *columns = self._ours[targets[0]]
        is_attention = name.endswith(("qkv.weight", "proj_out.weight"))  # convolutions of width 1
        kernel = (1,) * (1 + self._config.flash) if is_attention else ()
        return (len(targets) * rows, *columns, *kernel)

    def to_diffusers(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename; split each `qkv`, whose rows are (head, q|k|v, width), or with `flash` (q|k|v, head, width)."""
        renamed = {}
        for name, targets in self.targets.items():
            tensor, parts = tensors[name], (tensors[name],)
            if len(targets) == 3:
                heads = (3, -1) if self._config.flash else (-1, 3)
                by_head = tensor.reshape(*heads, self._config.head_width, *tensor.shape[1:])
                parts = by_head.unbind(dim=0 if self._config.flash else 1)
            for target, part in zip(targets, parts, strict=True):
                renamed[target] = part.reshape(self._ours[target])
        return renamed


def read_adm(config: ADMConfig, path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """Read a checkpoint with ADM's tensor names into its `UNet2DModel`, in single precision.

    The network takes over the file's tensors instead of copying them; a .pt file stays memory-mapped.

    Returns:
        The network, and how its tensors were found in the file, if not simply by their names.

    Raises:
        InputError: the file is broken, holds more than tensors, or differs from the architecture by a tensor.
    """
    form = ADMFormat(config)
    stored = without_prefix(read_tensors(path), form.shapes, path)
    check_tensors(form.shapes, stored.tensors, path)
    renamed = {name: tensor.float() for name, tensor in form.to_diffusers(stored.tensors).items()}
    form.network.load_state_dict(renamed, assign=True)
    return form.network, stored.notes


def adm_config(name: str) -> ADMConfig:
    """The architecture of a published ADM network.

    Raises:
        InputError: no ADM network of that name.
    """
    described = published(name, "adm").network
    lists = {key: tuple(described[key]) for key in ("multipliers", "attention")}
    return ADMConfig(**described | lists)


def load_adm_prior(name: str, checkpoint: str | Path | None = None, first_timestep: FirstTimestep = 0) -> VPPrior:
    """Load an ADM prior, ready for inference.

    Args:
        name: of a network in vml_bench/priors/networks whose format is "adm", such as "ffhq256".
        checkpoint: .pt or .safetensors file with ADM's tensor names; None is the published file in the cache.
        first_timestep: the number of the first timestep: see `VPPrior`.

    Raises:
        InputError: unknown name; the file is missing, broken, or differs from its network by a tensor.
    """
    config = adm_config(name)
    path = published(name, "adm").locate(checkpoint)
    network, notes = read_adm(config, path)
    prior = VPPrior(network, (3, config.image_size, config.image_size), first_timestep=first_timestep)
    prior.checkpoint, prior.notes = path, notes
    return prior.requires_grad_(False).eval()
