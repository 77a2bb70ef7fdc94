"""How the network is computed: precision, memory layout, compilation; and how much each choice changes.

The default is exact single precision. Anything else is measured against it when the prior is built, and
the difference is kept in the run's record.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vml_bench.contract import Prior
from vml_bench.errors import InputError
from vml_bench.identity import AsBefore
from vml_bench.noise import ImageNoise
from vml_bench.schedule import EDMSchedule
from vml_bench.settings import settings

AUTO = "auto"
"""In place of a value of `FREE`: what is fastest here and equal (`fastest`)."""
FREE = {"dtype": ("float32", "bfloat16"), "channels_last": (False, True)}
"""What `AUTO` chooses among, the plain value first."""
CLEARLY = 0.92
"""Share of the best time so far below which another way is chosen: repeated measurements are to agree."""
EQUAL = 0.01
"""dB of PSNR within which another way of computing the network is as good as the plain one."""
PATIENCE = 1.0
"""Seconds of a pass below which no way is given up for being slow: the first one on a device takes some time."""
TIMED = 4
"""Images of the passes that are timed and compared."""
DRAWN = 6
"""Noise levels through which the images are drawn that are compared."""
PROBED = (0.05, 0.5, 5.0)
"""Noise levels at which a choice is measured, narrowed to the prior's range."""


@settings
class Compute:
    """How to compute the network. Options that are not defaults enter a run's name, since they change numbers a little.

    Attributes:
        dtype: "float32", or "bfloat16" or "float16" for autocast of the network.
        channels_last: keep activations with channels innermost.
        compile: `torch.compile` the network, at its first pass.
        gradient_checkpointing: recompute activations in the backward pass instead of keeping them.
        tf32: let CUDA's float32 products and convolutions round their factors to TensorFloat-32.
    """

    dtype: Annotated[Literal["float32", "bfloat16", "float16"], AsBefore("float32")] = "float32"
    channels_last: Annotated[bool, AsBefore(False)] = False
    compile: Annotated[bool, AsBefore(False)] = False
    gradient_checkpointing: Annotated[bool, AsBefore(False)] = False
    tf32: Annotated[bool, AsBefore(False)] = False

    @property
    def exact(self) -> bool:
        """Whether nothing differs from plain single precision."""
        return self == Compute()

    def autocast(self, device: torch.device) -> AbstractContextManager:
        """The autocast context of `dtype`; none for float32."""
        if self.dtype == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=getattr(torch, self.dtype))

    def apply_globally(self) -> None:
        """Turn TF32 on or off, which torch does for the whole process."""
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32


