"""Three kinds of operator under one contract: differentiable, linear, spectral; each has all that the one before has.

A differentiable operator A gives A(x) and, by autograd, its Jacobian at a point. A linear one, H, gives Hᵀ y too. A
spectral one (`vml_bench.operators.base`) gives its singular value decomposition, so that whatever the others find by
conjugate gradients is exact and costs one transform each way.

What a differentiable or linear operator is asked is counted, for each image, in `applications`: A(x), H x, Hᵀ y and
products with A's Jacobian. Spectral operators do not count: nothing of theirs is iterated.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from typing_extensions import Self

from vml_bench.contract import Kind


class DifferentiableOperator(ABC):
    """A measurement y = A(x) + σ_y n whose A autograd can differentiate. Subclasses say what A is, in `apply`.

    Attributes:
        kind: "differentiable".
        image_shape: (C, H, W) of the images it takes.
        tolerance: conjugate gradients stop for an image where their residual is this share of what it was.
        iterations: or after so many of them.
        gauss_newton_steps: linear problems that `prox` solves one after the other.
        applications: how often it was asked, a number for all images alike or one per image (B,).
    """

    kind: ClassVar[Kind] = "differentiable"
    image_shape: tuple[int, int, int]
    tolerance: float = 1e-6
    iterations: int = 100
    gauss_newton_steps: int = 5
    applications: Tensor | float = 0.0

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """A(x): (B, C, H, W) -> (B, *measurement), of each image by itself."""

    def count(self, asked: Tensor | float = 1.0) -> None:
        """Note applications, of all images alike or (B,)."""
        self.applications = self.applications + asked

    def forward(self, x: Tensor) -> Tensor:
        """A(x): (B, C, H, W) -> (B, *measurement)."""
        self.count()
        return self.apply(x)

    def linearized(self, x: Tensor) -> LinearOperator:
        """The Jacobian of A at x (B, C, H, W), as an operator; a linear operator itself."""
        return Linearized(self, x)

    def start(self, y: Tensor) -> Tensor:
        """A rough image to start from, without a prior: 0, or the pseudo-inverse of a linear operator."""
        return self.blank(y)

    def blank(self, y: Tensor) -> Tensor:
        """Zeros in the shape of y's images: (B, *measurement) -> (B, C, H, W)."""
        return torch.zeros(len(y), *self.image_shape, dtype=y.dtype, device=y.device)

    def prox(self, x: Tensor, y: Tensor, noise_std: float, step: float) -> Tensor:
        """argmin_z ‖z − x‖² / (2 step) + ‖y − A(z)‖² / (2 σ_y²), by Gauss and Newton's method from x.

        Each step solves the problem with A linearised where the last one arrived. A stationary point, and the minimum
        only where the problem is convex enough; no step is shortened.

        Args:
            x: (B, C, H, W).
            y: (B, *measurement).
            noise_std: σ_y ≥ 0.
            step: step > 0, a variance.
        """
        z = x
        for _ in range(self.gauss_newton_steps):
            jacobian = self.linearized(z)
            z = x + jacobian.correct(y - self.forward(z) - jacobian.forward(x - z), noise_std, step)
        return z

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """‖y − A(x)‖ of each image: (B,)."""
        return (y - self.apply(x)).flatten(1).norm(dim=1)

    def expected_residual(self, y: Tensor, noise_std: float) -> Tensor:
        """√E‖σ_y n‖² of the noise that `residual` sees, n ~ N(0, I): one number or (B,)."""
        return torch.tensor(noise_std * math.sqrt(y[0].numel()), dtype=y.dtype, device=y.device)

    def observed(self, y: Tensor) -> Tensor:
        """y with 0 wherever nothing is measured (masks that add no noise there)."""
        return y

    def measure(self, x: Tensor, noise_std: float, noise: Tensor) -> Tensor:
        """y = A(x) + σ_y n.

        Noise outside the range of a spectral operator is part of y, as in a real measurement; its `residual` and
        `measurement_to_spectrum` leave it out.

        Args:
            x: (B, C, H, W) in [-1, 1].
            noise_std: σ_y ≥ 0, images in [-1, 1].
            noise: n ~ N(0, I), (B, *measurement).
        """
        return self.forward(x) + noise_std * self.observed(noise)

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        """The operator for a batch of named images; it differs from self only if images have masks of their own."""
        return self

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """A copy of the operator with every tensor moved to a device or dtype."""
        copy = object.__new__(type(self))
        for name, value in vars(self).items():
            setattr(copy, name, value.to(device=device, dtype=dtype) if isinstance(value, Tensor) else value)
        return copy

    def picture(self, y: Tensor) -> Tensor:
        """The measurement as an image to look at: (B, *measurement) -> (B, C, H, W).

        A measurement laid out as an image is enlarged by repeating pixels and, if grey, repeated over the
        channels; any other is shown as `start` makes it.
        """
        channels, height, width = self.image_shape
        if y.dim() != 4 or y.shape[1] not in (1, channels):
            return self.start(y)
        return interpolate(y.expand(-1, channels, -1, -1), size=(height, width), mode="nearest")


