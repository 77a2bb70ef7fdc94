"""What is scored is what a reader of the files would see."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from vml_bench.data.images import as_saved, from_uint8, save_png, to_uint8


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures") / "a.png"


def image(seed: int, height: int, width: int, spread: float, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(3, height, width, generator=generator) * spread).to(dtype)


@settings(deadline=None, derandomize=True, max_examples=80)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    spread=st.sampled_from([0.0, 1e-3, 0.5, 1.0, 50.0, 1e30]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_as_saved_is_saved_and_read(
    picture: Path, seed: int, height: int, width: int, spread: float, dtype: torch.dtype
) -> None:
    x = image(seed, height, width, spread, dtype)
    assert save_png(x, picture) == hashlib.sha256(picture.read_bytes()).hexdigest()
    with Image.open(picture) as saved:
        assert (saved.format, saved.mode, saved.size) == ("PNG", "RGB", (width, height))
        read = from_uint8(np.asarray(saved))
    torch.testing.assert_close(as_saved(x[None])[0].float(), read, rtol=0, atol=1e-6)
    assert torch.equal(as_saved(read[None])[0], read)  # once saved, always the same
    assert (read - x.clamp(-1, 1)).abs().max() <= 1 / 255 + 1e-6
    assert list(picture.parent.iterdir()) == [picture]


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.binary(min_size=48, max_size=48))
def test_eight_bits_pass_through_unchanged(content: bytes) -> None:
    pixels = np.frombuffer(content, np.uint8).reshape(4, 4, 3)
    assert np.array_equal(to_uint8(from_uint8(pixels)), pixels)
