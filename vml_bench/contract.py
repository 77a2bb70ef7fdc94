"""What the parts of the benchmark are to each other: all that a contributor must know.

Images are float tensors (B, C, H, W) with values in [-1, 1]; σ counts on that scale. A part is any object that has
these members; nothing need be inherited or registered. A configuration's `_target_` names the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from typing_extensions import Self


@runtime_checkable
class Prior(Protocol):
    """A denoiser D(x, σ) = E[x_0 | x_0 + σ n = x], n ~ N(0, I), for images in [-1, 1].

    A learned prior also has `checkpoint`, the path of the file it was loaded from, and `network`, the module that does
    the work; it may have `notes`, how the weights were found in the file, and `described`, what else tells it from
    another prior, as plain data.
    A prior that learned the variance of DDPM's steps too says so by `learned_variance = True`, and has
    `with_variance(x, σ) -> (D, v)`, both (B, C, H, W), from one pass: v = −1 means the smaller, v = 1 the larger of the
    two variances that DDPM knows, and between them the logarithm is linear (arXiv:2102.09672, eq. 15).
    A prior of latents has `decoder`, a `Decoder`: x and D are then latents, on whose scale σ counts.

    Attributes:
        sigma_min, sigma_max: smallest and largest noise level at which D may be asked.
        image_shape: (C, H, W) of the images it knows, or (C', h, w) of the latents.
    """

    sigma_min: float
    sigma_max: float
    image_shape: tuple[int, int, int]

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """D(x, σ): (B, C, H, W) -> (B, C, H, W); σ is one number, or one for each image, (B,)."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Makes images of latents. A method on latents sees A∘decoder in place of A, and its answer is decoded.

    Attributes:
        image_shape: (C, H, W) of the images.
    """

    image_shape: tuple[int, int, int]

    def __call__(self, z: Tensor) -> Tensor:
        """Images in [-1, 1], not clipped: (B, C', h, w) -> (B, C, H, W), differentiable in either mode of autograd."""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """Latents of images, for methods that start from one: (B, C, H, W) -> (B, C', h, w)."""
        ...


class PullBack(Protocol):
    """v ↦ Jᵀ v at one point, J = ∂D/∂x: a vector-Jacobian product."""

    def __call__(self, v: Tensor, retain: bool = False) -> Tensor:
        """Jᵀ v: (B, C, H, W) -> (B, C, H, W). `retain` keeps what a further call needs, and its memory."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """A prior as a method sees it: every evaluation and every product is counted.

    Attributes:
        sigma_min, sigma_max, image_shape: the prior's.
        learned_variance: whether `vjp_with_variance` may be asked.
    """

    sigma_min: float
    sigma_max: float
    image_shape: tuple[int, int, int]
    learned_variance: bool

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """D(x, σ) without gradient: (B, C, H, W) -> (B, C, H, W)."""
        ...

    def vjp(self, x: Tensor, sigma: float, jacobian: str = "reverse") -> tuple[Tensor, PullBack]:
        """D(x, σ), and v ↦ Jᵀ v there."""
        ...

    def vjp_with_variance(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor, PullBack]:
        """D(x, σ), the prior's learned variance (see `Prior`), and v ↦ Jᵀ v there, for one evaluation."""
        ...


@runtime_checkable
class Noise(Protocol):
    """The method's source of noise: each image's own stream, the same in any batch and on any device."""

    def randn_like(self, x: Tensor) -> Tensor:
        """N(0, I) of the shape, dtype and device of x (B, …)."""
        ...


Kind = Literal["spectral", "linear", "differentiable"]
"""What an operator offers, the most first: a singular value decomposition; forward and adjoint; forward alone."""


NoiseModel = Literal["gaussian", "poisson"]
"""What a measurement's noise is: Gaussian of one σ_y, or that of photons counted."""


@runtime_checkable
class Operator(Protocol):
    """A measurement y = A(x) + σ_y n: what operators of every kind have.

    `vml_bench.operators` has a class of each kind to inherit from, which derives all of this:
    `DifferentiableOperator` from A(x), `LinearOperator` from H x and Hᵀ y, `SpectralOperator` from the singular value
    decomposition. The class that a task names is built with `image_shape` and `dtype` besides its own options. One
    whose noise is not Gaussian says so by `noise = "poisson"`, and has its `variance(y)`, shaped as y.

    Attributes:
        kind: what more it offers.
        image_shape: (C, H, W) of the images it takes.
    """

    kind: Kind
    image_shape: tuple[int, int, int]

    def forward(self, x: Tensor) -> Tensor:
        """A(x): (B, C, H, W) -> (B, *measurement)."""
        ...

    def linearized(self, x: Tensor) -> Linear:
        """The Jacobian of A at x (B, C, H, W); a linear operator itself."""
        ...

    def prox(self, x: Tensor, y: Tensor, noise_std: float, step: float) -> Tensor:
        """argmin_z ‖z − x‖² / (2 step) + ‖y − A(z)‖² / (2 σ_y²): (B, C, H, W) -> (B, C, H, W)."""
        ...

    def start(self, y: Tensor) -> Tensor:
        """A rough image to start from: (B, *measurement) -> (B, C, H, W)."""
        ...

    def blank(self, y: Tensor) -> Tensor:
        """Zeros in the shape of y's images: (B, *measurement) -> (B, C, H, W)."""
        ...

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """‖y − A(x)‖ of each image: (B,)."""
        ...

    def expected_residual(self, y: Tensor, noise_std: float) -> Tensor:
        """√E‖σ_y n‖² of the noise that `residual` sees: one number or (B,)."""
        ...

    def measure(self, x: Tensor, noise_std: float, noise: Tensor) -> Tensor:
        """y = A(x) + σ_y n: (B, C, H, W) -> (B, *measurement)."""
        ...

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        """The operator for a batch of named images, which may have masks of their own."""
        ...

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """A copy on a device."""
        ...

    def picture(self, y: Tensor) -> Tensor:
        """The measurement as images to look at: (B, *measurement) -> (B, C, H, W)."""
        ...


@runtime_checkable
class Linear(Operator, Protocol):
    """A linear operator H."""

    def adjoint(self, y: Tensor) -> Tensor:
        """Hᵀ y: (B, *measurement) -> (B, C, H, W)."""
        ...

    def pinv(self, y: Tensor) -> Tensor:
        """H⁺ y: (B, *measurement) -> (B, C, H, W)."""
        ...

    def correct(self, misfit: Tensor, noise_std: float, step: float) -> Tensor:
        """argmin_δ ‖δ‖² / (2 step) + ‖r − H δ‖² / (2 σ_y²): (B, *measurement) -> (B, C, H, W)."""
        ...

    def squared_norm(self, like: Tensor) -> Tensor:
        """s_max² of each of a batch of images (B, C, H, W): (B, 1, 1, 1) or (1, 1, 1)."""
        ...


@runtime_checkable
class Spectral(Linear, Protocol):
    """H = U diag(s) Vᵀ whose spectrum has the image's own shape.

    Attributes:
        singular_values: s ≥ 0, (C, H, W) or (B, C, H, W); exactly 0 on the null space.
    """

    singular_values: Tensor

    def to_spectrum(self, x: Tensor) -> Tensor:
        """Vᵀ x: (B, C, H, W) -> (B, C, H, W)."""
        ...

    def from_spectrum(self, c: Tensor) -> Tensor:
        """V c: (B, C, H, W) -> (B, C, H, W)."""
        ...

    def measurement_to_spectrum(self, y: Tensor) -> Tensor:
        """Uᵀ y on the support of s, 0 elsewhere: (B, *measurement) -> (B, C, H, W)."""
        ...

    def spectrum_to_measurement(self, c: Tensor) -> Tensor:
        """U c: (B, C, H, W) -> (B, *measurement)."""
        ...


OPERATORS: dict[Kind, type] = {"spectral": Spectral, "linear": Linear, "differentiable": Operator}
"""The contract of each kind, the one that offers most first."""


@runtime_checkable
class Method(Protocol):
    """Restores images from their measurements. No batching, device, logging or seed is its business.

    A method that never asks the denoiser says so with `needs_prior = False`: no prior is loaded for it, and images may
    have any size that the operator takes. One that cannot use every prior has `check(prior)`, which raises `InputError`
    and is called before anything is computed. `needs_operator` names the kind of operator it needs, "spectral" where it
    is not said; it takes those that offer more. `takes_noise` names the models of noise that it knows, ("gaussian",)
    where that is not said. Its hyperparameters are best the fields of a frozen dataclass.
    """

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore a batch.

        Args:
            y: measurements, (B, *measurement).
            operator: H, with these images' own masks.
            noise_std: σ_y ≥ 0, images in [-1, 1].
            denoiser: D; levels are to be taken between its sigma_min and sigma_max.
            rng: the method's noise.

        Returns:
            Images (B, C, H, W) in [-1, 1], not clipped.
        """
        ...


def needs_operator(method: object) -> Kind:
    """The kind of operator that a method needs, or a class of methods with its defaults."""
    said = getattr(method, "needs_operator", "spectral")
    said = said.fget(method()) if isinstance(said, property) else said
    return said if said in OPERATORS else "spectral"


def takes(method: object, kind: Kind) -> bool:
    """Whether a method, or its class, takes operators of a kind."""
    order = list(OPERATORS)
    return order.index(kind) <= order.index(needs_operator(method))


def takes_noise(method: object, operator: object) -> bool:
    """Whether a method, or its class, knows the noise of an operator's measurements."""
    return getattr(operator, "noise", "gaussian") in getattr(method, "takes_noise", ("gaussian",))


def needs_prior(method: object) -> bool:
    """Whether a method asks the denoiser."""
    return bool(getattr(method, "needs_prior", True))


@runtime_checkable
class ImageSet(Protocol):
    """Images of one size, each under an id of its own. Inherit it for `dtype`, `scene` and `check`.

    Attributes:
        name: name under which results are filed.
        ids: image ids in the order in which `runner.limit` takes them; each names a file.
        image_shape: (C, H, W) of every image.
        dtype: of the images, the operator and the measurements.
    """

    name: str
    ids: tuple[str, ...]
    image_shape: tuple[int, int, int]
    dtype: torch.dtype = torch.float32

    def load(self, image_id: str) -> Tensor:
        """One image, (C, H, W) in [-1, 1], of `dtype`; raises `InputError` where it cannot be used."""
        ...

    def scene(self, image_id: str) -> str:
        """The id under which an image's mask and measurement noise are drawn; its own, unless it is a repetition.

        Images of one scene are equal and so are their measurements: what differs is the method's own noise.
        """
        return image_id

    def check(self) -> None:
        """Refuse, before anything is written, images that are missing or that two ids share; raises `InputError`."""


@runtime_checkable
class Metric(Protocol):
    """Scores restorations against their originals, both as saved: clipped to [-1, 1], 256 levels.

    What it says of itself is all that tables, figures, the page, `compare` and W&B need to know. It may also have
    `cite`, keys of references.bib or BibTeX entries.

    Attributes:
        name: its column in every table, a Python identifier.
        title: as printed.
        better: +1 where more is better, −1 where less is, 0 where neither.
        digits: digits after the point.
        unit: printed behind the title; may be empty.
    """

    name: str
    title: str
    better: int
    digits: int
    unit: str

    def __call__(self, image: Tensor, reference: Tensor) -> Tensor:
        """(B,) scores of images (B, 3, H, W) against references (B, 3, H, W)."""
        ...


def lacking(part: object, contract: Any) -> list[str]:
    """Names of the members of a contract that a part does not have."""
    named = [
        name
        for base in contract.__mro__
        if base not in (object, Generic, Protocol)
        for name in (*vars(base), *vars(base).get("__annotations__", ()))
    ]
    members = {name for name in named if name[0] != "_" or name == "__call__"}
    return sorted(name for name in members if not hasattr(part, name))
