"""Networks of EDM's preconditioning and consistency models, in the format of openai/consistency_models.

D(x, σ) = c_skip x + c_out F(x / sqrt(σ² + σ_d²), 250 log σ), σ_d = 0.5 (Karras et al. 2022, arXiv:2206.00364, eq. 7
and table 1; 250 = 1000/4 in that program). A consistency model f (Song et al. 2023, arXiv:2303.01469, appendix C) has
σ − σ_min in place of σ in c_skip and in the factor σ of c_out, so that f(x, σ_min) = x. It maps x_t to where the
probability flow from x_t ends, not to the mean of p(x_0 | x_t): it is no denoiser, and its Jacobian no covariance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vml_bench.errors import InputError
from vml_bench.priors.adm import ADMConfig, read_adm
from vml_bench.priors.base import sigma_column

SIGMA_DATA, SIGMA_MIN, SIGMA_MAX = 0.5, 0.002, 80.0

LSUN256 = {
    "image_size": 256,
    "channels": 256,
    "multipliers": (1, 1, 2, 2, 4, 4),
    "res_blocks": 2,
    "attention": (32, 16, 8),
    "learned_sigma": False,
    "scale_shift": False,
    "flash": True,
}
"""Of LSUN bedroom and cat, by that program's scripts/launch.sh and cm/script_util.py (commit 3d86141)."""


class KarrasPrior(nn.Module):
    """D(x, σ), or with `consistency` f(x, σ), of a network F.

    Args:
        network: F(c_in x, 250 log σ), a `diffusers.UNet2DModel` of C output channels.
        image_shape: (C, H, W) of the images it was trained on, values in [-1, 1].
        consistency: whether F belongs to a consistency model, so that f(x, σ_min) = x.

    Attributes:
        sigma_min, sigma_max: 0.002 and 80.
        checkpoint: the file that the weights came from; None if they came from none.
        notes: how they were found in it, in words, if not simply by their names.
    """

    sigma_min, sigma_max = SIGMA_MIN, SIGMA_MAX

    def __init__(self, network: nn.Module, image_shape: Sequence[int], consistency: bool = False) -> None:
        super().__init__()
        self.network = network
        self.image_shape = tuple(image_shape)
        self.consistency = consistency
        self.checkpoint: Path | None = None
        self.notes: tuple[str, ...] = ()

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """D or f of x (B, C, H, W) at noise level σ (one number, or (B,)); not clipped."""
        sigma = sigma_column(sigma, x)
        above = sigma - self.sigma_min if self.consistency else sigma
        total = sigma.square() + SIGMA_DATA**2
        c_skip = SIGMA_DATA**2 / (above.square() + SIGMA_DATA**2)
        c_out = above * SIGMA_DATA / total.sqrt()
        output = self.network(x / total.sqrt(), 250 * sigma.flatten().log()).sample
        return c_skip * x + c_out * output.to(x.dtype)


def load_karras_prior(
    checkpoint: str | Path | None = None,
    network: Mapping[str, Any] | None = None,
    consistency: bool = False,
) -> KarrasPrior:
    """Load an unconditional network of openai/consistency_models, ready for inference.

    Args:
        checkpoint: .pt or .safetensors file with that program's tensor names, such as ct_cat256.pt.
        network: what differs from LSUN's at 256×256, in the words of `vml_bench.priors.adm.ADMConfig`.
        consistency: whether it is a consistency model (cd_… and ct_…), or a denoiser (edm_…).

    Raises:
        InputError: the file is missing, broken, or differs from its network by a tensor; an option of the network that
            there is not.
    """
    if not checkpoint:
        raise InputError(
            "this prior needs a weight file",
            "curl -L -C - -O https://openaipublic.blob.core.windows.net/consistency/ct_cat256.pt, then "
            "prior.checkpoint=ct_cat256.pt",
        )
    try:
        config = ADMConfig(**LSUN256 | {key: _frozen(value) for key, value in (network or {}).items()})
    except TypeError as error:
        known = ", ".join(ADMConfig.__dataclass_fields__)
        raise InputError(f"prior.model.network does not fit ({error})", f"choose among {known}") from error
    path = Path(checkpoint)
    unet, notes = read_adm(config, path)
    prior = KarrasPrior(unet, (3, config.image_size, config.image_size), consistency)
    prior.checkpoint, prior.notes = path, notes
    return prior.requires_grad_(False).eval()


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
