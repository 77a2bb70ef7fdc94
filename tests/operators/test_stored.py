"""Masks and kernels from files: what is read, what is refused, and that a run is named by what is in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vml_bench.errors import InputError
from vml_bench.identity import form_of
from vml_bench.operators import CircularBlur, InpaintMask, StoredBlur

SHAPE = (3, 8, 6)
SEEN = np.arange(48).reshape(8, 6) % 3 > 0


def picture(path, values):
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("kind", ["png", "black and white png", "npy", "npy by channel"])
def test_a_mask_hides_what_is_black_or_zero(tmp_path, kind):
    if kind.startswith("npy"):
        file = tmp_path / "mask.npy"
        np.save(file, np.stack([SEEN] * 3) if "channel" in kind else SEEN)
    else:
        file = picture(tmp_path / "mask.png", SEEN if "black" in kind else 255 * SEEN.astype(np.uint8))
    operator = InpaintMask(SHAPE, file)
    assert operator.for_images(["a"], 0) is operator
    x = torch.ones(1, *SHAPE)
    assert torch.equal(operator.forward(x)[0, 1], torch.from_numpy(SEEN).float())


def test_a_folder_holds_a_mask_for_each_image(tmp_path):
    picture(tmp_path / "a.png", 255 * SEEN.astype(np.uint8))
    np.save(tmp_path / "b.npy", ~SEEN)
    operator = InpaintMask(SHAPE, tmp_path)
    bound = operator.for_images(["b", "a"], 0)
    assert torch.equal(bound.singular_values[:, 2], torch.from_numpy(np.stack([~SEEN, SEEN])).float())
    with pytest.raises(InputError, match=r"image c has no mask .*put c.png there"):
        operator.for_images(["a", "c"], 0)


def test_a_kernel_is_convolved_as_it_is_given(tmp_path):
    kernel = np.array([[0, 1, 0], [2, 4, 1], [0, 0, 0]], np.uint8)
    np.save(tmp_path / "kernel.npy", kernel.astype(float))
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    wanted = CircularBlur(SHAPE, torch.from_numpy(kernel / 8)).forward(x)
    assert torch.allclose(StoredBlur(SHAPE, picture(tmp_path / "kernel.png", kernel)).forward(x), wanted)
    assert torch.allclose(StoredBlur(SHAPE, tmp_path / "kernel.npy").forward(x), wanted)
    assert torch.allclose(StoredBlur(SHAPE, tmp_path / "kernel.npy", normalize=False).forward(x), 8 * wanted, atol=1e-5)


def test_of_an_even_kernel_the_pixel_behind_its_middle_stays(tmp_path):
    np.save(tmp_path / "kernel.npy", np.array([[0.0, 0.0], [0.0, 1.0]]))
    x = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(StoredBlur(SHAPE, tmp_path / "kernel.npy").forward(x), x, atol=1e-6)


def test_a_problem_is_named_by_what_is_in_the_file(tmp_path):
    files = [tmp_path / name for name in ("one.npy", "same.npy", "other.npy")]
    for file, values in zip(files, (SEEN, SEEN, ~SEEN), strict=True):
        np.save(file, values)
    node = {"_target_": "vml_bench.operators.InpaintMask", "_partial_": True}
    one, same, other = (form_of({**node, "file": str(file)}, ("image_shape", "dtype")) for file in files)
    assert one == same != other


GREY = np.linspace(0, 255, 48, dtype=np.uint8).reshape(8, 6)
REFUSED = {
    "none": (InpaintMask, lambda folder: None, "task.operator.file"),
    "absent": (InpaintMask, lambda folder: folder / "nothing.png", "does not exist"),
    "greys": (InpaintMask, lambda folder: picture(folder / "m.png", GREY), "greys between black and white"),
    "size": (InpaintMask, lambda folder: picture(folder / "m.png", 255 * SEEN[:4].astype(np.uint8)), "4×6"),
    "all hidden": (InpaintMask, lambda folder: picture(folder / "m.png", 0 * GREY), "hides everything"),
    "transparent": (
        InpaintMask,
        lambda folder: picture(folder / "m.png", np.zeros((8, 6, 4), np.uint8)),
        "RGBA, or|mode RGBA",
    ),
    "suffix": (StoredBlur, lambda folder: picture(folder / "k.bmp", GREY[:3, :3]), "neither"),
    "black kernel": (StoredBlur, lambda folder: picture(folder / "k.png", 0 * GREY[:3, :3]), "sums to 0"),
    "large kernel": (StoredBlur, lambda folder: picture(folder / "k.png", np.pad(GREY, 2)), "larger than an image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused(case, tmp_path):
    build, file, said = REFUSED[case]
    with pytest.raises(InputError, match=said):
        build(SHAPE, file(tmp_path))


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    for name in ("torn.png", "torn.npy"):
        (tmp_path / name).write_bytes(b"torn")
        with pytest.raises(InputError, match="cannot be read"):
            StoredBlur(SHAPE, tmp_path / name)
