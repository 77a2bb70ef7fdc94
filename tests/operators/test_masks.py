"""Masks: which pixels they hide, that random ones belong to images and not to batches, and what y holds there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vml_bench.configuration import option
from vml_bench.errors import InputError
from vml_bench.operators import Denoise, InpaintBox, InpaintHalf, InpaintRandom, InpaintRandomBox, Mask
from vml_bench.operators.masks import DrawnMask

IDS = ["cat", "dog", "harbour-000-064", "ü", ""]


@settings(deadline=None, max_examples=40)
@given(batch=st.lists(st.sampled_from(IDS), min_size=1, max_size=6), seed=st.integers(0, 2**40))
def test_mask_depends_on_image_and_seed_alone(batch: list[str], seed: int) -> None:
    operator = InpaintRandom((3, 6, 10), ratio=0.7)
    together = operator.for_images(batch, seed).singular_values
    assert together.shape == (len(batch), 3, 6, 10)
    for mask, image_id in zip(together, batch, strict=True):
        assert torch.equal(mask, operator.for_images([image_id], seed).singular_values[0])


def test_masks_differ_between_images_and_seeds() -> None:
    operator = InpaintRandom((3, 16, 16))
    one, two = operator.for_images(["one", "two"], seed=0).singular_values
    assert not torch.equal(one, two)
    assert not torch.equal(one, operator.for_images(["one"], seed=1).singular_values[0])


@settings(deadline=None, max_examples=60)
@given(height=st.integers(1, 20), width=st.integers(1, 20), ratio=st.floats(0, 0.99))
def test_exact_number_of_pixels_all_channels_together(height: int, width: int, ratio: float) -> None:
    kept = round((1 - ratio) * height * width)
    if kept == 0:
        return
    masks = InpaintRandom((3, height, width), ratio=ratio).for_images(["a", "b"], seed=0).singular_values
    assert torch.equal(masks, masks[:, :1].expand_as(masks))
    assert masks[:, 0].sum(dim=(1, 2)).tolist() == [kept, kept]
    assert set(masks.unique().tolist()) <= {0.0, 1.0}


def test_pair_of_ratios_draws_one_for_each_image() -> None:
    ids = [str(i) for i in range(200)]
    masks = InpaintRandom((1, 32, 32), ratio=(0.3, 0.7)).for_images(ids, seed=0).singular_values
    missing = 1 - masks.mean(dim=(1, 2, 3))
    assert missing.min() >= 0.3 - 1e-3
    assert missing.max() <= 0.7 + 1e-3
    assert missing.mean().item() == pytest.approx(0.5, abs=0.03)
    assert missing.std().item() == pytest.approx(0.4 / 12**0.5, abs=0.02)


def test_pixels_are_missing_evenly() -> None:
    ids = [str(i) for i in range(500)]
    seen = InpaintRandom((1, 8, 8), ratio=0.5).for_images(ids, seed=3).singular_values.mean(dim=(0, 1))
    assert (seen - 0.5).abs().max() < 0.12


def test_binding_again_replaces_the_masks_and_keeps_dtype() -> None:
    operator = InpaintRandom((3, 8, 8), dtype=torch.float64)
    bound = operator.for_images(["a"], seed=0)
    again = bound.for_images(["b", "c"], seed=0)
    assert again.singular_values.dtype == torch.float64
    assert torch.equal(again.singular_values, operator.for_images(["b", "c"], seed=0).singular_values)
    assert bound.to(dtype=torch.float32).for_images(["a"], seed=0).singular_values.dtype == torch.float32


def test_unbound_random_mask_says_what_to_do() -> None:
    with pytest.raises(AttributeError, match="for_images"):
        InpaintRandom((3, 8, 8)).forward(torch.zeros(1, 3, 8, 8))


def test_fixed_masks_ignore_the_images() -> None:
    operator = InpaintHalf((3, 8, 8))
    assert operator.for_images(["a"], seed=0) is operator


def test_shapes_of_fixed_masks() -> None:
    assert InpaintHalf((1, 4, 5)).singular_values.sum() == 4 * 3
    assert InpaintHalf((1, 5, 4), missing="top").singular_values.sum() == 3 * 4
    box = InpaintBox((1, 32, 48)).singular_values
    assert (box == 0).sum() == 16 * 16
    assert (box[0, 8:24, 16:32] == 0).all()
    assert (Denoise((3, 4, 4)).singular_values == 1).all()


def test_measurement_is_zero_where_unseen_even_for_nan() -> None:
    operator = InpaintHalf((1, 2, 4))
    x = torch.ones(1, 1, 2, 4)
    x[..., 2:] = torch.nan
    assert torch.equal(operator.measurement_to_spectrum(x)[..., 2:], torch.zeros(1, 1, 2, 2))


def box(mask: Tensor) -> tuple[int, int, int, int]:
    """First row, first column, height and width of what a mask (C, H, W) hides, which must be a rectangle."""
    rows, columns = (mask[0] == 0).nonzero(as_tuple=True)
    top, left, height, width = (
        int(n) for n in (rows.min(), columns.min(), rows.max() - rows.min() + 1, columns.max() - columns.min() + 1)
    )
    hidden = mask.new_ones(mask.shape)
    hidden[:, top : top + height, left : left + width] = 0
    assert torch.equal(mask, hidden)
    return top, left, height, width


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(2, 24),
    width=st.integers(2, 24),
    fraction=st.floats(0.05, 0.95),
    margin=st.floats(0, 0.5),
    seed=st.integers(0, 2**40),
)
def test_random_box_is_a_square_within_its_margin(
    height: int, width: int, fraction: float, margin: float, seed: int
) -> None:
    shorter = min(height, width)
    side, border = round(fraction * shorter), round(margin * shorter)
    if side == 0 or 2 * border + side >= shorter:
        with pytest.raises(InputError, match=r"fraction|margin"):
            InpaintRandomBox((3, height, width), fraction, margin)
        return
    masks = InpaintRandomBox((3, height, width), fraction, margin).for_images(["a", "b"], seed).singular_values
    for mask in masks:
        top, left, *sides = box(mask)
        assert sides == [side, side]
        assert border <= top < height - border - side
        assert border <= left < width - border - side


def test_random_box_takes_every_place_of_the_programs() -> None:
    """DPS: first row and column 16 to 111 of 256, so 4 to 27 of 64; DAPS: 32 to 95, so 8 to 23."""
    ids = [str(i) for i in range(600)]
    for margin, places in ((0.0625, range(4, 28)), (0.125, range(8, 24))):
        masks = InpaintRandomBox((1, 64, 64), 0.5, margin).for_images(ids, seed=0).singular_values
        tops, lefts, heights, _ = zip(*map(box, masks), strict=True)
        assert set(tops) == set(lefts) == set(places)
        assert set(heights) == {32}
        assert abs(torch.corrcoef(torch.tensor([tops, lefts], dtype=torch.float64))[0, 1]) < 0.15


@pytest.mark.parametrize("operator", [InpaintRandom, InpaintRandomBox])
def test_shared_mask_is_one_for_all_images_and_another_for_another_seed(operator: type[DrawnMask]) -> None:
    shared, own = operator((3, 64, 64), shared=True), operator((3, 64, 64))
    one, two = shared.for_images(["one", "two"], seed=0).singular_values
    assert torch.equal(one, two)
    assert torch.equal(one, shared.for_images(["three"], seed=0).singular_values[0])
    assert not torch.equal(one, shared.for_images(["one"], seed=1).singular_values[0])
    assert not torch.equal(*own.for_images(["one", "two"], seed=0).singular_values)
    assert not torch.equal(*(own.for_images(["one"], seed=s).singular_values for s in (0, 1)))


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: InpaintHalf((3, 16, 16), dtype=torch.float64, **k),
        lambda **k: InpaintBox((3, 16, 16), dtype=torch.float64, **k),
        lambda **k: InpaintRandom((3, 16, 16), dtype=torch.float64, **k).for_images(["a", "b"], 0),
        lambda **k: InpaintRandomBox((3, 16, 16), dtype=torch.float64, **k).for_images(["a", "b"], 0),
    ],
    ids=["half", "box", "random", "random box"],
)
def test_noise_on_unseen_pixels_is_in_y_and_nowhere_else(make: Callable[..., Mask]) -> None:
    plain, noisy = make(), make(noise_on_unseen=True)
    x, other, noise = torch.randn(3, 2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y, y_noisy = (operator.measure(x, 0.3, noise) for operator in (plain, noisy))
    unseen = (plain.singular_values == 0).expand_as(x)
    assert torch.equal(y_noisy, torch.where(unseen, 0.3 * noise, y))
    assert torch.equal(noisy.singular_values, plain.singular_values)
    assert torch.equal(noisy.forward(x), plain.forward(x))
    for name in ("pinv", "adjoint", "measurement_to_spectrum", "picture"):
        assert torch.equal(getattr(noisy, name)(y_noisy), getattr(plain, name)(y))
    assert torch.equal(noisy.residual(other, y_noisy), plain.residual(other, y))
    assert torch.equal(noisy.prox(other, y_noisy, 0.3, 0.1), plain.prox(other, y, 0.3, 0.1))


@pytest.mark.parametrize(
    ("task", "missing", "shared"),
    [
        ("inpaint_box_dps", (0.25, 0.25), False),
        ("inpaint_box_daps", (0.25, 0.25), True),
        ("inpaint_box_mmps", (0.25, 0.25), False),
        ("inpaint_random_dps", (0.3, 0.7), False),
        ("inpaint_random_daps", (0.7, 0.71), True),
        ("inpaint_random98_mmps", (0.98, 0.98), False),
        ("inpaint_random50_ddrm", (0.5, 0.5), True),
    ],
)
def test_masks_of_the_programs(task: str, missing: tuple[float, float], shared: bool) -> None:
    """Noise on unseen pixels is in all of them but DDRM's."""
    operator = instantiate(option("task", task)["operator"])(image_shape=(3, 64, 64))
    masks = operator.for_images(["a", "b"], seed=0)
    for mask in masks.singular_values:
        assert missing[0] - 1e-3 <= 1 - mask.mean() <= missing[1] + 1e-3
    assert torch.equal(*masks.singular_values) == shared
    y = masks.measure(torch.zeros(2, 3, 64, 64), 1.0, torch.ones(2, 3, 64, 64))
    assert bool((y == 1).all()) == (task != "inpaint_random50_ddrm")
