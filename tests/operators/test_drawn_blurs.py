"""Blurs whose kernel is drawn for each image, and measurements cut to 8 bits, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from vml_bench.configuration import named_options
from vml_bench.errors import InputError
from vml_bench.operators import CircularBlur, MotionBlur, RandomGaussianBlur, SpectralOperator
from vml_bench.runner.resources import build_operator

SHAPE = (3, 32, 32)
BUILDERS = {
    "gauss": lambda **options: RandomGaussianBlur(SHAPE, 31, dtype=torch.float64, **options),
    "motion": lambda **options: MotionBlur(SHAPE, 15, seed=None, reference_side=None, dtype=torch.float64, **options),
}


@pytest.fixture(params=BUILDERS)
def build(request: pytest.FixtureRequest):
    return BUILDERS[request.param]


def pictures(count: int) -> Tensor:
    """8-bit pictures, smooth with even ground, in [-1, 1]."""
    drawn = np.random.default_rng(0).normal(size=(count, *SHAPE))
    smooth = ndimage.gaussian_filter(drawn, (0, 0, 3, 3), mode="wrap")
    levels = np.clip(np.round(127.5 + 900 * smooth), 0, 255)
    levels[:, :, :20, :20] = 255
    return torch.from_numpy(levels) / 127.5 - 1


def kernel_of(operator: SpectralOperator) -> Tensor:
    """Each image's kernel, its middle in the middle: what is left of one bright pixel."""
    impulse = torch.zeros(1, *SHAPE, dtype=torch.float64)
    impulse[..., 16, 16] = 1
    return operator.forward(impulse)[:, 0]


def test_each_image_has_a_kernel_of_its_own_whatever_its_batch(build) -> None:
    kernels = kernel_of(build().for_images(["a", "b", "c"], 0))
    assert (kernels[0] - kernels[1]).abs().max() > 1e-3
    assert torch.allclose(kernel_of(build().for_images(["c", "a"], 0)), kernels[[2, 0]], atol=1e-14)
    assert (kernel_of(build().for_images(["a"], 1))[0] - kernels[0]).abs().max() > 1e-5


def test_it_blurs_as_scipy_does_with_that_kernel(build) -> None:
    operator, x = build().for_images(["a", "b"], 0), pictures(2)
    kernels = kernel_of(operator).numpy()
    padded = [np.pad(kernel, ((0, 1), (0, 1))) for kernel in kernels]  # SciPy takes an odd kernel, middle at 16
    theirs = [ndimage.convolve(x[i].numpy(), padded[i][None], mode="wrap") for i in range(2)]
    assert torch.allclose(operator.forward(x), torch.from_numpy(np.stack(theirs)), atol=1e-12)
    assert torch.allclose(kernel_of(operator).sum(dim=(1, 2)), torch.ones(2).double(), atol=1e-12)


def test_identities_of_a_batch_of_kernels(build) -> None:
    operator, x = build().for_images(["a", "b"], 0), pictures(2)
    y, other = operator.forward(x), torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    assert torch.allclose((y * other).sum(), (x * operator.adjoint(other)).sum())
    assert torch.allclose(operator.from_spectrum(operator.to_spectrum(x)), x)
    z = operator.prox(x, other, 0.1, 0.2)
    assert torch.allclose(z - x, -operator.adjoint(operator.forward(z) - other) * (0.2 / 0.1**2), atol=1e-9)
    assert operator.to("cpu", torch.float32).singular_values.dtype == torch.float32


def test_gaussian_kernels_are_those_of_scipys_filter_in_its_window() -> None:
    """DiffPIR's Blurkernel: an impulse in 61×61 pixels through scipy.ndimage.gaussian_filter, folded at the ends."""
    for std in (3.0, 7.4, 9.0):
        operator = RandomGaussianBlur((1, 64, 64), 61, std, dtype=torch.float64).for_images(["a"], 0)
        impulse = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
        impulse[..., 32, 32] = 1
        window = np.zeros((61, 61))
        window[30, 30] = 1
        ours = operator.forward(impulse)[0, 0, 2:63, 2:63].numpy()
        # singular values below the tolerance of rank are 0
        np.testing.assert_allclose(ours, ndimage.gaussian_filter(window, std), rtol=0, atol=1e-7)


def test_a_gaussian_that_is_larger_than_the_image_wraps_around_it() -> None:
    """As SciPy's mode "wrap" has it."""
    x = torch.randn(1, 1, 10, 12, generator=torch.Generator().manual_seed(3)).double()
    operator = RandomGaussianBlur((1, 10, 12), 61, 5.0, dtype=torch.float64).for_images(["a"], 0)
    window = np.zeros((61, 61))
    window[30, 30] = 1
    theirs = ndimage.convolve(x[0, 0].numpy(), ndimage.gaussian_filter(window, 5.0), mode="wrap")
    np.testing.assert_allclose(operator.forward(x)[0, 0].numpy(), theirs, rtol=0, atol=1e-6)


def test_widths_are_uniform_in_their_range() -> None:
    operator = RandomGaussianBlur((1, 64, 64), 61, (2.0, 4.0), dtype=torch.float64)
    bound = operator.for_images([str(i) for i in range(200)], 0)
    frequency = torch.tensor(2 * np.pi / 64)
    widths = (-2 * bound.singular_values[:, 0, 0, 1].sort().values.flip(0).log()).sqrt() / frequency
    assert widths.min() > 1.99
    assert widths.max() < 4.01
    even = torch.linspace(2, 4, 200)
    assert (widths - even).abs().max() < 0.25


