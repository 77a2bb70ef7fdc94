"""Random masks belong to images, not to batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vml_bench.operators import Denoise, InpaintBox, InpaintHalf, InpaintRandom

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
