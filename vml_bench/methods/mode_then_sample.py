"""From the mode to a sample by one knob: the fixed point of VML-MAP down to a noise level σ*, a sampler below it.

This project's own, of known parts. At large σ the mode-seeking steps settle what the picture shows in few evaluations;
at small σ they smooth. So the fixed point (`vml_bench.methods.vml_fixed_point`) runs down to σ*, its D is put back to
the noise level σ*, as SDEdit does with a guide (arXiv:2108.01073), and a sampler draws the detail that is missing: the
more of it, the larger σ* is.

The sampler's step from σ to σ_next, in the spectrum of H, where y's noise is e = σ_y/s and ε = (x − D)/σ:

    w = min(r²/(r² + e²), σ_next/e),   r² = k/(1 + σ⁻²);   w = 0 where s = 0
    x = D + w (ȳ − D) + a ε + b n,     a = (√(1 − ζ) σ_next − w e)₊,   b² = σ_next² − (w e + a)²

With the first of the two bounds on w alone, D + w (ȳ − D) is the mean of the Gaussian posterior about D, as in LMAPS
(arXiv:2510.07343). It holds y's own noise, w e, which takes the place of ε first and then of fresh noise; the second
bound keeps it from being more than there should be at σ_next. DDRM (arXiv:2201.11793) and DDNM+ (arXiv:2212.00490,
eq. 17-19) let y's noise count likewise, by cases of σ_y/s; where s = 0 the step is theirs, with ζ = η². The last step
gives D, and where σ_y = 0 the observed part of y. ζ, k and the mode's levels were chosen on tuning crops. The answers
follow no stated law: what they are is measured, not proved (results/frontier).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from vml_bench.contract import Denoiser, Kind, Noise, Operator
from vml_bench.methods.vml_fixed_point import VMLFixedPoint
from vml_bench.sampling import measured_spectrum
from vml_bench.schedule import RHO, EDMSchedule
from vml_bench.settings import settings


@settings
class ModeThenSample:
    """The fixed point from σ_start down to σ*, a sampler from there to σ_min; the levels of both are EDM's.

    M K + N network evaluations, no vector-Jacobian product.

    Attributes:
        switch: σ*, the knob: 0 is the mode, and the larger, the more detail is drawn. At σ_start and above there is no
            mode, and the sampler starts from the regularised pseudo-inverse.
        mode_levels: M, levels of the mode, from σ_start to σ*.
        mode_steps: K, its steps at each level.
        step_size: its η.
        start_sigma: σ_start, at which it begins from the regularised pseudo-inverse (`start="pinv"` of `InnerLoop`). 3
            is for 64×64 pixels.
        levels: N, levels of the sampler, from σ* to σ_min. Without effect at σ* = 0. Far more than 24 harm under noise,
            unless k is smaller then.
        rho: ρ of both.
        sigma_min: last level, not below the prior's.
        fresh: ζ, share of the variance of the next level's noise that is fresh where s = 0.
        trust: k, factor of the variance of x_0 given x_t; larger trusts the measurement more.
    """

    needs_operator: ClassVar[Kind] = "spectral"

    switch: NonNegativeFloat = 1.0
    mode_levels: PositiveInt = 3
    mode_steps: PositiveInt = 2
    step_size: PositiveFloat = 1.5
    start_sigma: PositiveFloat = 3.0
    levels: PositiveInt = 24
    rho: Annotated[float, Field(ge=RHO[0], le=RHO[1])] = 7.0
    sigma_min: PositiveFloat = 0.02
    fresh: Annotated[float, Field(ge=0, le=1)] = 0.36
    trust: PositiveFloat = 4.0

    def restore(self, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise) -> Tensor:
        """Restore y (B, *measurement) to images (B, C, H, W) in [-1, 1], not clipped.

        Raises:
            InputError: σ_min is not below σ_start or σ*, on the prior's range.
        """
        if self.switch < self.start_sigma:
            down_to = EDMSchedule(self.mode_levels, self.rho, self.start_sigma, self.switch or self.sigma_min)
            mode = VMLFixedPoint(self.mode_steps, self.step_size, start="pinv", schedule=down_to)
            x = mode.restore(y, operator, noise_std, denoiser, rng)
        else:
            x = operator.prox(operator.blank(y), y, noise_std, step=self.switch**2)
        return self._sample(x, y, operator, noise_std, denoiser, rng) if self.switch else x

    def _sample(
        self, x: Tensor, y: Tensor, operator: Operator, noise_std: float, denoiser: Denoiser, rng: Noise
    ) -> Tensor:
        """The sampler from x + σ* n, (B, C, H, W)."""
        levels = EDMSchedule(self.levels, self.rho, self.switch, self.sigma_min)(denoiser)
        y_bar, y_std = measured_spectrum(y, operator, noise_std)
        observed = operator.singular_values > 0
        x = x + levels[0] * rng.randn_like(x)
        for sigma, sigma_next in pairwise([*levels, 0.0]):
            denoised = denoiser(x, sigma)
            d_bar = operator.to_spectrum(denoised)
            variance = self.trust / (1 + sigma**-2)  # r²
            weight = torch.where(observed, variance / (variance + y_std.square()), 0)
            measured = torch.where(observed, weight * y_std, 0)  # w e, and no more of it than σ_next
            weight = torch.where(measured > sigma_next, sigma_next / y_std, weight)
            measured = measured.clamp(max=sigma_next)
            kept = (math.sqrt(1 - self.fresh) * sigma_next - measured).clamp(min=0)
            fresh = (sigma_next**2 - (measured + kept).square()).clamp(min=0).sqrt()
            epsilon = (operator.to_spectrum(x) - d_bar) / sigma
            noise = kept * epsilon + fresh * rng.randn_like(x)
            x = operator.from_spectrum(d_bar + weight * (y_bar - d_bar) + noise)
        return x
