"""Measurements that are not linear: phase retrieval, high dynamic range, JPEG, quantisation.

What is exact about a method on a linear operator is not on these: there is no pseudo-inverse, `prox` is Gauss and
Newton's method, and a posterior may have modes that only differ by what A does not see (in phase retrieval the image
turned by 180°, for one).
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from vml_bench.errors import InputError
from vml_bench.operators.base import check_image_shape
from vml_bench.operators.kinds import DifferentiableOperator, LinearOperator
from vml_bench.operators.masks import Denoise


class PhaseRetrieval(DifferentiableOperator):
    """y = |F P (x + 1)/2| + σ_y n: the magnitudes of the Fourier transform of an image on a black ground.

    P adds ⌊oversampling · side/8⌋ black pixels on every side, F is orthonormal and its zero frequency in the centre:
    DPS (guided_diffusion/measurements.py, PhaseRetrievalOperator) and DAPS (forward_operator/__init__.py), whose
    oversampling of 2 pads 64 pixels to 256 and so doubles the number of values less than it says. A measurement has
    shape (C, H + 2p, W + 2q). It does not change when the image is turned by 180° on its ground or moved on it.

    Args:
        image_shape: (C, H, W).
        oversampling: 2 in both programs.
        dtype: of the images.

    Raises:
        InputError: `oversampling` is not more than 0.
    """

    def __init__(
        self, image_shape: Sequence[int], oversampling: float = 2.0, dtype: torch.dtype = torch.float32
    ) -> None:
        self.image_shape = check_image_shape(image_shape)
        if not oversampling > 0:
            raise InputError(f"oversampling={oversampling} adds no ground", "set task.operator.oversampling to 2")
        _, height, width = self.image_shape
        self.ground = int(oversampling / 8 * width), int(oversampling / 8 * height)

    def apply(self, x: Tensor) -> Tensor:
        across, down = self.ground
        padded = pad(x / 2 + 0.5, (across, across, down, down))
        spectrum = torch.fft.fft2(torch.fft.ifftshift(padded, dim=(-2, -1)), norm="ortho")
        return torch.fft.fftshift(spectrum, dim=(-2, -1)).abs()

    def picture(self, y: Tensor) -> Tensor:
        """The logarithm of the magnitudes, cut to the image's size, its largest value white."""
        across, down = self.ground
        shown = (1 + 50 * y.clamp_min(0)).log()[..., down : y.shape[-2] - down, across : y.shape[-1] - across]
        return 2 * shown / shown.amax(dim=(-3, -2, -1), keepdim=True).clamp_min(1e-12) - 1


class HighDynamicRange(DifferentiableOperator):
    """y = clip(a x, −1, 1) + σ_y n: exposure a, what is too bright or too dark cut off.

    DAPS, forward_operator/__init__.py, HighDynamicRange, with a = 2. Its derivative is a where nothing is cut off, else
    0, so that nothing pulls a pixel back from beyond its end.

    Args:
        image_shape: (C, H, W).
        exposure: a.
        dtype: of the images.

    Raises:
        InputError: `exposure` is not more than 0.
    """

    def __init__(self, image_shape: Sequence[int], exposure: float = 2.0, dtype: torch.dtype = torch.float32) -> None:
        self.image_shape = check_image_shape(image_shape)
        if not exposure > 0:
            raise InputError(f"exposure={exposure} leaves nothing to see", "set task.operator.exposure to 2")
        self.exposure = exposure

    def apply(self, x: Tensor) -> Tensor:
        return (self.exposure * x).clamp(-1, 1)

    def start(self, y: Tensor) -> Tensor:
        """y/a: what was seen, and the ends of it where it was cut off."""
        return y / self.exposure


class StraightThrough(DifferentiableOperator):
    """A measurement by steps, close to x: its derivative, 0 nearly everywhere, is taken for that of x itself.

    So methods see the misfit y − A(x) as it is and move along it: a descent whose direction is a guess (the
    "straight-through estimator" of Bengio, Léonard, Courville 2013, arXiv:1308.3432).
    """

    def linearized(self, x: Tensor) -> LinearOperator:
        """The identity."""
        return Denoise(self.image_shape, dtype=x.dtype).to(x.device)

    def start(self, y: Tensor) -> Tensor:
        """y."""
        return y


class JPEG(StraightThrough):
    """y = what is left of x after JPEG compression, as libjpeg makes it, + σ_y n; values are cut to [-1, 1] first.

    Args:
        image_shape: (C, H, W), C being 1 or 3.
        quality: from 1 to 100, libjpeg's; colour is kept at half the height and width (4:2:0).
        dtype: of the images.

    Raises:
        InputError: `quality` lies outside 1 … 100, or the image has neither 1 nor 3 channels.
    """

    def __init__(self, image_shape: Sequence[int], quality: int = 10, dtype: torch.dtype = torch.float32) -> None:
        self.image_shape = check_image_shape(image_shape)
        if not 1 <= quality <= 100:
            raise InputError(f"quality={quality} is none of JPEG's", "give task.operator.quality from 1 to 100")
        if self.image_shape[0] not in (1, 3):
            raise InputError(f"JPEG has no pictures of {self.image_shape[0]} channels", "use RGB or grey images")
        self.quality = quality

    def apply(self, x: Tensor) -> Tensor:
        levels = ((x.detach().clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)
        return torch.stack([self._through_jpeg(image) for image in levels]).to(x) / 127.5 - 1

    def _through_jpeg(self, levels: Tensor) -> Tensor:
        """One image, (C, H, W) of 8 bits, encoded and decoded."""
        channels = levels.permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(channels if channels.shape[2] == 3 else channels[..., 0]).save(
            file, "JPEG", quality=self.quality, subsampling="4:2:0"
        )
        with Image.open(file, formats=("JPEG",)) as kept:
            values = np.array(kept)
        return torch.from_numpy(values.reshape(channels.shape)).permute(2, 0, 1)


class Quantize(StraightThrough):
    """y = x rounded to the nearest of 2^b levels from −1 to 1, + σ_y n.

    Args:
        image_shape: (C, H, W).
        bits: b, from 1 to 8.
        dtype: of the images.

    Raises:
        InputError: `bits` lies outside 1 … 8.
    """

    def __init__(self, image_shape: Sequence[int], bits: int = 2, dtype: torch.dtype = torch.float32) -> None:
        self.image_shape = check_image_shape(image_shape)
        if not 1 <= bits <= 8:
            raise InputError(f"bits={bits} are too few or too many", "give task.operator.bits from 1 to 8")
        self.steps = (2**bits - 1) / 2

    def apply(self, x: Tensor) -> Tensor:
        return ((x.detach().clamp(-1, 1) + 1) * self.steps).round() / self.steps - 1