def test_eight_bits_are_those_of_scipy_on_8_bit_pixels() -> None:
    """main_ddpir_deblur.py: ndimage.convolve of uint8 with a kernel of single precision, mode wrap."""
    operator, x = RandomGaussianBlur(SHAPE, 31, eight_bit=True, dtype=torch.float64).for_images(["a"], 0), pictures(1)
    kernel = np.pad(kernel_of(operator)[0].numpy(), ((0, 1), (0, 1)))
    pixels = ((x[0].numpy() + 1) * 127.5).round().astype(np.uint8)
    theirs = ndimage.convolve(pixels, kernel.astype(np.float32)[None], mode="wrap")
    ours = ((operator.measure(x, 0.0, torch.zeros_like(x))[0] + 1) * 127.5).numpy()
    np.testing.assert_allclose(ours, ours.round(), atol=1e-9)
    differ = ours.round() != theirs  # only where rounding decides: even ground, and within 1/1000 of a level
    assert differ.mean() < 0.2
    assert np.abs(ours.round() - theirs.astype(float)).max() <= 1
    assert (differ & (ours.round() < 255)).mean() < 5e-3


def test_eight_bits_cut_and_do_not_round(build) -> None:
    x = pictures(2)
    exact, cut = (build(eight_bit=bit).for_images(["a", "b"], 0) for bit in (False, True))
    zero = torch.zeros_like(x)
    lost = exact.measure(x, 0.0, zero) - cut.measure(x, 0.0, zero)
    level = 1 / 127.5
    assert lost.min() > -2e-3 * level
    assert lost.max() < level
    assert lost.mean() > 0.3 * level
    assert torch.equal(cut.forward(x), exact.forward(x))  # H itself stays linear


@pytest.mark.parametrize("level", [0, 37, 254, 255])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eight_bits_leave_even_ground_alone(level: int, dtype: torch.dtype) -> None:
    x = torch.full((1, *SHAPE), level / 127.5 - 1, dtype=dtype)
    operator = RandomGaussianBlur(SHAPE, 31, eight_bit=True, dtype=dtype).for_images(["a"], 0)
    assert torch.allclose(operator.measure(x, 0.0, torch.zeros_like(x)), x, atol=1e-6)


def test_noise_is_added_after_eight_bits(build) -> None:
    operator, x = build(eight_bit=True).for_images(["a", "b"], 0), pictures(2)
    noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(2)).double()
    quiet = operator.measure(x, 0.0, noise)
    assert torch.allclose(operator.measure(x, 0.1, noise) - quiet, 0.1 * noise, atol=1e-14)


def test_a_motion_with_a_seed_is_one_for_all_and_may_have_eight_bits() -> None:
    operator = MotionBlur(SHAPE, 15, seed=3, reference_side=None, eight_bit=True, dtype=torch.float64)
    assert operator.for_images(["a", "b"], 0) is operator
    assert operator.singular_values.dim() == 3
    x = pictures(1)
    levels = (operator.measure(x, 0.0, torch.zeros_like(x)) + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-9)


def test_kernels_are_asked_for_after_the_images(build) -> None:
    with pytest.raises(AttributeError, match="for_images"):
        build().forward(pictures(1))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: RandomGaussianBlur(SHAPE, 30), "taps=30"),
        (lambda: RandomGaussianBlur(SHAPE, 31, (4.0, 3.0)), "not a range of widths"),
        (lambda: RandomGaussianBlur(SHAPE, 31, 0.0), "not a range of widths"),
        (lambda: RandomGaussianBlur(SHAPE, 31, (1.0, 2.0, 3.0)), "neither one number nor two"),
        (lambda: MotionBlur(SHAPE, 61, seed=None, reference_side=None), "larger than an image of 32×32"),
        (lambda: MotionBlur(SHAPE, 15, intensity=2.0, seed=None), "intensity=2.0"),
        (lambda: CircularBlur(SHAPE, torch.ones(4, 3)), "taps=4"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, what: str) -> None:
    with pytest.raises(InputError, match=what):
        make()


@pytest.mark.parametrize("name", ["deblur_gauss_diffpir", "deblur_motion_diffpir"])
def test_diffpirs_tasks_are_the_programs(name: str) -> None:
    """61×61 taps at 256×256, a kernel for each image, 8 bits, and twice σ_n = 0.05."""
    task = named_options("task")[name]
    operator = build_operator(task["operator"], (3, 256, 256), torch.float32).for_images(["a", "b"], 0)
    assert task["noise_std"] == 0.1
    assert operator.singular_values.shape == (2, 3, 256, 256)
    assert (operator.singular_values[0] != operator.singular_values[1]).any()
    impulse = torch.zeros(1, 3, 256, 256)
    impulse[..., 128, 128] = 1
    reached = (operator.forward(impulse).abs() > 1e-7).nonzero()[:, 2:]
    assert reached.min() >= 128 - 30
    assert reached.max() <= 128 + 30
    x = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    levels = (operator.measure(x, 0.0, torch.zeros_like(x)) + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-3)