class LinearOperator(DifferentiableOperator):
    """A linear measurement y = H x + σ_y n. Subclasses say what H is in `apply` and, where they can, Hᵀ in
    `apply_adjoint`; autograd does it otherwise.

    Attributes:
        kind: "linear".
    """

    kind: ClassVar[Kind] = "linear"
    _squared_norm: Tensor | None = None

    def apply_adjoint(self, y: Tensor) -> Tensor:
        """Hᵀ y: (B, *measurement) -> (B, C, H, W)."""
        with torch.enable_grad():
            point = self.blank(y).requires_grad_()
            value = self.apply(point)
        return torch.autograd.grad(value, point, y)[0]

    def adjoint(self, y: Tensor) -> Tensor:
        """Hᵀ y: (B, *measurement) -> (B, C, H, W)."""
        self.count()
        return self.apply_adjoint(y)

    def linearized(self, x: Tensor) -> LinearOperator:
        """Itself."""
        return self

    def start(self, y: Tensor) -> Tensor:
        """The pseudo-inverse."""
        return self.pinv(y)

    def pinv(self, y: Tensor) -> Tensor:
        """H⁺ y, the least-squares image of least norm: (B, *measurement) -> (B, C, H, W)."""
        return self.correct(y, 0.0, 1.0)

    def prox(self, x: Tensor, y: Tensor, noise_std: float, step: float) -> Tensor:
        """argmin_z ‖z − x‖² / (2 step) + ‖y − H z‖² / (2 σ_y²); at σ_y = 0 the projection of x onto H z = y.

        Args:
            x: (B, C, H, W).
            y: (B, *measurement).
            noise_std: σ_y ≥ 0.
            step: step > 0, a variance.
        """
        return x + self.correct(y - self.forward(x), noise_std, step)

    def correct(self, misfit: Tensor, noise_std: float, step: float) -> Tensor:
        """argmin_δ ‖δ‖² / (2 step) + ‖r − H δ‖² / (2 σ_y²), by conjugate gradients.

        Args:
            misfit: r, (B, *measurement).
            noise_std: σ_y ≥ 0; at 0 the δ of least norm that minimises ‖r − H δ‖.
            step: step > 0, a variance.

        Returns:
            δ, (B, C, H, W).
        """
        return conjugate_gradients(self, misfit, noise_std**2 / step)

    def squared_norm(self, like: Tensor) -> Tensor:
        """s_max², the largest eigenvalue of HᵀH, of each image: (B, 1, 1, 1) or (1, 1, 1).

        By `POWER_STEPS` steps of the power iteration from a fixed random image, which find it from below; kept.

        Args:
            like: a batch of images, for their shape.
        """
        if self._squared_norm is None or len(self._squared_norm) != len(like):
            generator = torch.Generator().manual_seed(0)
            v = torch.randn(1, *self.image_shape, generator=generator, dtype=torch.float64).to(like).expand_as(like)
            for _ in range(POWER_STEPS):
                size = v.flatten(1).norm(dim=1).clamp_min(torch.finfo(v.dtype).tiny)[:, None, None, None]
                v = self.adjoint(self.forward(v / size))
            self._squared_norm = v.flatten(1).norm(dim=1)[:, None, None, None]
        return self._squared_norm


POWER_STEPS = 20


