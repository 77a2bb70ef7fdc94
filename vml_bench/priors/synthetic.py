"""Checkpoints in a published network's exact format, filled with arbitrary numbers, for full-size dry runs.

    python -m vml_bench.priors.synthetic ffhq256 ffhq.pt
    vml-bench run prior=ffhq256 prior.checkpoint=ffhq.pt prior.synthetic=true …

They know nothing of images, but let some of their input through: ε is near x / rms(x), as if images were white
noise, so that every sampler stays bounded. A run with `prior.synthetic=true` says so in its record and enters no
leaderboard.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vml_bench.files import replacing
from vml_bench.priors.adm import ADMFormat, adm_config
from vml_bench.priors.ddpm import DDPMFormat, meta_network
from vml_bench.priors.networks import published, published_names
from vml_bench.priors.vp import VPPrior

CARRIERS = 24
"""Feature channels that carry ±x; whole groups of every published network's group norm (of 4 or 8)."""


@dataclass(frozen=True)
class CheckpointFormat:
    """What the checkpoint of a published network holds.

    Attributes:
        network: the `UNet2DModel` on the meta device.
        shapes: the checkpoint's tensor names and their shapes.
        theirs: diffusers' tensor name -> the checkpoint's (for the q of a `qkv`, that of the `qkv`).
        to_diffusers: the checkpoint's tensors -> the network's.
    """

    network: nn.Module
    shapes: dict[str, tuple[int, ...]]
    theirs: dict[str, str]
    to_diffusers: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


def checkpoint_format(name: str) -> CheckpointFormat:
    """The format of a published network's checkpoint.

    Raises:
        InputError: no network of that name.
    """
    described = published(name)
    if described.format == "adm":
        form = ADMFormat(adm_config(name))
        theirs = {ours[0]: name for name, ours in form.targets.items()}
        return CheckpointFormat(form.network, form.shapes, theirs, form.to_diffusers)
    form = DDPMFormat(meta_network(described.network), described.names)
    return CheckpointFormat(
        form.network, form.shapes, {ours: name for name, ours in form.targets.items()}, form.to_diffusers
    )


def arbitrary_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Seeded float32 tensors that keep a network's activations of order one.

    Weights are N(0, 1 / fan-in), scales of norms N(1, 0.1²), biases N(0, 0.1²).
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            tensors[name] = noise / math.sqrt(math.prod(shape[1:]))
        else:
            tensors[name] = 0.1 * noise + (1 if name.endswith("weight") else 0)
    return tensors


def let_input_through(tensors: Mapping[str, Tensor], form: CheckpointFormat) -> None:
    """Change a few of the tensors, in place, so that ε = x / rms(x) plus a tenth of the network's own output.

    The first 24 feature channels carry ±x, colour by colour, from the first convolution over the outermost
    skip connection to the last norm, where each pair is centred; SiLU(a) − SiLU(−a) = a gives x back.
    """
    config = form.network.config
    channels = config.block_out_channels[0]
    last = f"up_blocks.{len(config.block_out_channels) - 1}.resnets.{config.layers_per_block}"
    carrier = torch.arange(CARRIERS)
    colour, sign = carrier // 2 % 3, 1.0 - 2.0 * (carrier % 2)

    def weight_and_bias(module: str) -> tuple[Tensor, Tensor]:
        return tensors[form.theirs[f"{module}.weight"]], tensors[form.theirs[f"{module}.bias"]]

    for module in ("conv_in", f"{last}.conv_shortcut", f"{last}.conv2", "conv_norm_out"):
        for tensor in weight_and_bias(module):
            tensor[:CARRIERS] = 0
    first, _ = weight_and_bias("conv_in")
    first[carrier, colour, 1, 1] = sign
    shortcut, _ = weight_and_bias(f"{last}.conv_shortcut")
    shortcut[carrier, shortcut.shape[1] - channels + carrier] = 1
    scale, _ = weight_and_bias("conv_norm_out")
    scale[:CARRIERS] = 1
    for tensor in weight_and_bias("conv_out"):
        tensor *= 0.1
    final, _ = weight_and_bias("conv_out")
    final[:3, :CARRIERS] = 0
    final[colour, carrier, 1, 1] = sign * 3 / (CARRIERS / 2)


def synthetic_tensors(form: CheckpointFormat, seed: int = 0) -> dict[str, Tensor]:
    """The tensors of a synthetic checkpoint by the checkpoint's own names: arbitrary, but letting the input through."""
    tensors = arbitrary_tensors(form.shapes, seed)
    let_input_through(tensors, form)
    return tensors


def synthetic_prior(name: str, seed: int = 0) -> VPPrior:
    """The prior that `write_synthetic`'s file would load as, made in memory, for timing without weights.

    Raises:
        InputError: no network of that name.
    """
    form = checkpoint_format(name)
    form.network.load_state_dict(form.to_diffusers(synthetic_tensors(form, seed)), assign=True)
    side = form.network.config.sample_size
    return VPPrior(form.network, (3, side, side)).requires_grad_(False).eval()


def write_synthetic(name: str, path: str | Path, seed: int = 0) -> Path:
    """Write a synthetic checkpoint, whole or not at all: as safetensors if the suffix says so, else by `torch.save`.

    Raises:
        InputError: no network of that name.
    """
    path = Path(path)
    form = checkpoint_format(name)
    tensors = synthetic_tensors(form, seed)
    with replacing(path) as partial:
        if path.suffix == ".safetensors":
            save_file(tensors, partial, metadata={"format": "pt"})
        else:
            torch.save(tensors, partial)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: a network's name and the file to write."""
    parser = argparse.ArgumentParser(
        prog="python -m vml_bench.priors.synthetic",
        description="Write a checkpoint in a published network's exact format, filled with arbitrary numbers.",
    )
    parser.add_argument("name", choices=published_names())
    parser.add_argument("path", type=Path, help=".pt, .bin or .safetensors")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    path = write_synthetic(given.name, given.path, given.seed)
    print(f"{path}: arbitrary numbers; run it with prior.checkpoint={path} prior.synthetic=true")


if __name__ == "__main__":
    main()
