"""Images stored one by one: a fault is reported before the image is decoded, and before any is used."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from vml_bench.data import ImageFolder
from vml_bench.data.decode import MAX_PIXELS, decode
from vml_bench.data.stored import find_images, natural
from vml_bench.errors import InputError
from vml_bench.identity import digests_of

SHAPE = (3, 8, 8)


def noise(seed, size=(8, 8)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def folder(tmp_path, count=3):
    for seed in range(count):
        noise(seed).save(tmp_path / f"{seed}.png")
    return ImageFolder(tmp_path, SHAPE, "mine")


def png_header(width, height):
    """A PNG that announces a size but holds only one line."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 + 3 * min(width, 1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("limit", [Image.MAX_IMAGE_PIXELS, None], ids=["Pillow's limit", "no limit in Pillow"])
@pytest.mark.parametrize("size", [(100_000, 100_000), (10_001, 10_000)])
def test_a_huge_image_is_refused_by_its_header(monkeypatch, limit, size):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("it was decoded"))
    assert size[0] * size[1] > MAX_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="too large to be a photograph"):
            decode(png_header(*size), "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_cut_anywhere_is_refused_or_read_whole(tmp_path, kind):
    file = tmp_path / "a"
    noise(0, (24, 24)).save(file, kind)
    whole = file.read_bytes()
    pixels = np.asarray(decode(whole, "a"))
    refusals = []
    for length in range(len(whole)):
        try:
            cut = decode(whole[:length], "a")
        except InputError as error:
            refusals.append(str(error))
        else:
            assert np.array_equal(np.asarray(cut), pixels)
    assert len(refusals) > 0.9 * len(whole)
    assert all("image a cannot be read" in refusal and "BytesIO" not in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("mode", "says"),
    [("L", "is greyscale"), ("CMYK", "is in CMYK"), ("P", "indexed colours"), ("RGBA", "transparent"), ("1", "black")],
)
def test_each_mode_is_named(tmp_path, mode, says):
    noise(0).convert(mode).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=says):
        decode((tmp_path / "a.tif").read_bytes(), "a.tif")


def test_a_file_is_decoded_once_to_be_hashed_and_its_pixels_are_what_counts(tmp_path, monkeypatch):
    images = folder(tmp_path)
    decoded = []
    prepare = ImageFolder.prepare
    monkeypatch.setattr(
        ImageFolder, "prepare", lambda self, data, label: decoded.append(label) or prepare(self, data, label)
    )
    images.check()
    digests = digests_of(images)
    assert len(decoded) == 3
    assert list(digests) == ["0", "1", "2"]
    assert len(set(digests.values())) == 3
    noise(2).save(tmp_path / "2.png", compress_level=0)
    noise(9).save(tmp_path / "1.png")
    later = digests_of(ImageFolder(tmp_path, SHAPE, "mine"))
    assert {image_id for image_id in digests if later[image_id] != digests[image_id]} == {"1"}


def test_two_ids_with_the_same_bytes_are_both_named(tmp_path):
    images = folder(tmp_path)
    (tmp_path / "2.png").write_bytes((tmp_path / "0.png").read_bytes())
    with pytest.raises(InputError, match=r"0\.png and .*2\.png hold the same bytes"):
        images.check()
    ImageFolder(tmp_path, SHAPE, "mine", first=2).check()


def test_a_file_that_goes_or_changes_while_it_is_used_is_named(tmp_path):
    images = folder(tmp_path)
    images.check()
    noise(9).save(tmp_path / "1.png")
    with pytest.raises(InputError, match=r"1\.png changed while it was in use"):
        images.load("1")
    (tmp_path / "2.png").unlink()
    with pytest.raises(InputError, match=r"2\.png cannot be read"):
        images.load("2")


def test_numbers_in_names_count_as_numbers():
    names = ["10", "9", "a2b10", "a2b9", "a10", "1", "²", "b"]
    assert sorted(names, key=natural) == ["1", "9", "10", "a2b9", "a2b10", "a10", "b", "²"]


def test_images_are_found_one_folder_down_and_no_further(tmp_path):
    for where in ("a.png", "x/b.PNG", "x/y/c.png", "x/.hidden.png", "x/notes.txt"):
        (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
        noise(0).save(tmp_path / where, "PNG")
    assert list(find_images("mine", tmp_path)) == ["a", "b"]
    assert list(find_images("mine", tmp_path, subfolders=False)) == ["a"]
    noise(0).save(tmp_path / "x" / "a.jpg")
    with pytest.raises(InputError, match=r"a\.png and .*x.a\.jpg would share an id"):
        find_images("mine", tmp_path)