class Linearized(LinearOperator):
    """The Jacobian of a differentiable operator at x, its products by autograd; counted as the operator's.

    Args:
        operator: A.
        x: (B, C, H, W).
    """

    def __init__(self, operator: DifferentiableOperator, x: Tensor) -> None:
        self.image_shape = operator.image_shape
        self.tolerance, self.iterations = operator.tolerance, operator.iterations
        self._operator = operator
        with torch.enable_grad():
            self._x = x.detach().requires_grad_()
            self._value = operator.apply(self._x)
        self.count()

    def count(self, asked: Tensor | float = 1.0) -> None:
        """Note applications of the operator itself."""
        self._operator.count(asked)

    def apply(self, x: Tensor) -> Tensor:
        return torch.func.jvp(self._operator.apply, (self._x.detach(),), (x,))[1]

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return torch.autograd.grad(self._value, self._x, y, retain_graph=True)[0]


def conjugate_gradients(operator: LinearOperator, misfit: Tensor, damping: float) -> Tensor:
    """argmin_δ ‖r − H δ‖² + λ ‖δ‖², of least norm where λ = 0: conjugate gradients on the normal equations (CGLS).

    Hestenes, Stiefel, "Methods of conjugate gradients for solving linear systems" (1952), section 10; Björck,
    "Numerical methods for least squares problems" (1996), algorithm 7.4.1. Each image stops by itself, so that it does
    not depend on its batch.

    Args:
        operator: H, with its tolerance and its cap on iterations.
        misfit: r, (B, *measurement).
        damping: λ ≥ 0.

    Returns:
        δ, (B, C, H, W).
    """

    def dot(a: Tensor) -> Tensor:
        return a.flatten(1).square().sum(dim=1)

    def of_each(numbers: Tensor, like: Tensor) -> Tensor:
        return numbers.reshape(-1, *[1] * (like.dim() - 1))

    r = misfit
    operator.count()
    s = p = operator.apply_adjoint(r)
    delta = torch.zeros_like(s)
    gamma = dot(s)
    enough = operator.tolerance**2 * gamma
    active = gamma > 0
    for _ in range(operator.iterations):
        if not active.any():
            break
        operator.count(2.0 * active)
        q = operator.apply(p)
        curvature = dot(q) + damping * dot(p)
        active = active & (curvature > 0)
        alpha = torch.where(active, gamma / torch.where(active, curvature, 1), 0)
        delta = delta + of_each(alpha, delta) * p
        r = r - of_each(alpha, r) * q
        s = operator.apply_adjoint(r) - damping * delta
        last, gamma = gamma, dot(s)
        active = active & (gamma > enough)
        p = s + of_each(torch.where(active, gamma / torch.where(active, last, 1), 0), p) * p
    return delta


class Around:
    """What an operator takes from another, its attribute `operator`, as it is; that other's device and images too."""

    operator: DifferentiableOperator

    def for_images(self, image_ids: Sequence[str], seed: int) -> Self:
        return self._around(self.operator.for_images(image_ids, seed))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        return self._around(self.operator.to(device, dtype))

    def picture(self, y: Tensor) -> Tensor:
        return self.operator.picture(y)

    def _around(self, operator: DifferentiableOperator) -> Self:
        copy = object.__new__(type(self))
        vars(copy).update(vars(self) | {"operator": operator})
        return copy


class AsLinear(Around, LinearOperator):
    """Another linear operator, of which forward and adjoint alone are used: what its SVD is worth.

    Args:
        image_shape: (C, H, W).
        operator: builds it from `image_shape` and `dtype`.
        tolerance: of conjugate gradients.
        iterations: at most.
        dtype: of the operator's tensors.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        operator: object,
        tolerance: float = 1e-6,
        iterations: int = 100,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.operator: LinearOperator = operator(image_shape, dtype=dtype)
        self.image_shape = self.operator.image_shape
        self.tolerance, self.iterations = tolerance, iterations

    def apply(self, x: Tensor) -> Tensor:
        return self.operator.forward(x)

    def apply_adjoint(self, y: Tensor) -> Tensor:
        return self.operator.adjoint(y)

    def measure(self, x: Tensor, noise_std: float, noise: Tensor) -> Tensor:
        return self.operator.measure(x, noise_std, noise)
