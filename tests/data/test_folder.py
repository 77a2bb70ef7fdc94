import numpy as np
import pytest
import torch
from PIL import Image

from vml_bench.data import ImageFolder
from vml_bench.data.images import as_saved, from_uint8, save_png, to_uint8
from vml_bench.errors import InputError

SHAPE = (3, 8, 8)


def write(path, size=(8, 8), mode="RGB"):
    Image.new(mode, size, 7).save(path)


def test_images_come_in_the_order_of_their_names(tmp_path):
    for name in ("b.png", "a.png", "notes.txt"):
        write(tmp_path / name) if name.endswith("png") else (tmp_path / name).write_text("x")
    folder = ImageFolder(tmp_path, SHAPE, "mine")
    assert folder.ids == ("a", "b")
    assert folder.load("a").shape == SHAPE


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "cannot be read"),
        (lambda path: path.write_text("no image"), "cannot be read"),
        (lambda path: write(path, size=(9, 8)), "9×8 pixels, not 8×8"),
        (lambda path: write(path, mode="L"), "mode L, not RGB"),
    ],
)
def test_a_bad_image_is_named_with_its_fault(tmp_path, spoil, message):
    write(tmp_path / "a.png")
    spoil(tmp_path / "a.png")
    with pytest.raises(InputError, match=message) as caught:
        ImageFolder(tmp_path, SHAPE, "mine").load("a")
    assert "a.png" in str(caught.value)


def test_a_bad_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        ImageFolder(tmp_path / "none", SHAPE, "mine")
    with pytest.raises(InputError, match="holds no images"):
        ImageFolder(tmp_path, SHAPE, "mine")
    write(tmp_path / "a.png")
    write(tmp_path / "a.bmp")
    with pytest.raises(InputError, match="share an id"):
        ImageFolder(tmp_path, SHAPE, "mine")


def test_eight_bits_survive_the_round_trip(tmp_path):
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    image = from_uint8(pixels)
    assert np.array_equal(to_uint8(image), pixels)
    save_png(image * 1.5, tmp_path / "x.png")
    saved = from_uint8(np.asarray(Image.open(tmp_path / "x.png")))
    assert torch.allclose(saved, as_saved(image * 1.5), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_the_size_is_that_of_the_first_image_where_none_is_given(tmp_path):
    write(tmp_path / "a.png", size=(12, 10))
    assert ImageFolder(tmp_path, None, "mine").image_shape == (3, 10, 12)
    write(tmp_path / "b.png", size=(8, 8))
    with pytest.raises(InputError, match="8×8 pixels, not 12×10"):
        ImageFolder(tmp_path, None, "mine").load("b")


def test_the_first_images_or_those_of_a_list_are_taken(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.png")
    assert ImageFolder(tmp_path, None, "mine", first=2).ids == ("a", "b")
    (tmp_path / "list.txt").write_text("c\na\n")
    assert ImageFolder(tmp_path, None, "mine", list=tmp_path / "list.txt").ids == ("c", "a")