def given_plainly(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of `Compute` with the plain one where they say `AUTO`."""
    return {key: FREE[key][0] if value == AUTO and key in FREE else value for key, value in values.items()}


def fastest(prior: Prior, values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Values of `Compute` with what is fastest here where they say `AUTO`, by a few passes of the network.

    The plain way stays unless another is clearly faster and denoises as well (`denoising_change`). What the chosen one
    changes in D is in the record of a run.

    Args:
        prior: on the device; its network may be left in another memory layout.
        values: of `Compute`, some of them `AUTO`.
        device: where the prior is.
    """
    free = [key for key, value in values.items() if value == AUTO and key in FREE]
    plain = given_plainly(values)
    network = getattr(prior, "network", None)
    if not free or not isinstance(network, nn.Module):
        return plain
    x = torch.zeros(TIMED, *prior.image_shape, device=device)
    found: list[dict[str, Any]] = []  # each clearly faster than those before it, the plain one first
    least = math.inf
    for choice in itertools.product(*(FREE[key] for key in free)):
        way = {**values, **dict(zip(free, choice, strict=True))}
        network.to(memory_format=torch.channels_last if way["channels_last"] else torch.contiguous_format)
        took = _seconds(prior, x, Compute(**way), device, least)
        if took < CLEARLY * least:
            found.append(way)
            least = took

    def equal(way: dict[str, Any]) -> bool:
        """A memory layout alone changes D by some 1e-6 of its norm."""
        precise = way["dtype"] == plain["dtype"]
        return precise or denoising_change(prior, Compute(**plain), Compute(**way), device) <= EQUAL

    return next(way for way in reversed(found) if equal(way))


@torch.no_grad()
def denoising_change(prior: Prior, plain: Compute, other: Compute, device: torch.device) -> float:
    """How many dB of PSNR D loses or gains by another way of computing it, as a mean, without a sign.

    It denoises images that the prior itself draws, by a few Euler steps of EDM's flow (arXiv:2206.00364, algorithm 1
    without correction), at the levels of `PROBED`: other ones may not be at hand, and of these the prior knows most.

    Args:
        prior: with a network.
        plain: what is compared with; the images are drawn by it.
        other: the other way.
        device: where the prior is.
    """
    noise = ImageNoise(0, [f"drawn {i}" for i in range(TIMED)], "compute")
    levels = EDMSchedule(levels=DRAWN)(prior)
    shape = torch.empty(TIMED, *prior.image_shape, device=device)
    x = levels[0] * noise.randn_like(shape)
    with plain.autocast(device):
        for sigma, following in zip(levels, [*levels[1:], 0.0], strict=True):
            denoised = prior(x, sigma).to(x.dtype)
            x = denoised + following / sigma * (x - denoised)
    changes = []
    for probed in PROBED:
        sigma = min(max(probed, prior.sigma_min), prior.sigma_max)
        noisy = x + sigma * noise.randn_like(shape)
        errors = []
        for way in (plain, other):
            with way.autocast(device):
                denoised = prior(noisy, sigma).to(x.dtype)
            errors.append((denoised - x).square().flatten(1).mean(1))
        changes.append(10 * (errors[0] / errors[1]).log10().mean())
    return abs(float(torch.stack(changes).mean()))


@torch.no_grad()
def _seconds(prior: Prior, x: Tensor, compute: Compute, device: torch.device, known: float) -> float:
    """Seconds of the faster of two passes after one of a single image; infinite if a pass takes too long to go on."""
    took = []
    for images in (x[:1], x, x):
        began = time.perf_counter()
        with compute.autocast(device):
            prior(images, 1.0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(time.perf_counter() - began)
        if took[-1] > max(2 * known, PATIENCE):
            return math.inf
    return min(took[1:])


class NoPrior:
    """Stands in for the prior of a method that needs none.

    Args:
        image_shape: (C, H, W) of the images.
    """

    sigma_min = sigma_max = float("nan")
    checkpoint = decoder = None
    difference: ClassVar[dict[str, dict[str, float]]] = {}

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.image_shape = image_shape

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Refuses.

        Raises:
            InputError: always.
        """
        raise InputError("a method with needs_prior = False calls the denoiser", "remove that line from its class")


class ComputedPrior:
    """A prior whose network is computed as `Compute` says.

    Args:
        prior: a learned prior (with `network`) or, if `compute` is exact, any.
        compute: the options.
        device: where the prior is.

    Attributes:
        checkpoint: the file that the weights came from, None if they came from none.
        notes: how they were found in it, in words, if not simply by their names.
        learned_variance: whether the prior has one, see `vml_bench.contract.Prior`.
        decoder: of a prior of latents, None of others; computed in its own precision whatever the options are.
        difference: for each probed σ, the relative L2 change of D and of Jᵀv against plain single
            precision; empty where the options are exact.

    Raises:
        InputError: options for a prior that has no network.
    """

    def __init__(self, prior: Prior, compute: Compute, device: torch.device) -> None:
        self.sigma_min = prior.sigma_min
        self.sigma_max = prior.sigma_max
        self.image_shape = prior.image_shape
        self.checkpoint = getattr(prior, "checkpoint", None)
        self.notes = getattr(prior, "notes", ())
        self.learned_variance = getattr(prior, "learned_variance", False)
        self.decoder = getattr(prior, "decoder", None)
        self._prior = prior
        self._compute = compute
        self._device = device
        self.difference: dict[str, dict[str, float]] = {}
        if compute.exact:
            return
        network = getattr(prior, "network", None)
        if not isinstance(network, nn.Module):
            chosen = [field.name for field in fields(compute) if getattr(compute, field.name) != field.default]
            raise InputError(
                f"compute.{chosen[0]} is set, but this prior has no network",
                "leave compute.* alone for closed-form priors",
            )
        Compute().apply_globally()
        exact = self._probe(prior)
        compute.apply_globally()
        if compute.channels_last:
            network.to(memory_format=torch.channels_last)
        if compute.gradient_checkpointing:
            network.enable_gradient_checkpointing()
        if compute.compile:
            prior.network = torch.compile(network)
        changed = self._probe(self)
        self.difference = {
            f"{sigma:g}": {"denoised": relative(d, d_exact), "vjp": relative(v, v_exact)}
            for (sigma, d_exact, v_exact), (_, d, v) in zip(exact, changed, strict=True)
        }

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """D(x, σ) in x's own dtype, whatever the network's is."""
        with self._compute.autocast(self._device):
            return self._prior(x, sigma).to(x.dtype)

    def with_variance(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        """D(x, σ) and the prior's learned variance, both in x's own dtype."""
        with self._compute.autocast(self._device):
            denoised, variance = self._prior.with_variance(x, sigma)
        return denoised.to(x.dtype), variance.to(x.dtype)

    def _probe(self, denoise: Callable[[Tensor, float], Tensor]) -> list[tuple[float, Tensor, Tensor]]:
        noise = ImageNoise(0, ["probe"], "compute")
        probes = []
        for sigma in PROBED:
            sigma = min(max(sigma, self.sigma_min), self.sigma_max)
            shape = torch.empty(1, *self.image_shape, device=self._device)
            x = (sigma * noise.randn_like(shape)).requires_grad_()
            with torch.enable_grad():
                denoised = denoise(x, sigma)
            (product,) = torch.autograd.grad(denoised, x, grad_outputs=noise.randn_like(shape))
            probes.append((sigma, denoised.detach(), product))
        return probes


def relative(changed: Tensor, exact: Tensor) -> float:
    """‖changed − exact‖ / ‖exact‖."""
    return float((changed - exact).norm() / exact.norm())
