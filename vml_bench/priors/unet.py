"""Denoising UNets with the EDM preconditioning (Karras et al. 2022, arXiv 2206.00364, section 5 and table 1)."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from vml_bench.errors import InputError
from vml_bench.priors.base import sigma_column
from vml_bench.priors.checkpoint import check_tensors, read_safetensors

SHIPPED = "photos64.safetensors"


class EDMPrior(nn.Module):
    """D(x, σ) = c_skip x + c_out F(c_in x, c_noise), with F a `diffusers.UNet2DModel`.

    c_skip = σ_d² / (σ² + σ_d²), c_out = σ σ_d / sqrt(σ² + σ_d²), c_in = 1 / sqrt(σ² + σ_d²) are EDM's.
    The network receives log σ mapped from [sigma_min, sigma_max] to [0, 1000], the range that
    diffusers' sinusoidal embedding is made for. Pixels are folded into channels by `patch` before the
    network and unfolded after it, as FFDNet does (arXiv 1710.04026): a quarter of the cost at patch 2.

    Args:
        unet: keyword arguments of `diffusers.UNet2DModel`, without sample size and channel counts.
        image_shape: (C, H, W); H and W divisible by `patch`.
        patch: side of the pixel blocks that are folded into channels.
        sigma_data: standard deviation of the training pixels, images in [-1, 1].
        sigma_min: smallest noise level trained.
        sigma_max: largest noise level trained.
    """

    def __init__(
        self,
        unet: dict,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        patch: int = 2,
        sigma_data: float = 0.5,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
    ) -> None:
        from diffusers import UNet2DModel  # heavy; only what runs the network pays for it

        super().__init__()
        channels, height, width = image_shape
        folded = channels * patch**2
        self.network = UNet2DModel(
            sample_size=(height // patch, width // patch), in_channels=folded, out_channels=folded, **unet
        )
        self.image_shape = tuple(image_shape)
        self.checkpoint: Path | None = None
        self.patch = patch
        self.sigma_data = sigma_data
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.config = {
            "unet": dict(unet),
            "image_shape": list(image_shape),
            "patch": patch,
            "sigma_data": sigma_data,
            "sigma_min": sigma_min,
            "sigma_max": sigma_max,
        }

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise x (B, C, H, W) at noise level σ (one number, or (B,)); the estimate is not clipped."""
        sigma = sigma_column(sigma, x)
        total = sigma.square() + self.sigma_data**2
        c_skip = self.sigma_data**2 / total
        c_out = sigma * self.sigma_data / total.sqrt()
        c_in = 1 / total.sqrt()
        span = math.log(self.sigma_max / self.sigma_min)
        c_noise = 1000 / span * (sigma.flatten() / self.sigma_min).log()
        folded = pixel_unshuffle(c_in * x, self.patch)
        return c_skip * x + c_out * pixel_shuffle(self.network(folded, c_noise).sample.to(x.dtype), self.patch)

    def save(self, path: str | Path) -> None:
        """Write weights in half precision, with the configuration, as one safetensors file."""
        tensors = {name: tensor.half().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, path, metadata={"config": json.dumps(self.config)})


def shipped_checkpoint(name: str = SHIPPED) -> Path:
    """A file or folder of the weights that come with the package; photos64's, if none is named."""
    return Path(str(files("vml_bench.priors").joinpath("weights", name)))


def load_edm_prior(checkpoint: str | Path | None = None) -> EDMPrior:
    """Load a prior written by `EDMPrior.save`, in single precision, ready for inference.

    Args:
        checkpoint: safetensors file; None is the photos64 prior that comes with this package.

    Raises:
        InputError: the file is missing, broken, or differs from its network by a tensor.
    """
    path = Path(checkpoint) if checkpoint else shipped_checkpoint()
    tensors, config = read_safetensors(path)
    try:
        with torch.device("meta"):  # a network costs no memory until its weights are known to fit
            prior = EDMPrior(**config)
    except Exception as error:  # what a configuration of any content raises is up to the network
        said = " ".join(str(error).split())
        raise InputError(
            f"the network that weight file {path} describes cannot be built ({said})",
            "use a file written by `python -m vml_bench.train`",
        ) from error
    check_tensors({name: tuple(tensor.shape) for name, tensor in prior.network.state_dict().items()}, tensors, path)
    prior.network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    prior.checkpoint = path
    return prior.requires_grad_(False).eval()
