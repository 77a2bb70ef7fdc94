import zlib

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


SCENE = np.random.default_rng(0).integers(0, 256, (11, 21, 3), dtype=np.uint8)


def scene(path, pixels=SCENE, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def loaded(folder, image_id):
    return to_uint8(folder.load(image_id))


def test_an_image_of_another_size_is_cut_to_its_centre(tmp_path):
    scene(tmp_path / "a.png")
    assert np.array_equal(loaded(ImageFolder(tmp_path, SHAPE, "mine", fit="crop"), "a"), SCENE[1:9, 6:14])


def test_or_resized_to_cover_the_shape_first(tmp_path):
    scene(tmp_path / "a.png")
    covering = Image.fromarray(SCENE).resize((15, 8), Image.Resampling.BICUBIC)
    found = loaded(ImageFolder(tmp_path, SHAPE, "mine", fit="resize"), "a")
    assert np.array_equal(found, np.asarray(covering)[:, 3:11])
    scene(tmp_path / "a.png", SCENE[:4, :4])
    assert ImageFolder(tmp_path, SHAPE, "mine", fit="resize").load("a").shape == SHAPE


def test_or_cut_into_tiles_with_ids_of_their_own(tmp_path):
    scene(tmp_path / "a.png")
    scene(tmp_path / "b.png", SCENE[::-1, :17].copy())
    folder = ImageFolder(tmp_path, (3, 5, 8), "mine", fit="tile")
    assert folder.ids == (
        *(f"a-{row}-{column}" for row in (0, 1) for column in (0, 1)),
        "b-0-0",
        "b-0-1",
        "b-1-0",
        "b-1-1",
    )
    folder.check()
    assert np.array_equal(loaded(folder, "a-1-0"), SCENE[5:10, :8])


def test_equal_tiles_are_no_fault_but_equal_files_are(tmp_path):
    sky = SCENE.copy()
    sky[:5] = (120, 160, 230)
    scene(tmp_path / "a.png", sky)
    scene(tmp_path / "b.png", sky[:, ::-1].copy())
    folder = ImageFolder(tmp_path, (3, 5, 8), "mine", fit="tile")
    folder.check()
    assert np.array_equal(loaded(folder, "a-0-0"), loaded(folder, "b-0-1"))
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    with pytest.raises(InputError, match=r"a\.png at \(0, 0\) and .*c\.png at \(0, 0\) hold the same bytes"):
        ImageFolder(tmp_path, (3, 5, 8), "mine", fit="tile").check()


@pytest.mark.parametrize(
    ("shape", "fit", "said"),
    [
        ((3, 16, 16), "crop", "21×11 pixels, less than 16×16"),
        ((3, 16, 16), "tile", "21×11 pixels, less than 16×16"),
        ((3, 16, 16), "exact", "21×11 pixels, not 16×16"),
        (None, "resize", "dataset.image_shape"),
        ((2, 16, 16), "crop", "2 channels"),
        (SHAPE, "stretch", "'exact', 'crop', 'resize' or 'tile'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, shape, fit, said):
    scene(tmp_path / "a.png")
    with pytest.raises(InputError, match=said):
        ImageFolder(tmp_path, shape, "mine", fit=fit).load("a")


def test_grey_images_have_one_channel_and_are_saved_as_grey(tmp_path):
    grey = SCENE[..., 0]
    scene(tmp_path / "a.png", grey)
    scene(tmp_path / "b.png")
    folder = ImageFolder(tmp_path, (1, 11, 21), "mine")
    assert folder.load("a").shape == (1, 11, 21)
    assert np.array_equal(loaded(folder, "a"), np.repeat(grey[..., None], 3, axis=2))
    assert np.array_equal(loaded(folder, "b")[..., 0], np.asarray(Image.fromarray(SCENE).convert("L")))
    save_png(folder.load("a"), tmp_path / "saved.png")
    assert torch.equal(from_uint8(np.asarray(Image.open(tmp_path / "saved.png"))), folder.load("a").expand(3, -1, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_that_a_camera_noted_is_followed(tmp_path, orientation):
    noted = Image.Exif()
    noted[0x0112] = orientation
    scene(tmp_path / "a.png", exif=noted)
    size = (11, 21) if orientation < 5 else (21, 11)
    found = loaded(ImageFolder(tmp_path, (3, *size), "mine"), "a")
    turned = {1: SCENE, 2: SCENE[:, ::-1], 3: SCENE[::-1, ::-1], 4: SCENE[::-1]}
    turned |= {5: SCENE.transpose(1, 0, 2), 6: np.rot90(SCENE, -1), 8: np.rot90(SCENE)}
    turned[7] = turned[5][::-1, ::-1]
    assert np.array_equal(found, turned[orientation])


def test_what_would_be_dropped_without_a_word_is_refused(tmp_path):
    header = b"IHDR" + (8).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0])
    chunks = [header, b"IDAT" + zlib.compress((b"\0" + bytes(48)) * 8), b"IEND"]
    packed = b"".join((len(c) - 4).to_bytes(4, "big") + c + zlib.crc32(c).to_bytes(4, "big") for c in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + packed)
    with pytest.raises(InputError, match="16 bits per channel"):
        ImageFolder(tmp_path, SHAPE, "mine").load("a")
    pages = [Image.fromarray(SCENE), Image.fromarray(SCENE[::-1].copy())]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="2 pages"):
        ImageFolder(tmp_path, (3, 11, 21), "mine").load("b")
