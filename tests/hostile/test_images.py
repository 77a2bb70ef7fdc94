"""Images, data sets and image ids from who knows where."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from PIL import Image, PngImagePlugin
from torch import Tensor

from vml_bench.contract import ImageSet
from vml_bench.data import ImageFolder
from vml_bench.data.decode import FORMATS, decode
from vml_bench.data.ids import LONGEST, check_ids, is_id
from vml_bench.data.parquet import find_parquet_images
from vml_bench.data.stored import MAX_BYTES, ImageFile
from vml_bench.errors import InputError
from vml_bench.runner.cell import Cell

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, kind)
    return stream.getvalue()


ENCODED = {kind: encoded(kind) for kind in FORMATS}


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.integers(0, 999), st.binary(max_size=8)), max_size=6))
def test_a_damaged_image_is_read_or_refused_by_name(kind: str, damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(ENCODED[kind])
    for place, content in damage:
        place %= len(data)
        data[place : place + len(content)] = content
    try:
        image = decode(bytes(data), "a.png", sizes=[(16, 12)])
    except InputError as error:
        image, said = None, str(error)
    if image is None:
        assert "image a.png" in said
        assert "\n" not in said
    else:
        assert (image.mode, image.size) == ("RGB", (16, 12))


def test_no_image_starts_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 12\n%%EndComments\nshowpage\n%%EOF\n"
    with Image.open(io.BytesIO(page)) as image:
        assert (image.format, image.mode, image.size) == ("EPS", "RGB", (16, 12))  # its header would pass
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(InputError, match=r"a\.png cannot be read \(cannot identify image file"):
        decode(page, "a.png")


def test_a_text_that_unpacks_to_megabytes_is_not_unpacked() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("note", "x" * (64 << 20), zip=True)
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG", pnginfo=notes)
    assert len(stream.getvalue()) < 1 << 20
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        decode(stream.getvalue(), "a.png")


def test_a_file_of_terabytes_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(OSError, match="more than any photograph"):
        ImageFile(tmp_path / "a.png").read()


@pytest.mark.parametrize("target", ["/dev/zero", "nowhere", "a.png"], ids=["endless", "dangling", "itself"])
def test_a_link_to_no_file_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "a.png").symlink_to(target)
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        ImageFolder(tmp_path, (3, 8, 8), "mine").load("a")


NO_IDS = [
    *("", ".", "..", "../a", "a/b", "/a", "a\\b", "a\nb", "a\r", "a\0b", "a\tb", "-a", ".a", " a", "a:b", "a*b", "a?"),
    *("a∕b", "a／b", "a⁄b", "a＼b", "a\u202eb", "a\u200bb", "a\ufeff", "<a>", "a|b", 'a"b', "$a", "%a", "a\udcffb"),
    *("a" * (LONGEST + 1), "é" * LONGEST, "😀", None, 7, b"a"),
]


@pytest.mark.parametrize("image_id", NO_IDS, ids=ascii)
def test_what_can_be_no_id(image_id: object) -> None:
    assert not is_id(image_id)
    with pytest.raises(InputError, match=r"data set 'mine': .* cannot be the id of an image") as caught:
        check_ids("mine", ["a", image_id])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "image_id", ["00001", "ILSVRC2012_val_00000293", "p003-r07", "IMG (1)", "März, 3", "ме́тр", "क्षि", "a" * LONGEST]
)
def test_what_can_be_an_id(image_id: str) -> None:
    check_ids("mine", [image_id])


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(max_size=260))
@example("a" * LONGEST)
@example("ﬀ" * 66)
def test_every_id_is_the_name_of_one_file_in_its_folder(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    if not is_id(text):
        return
    folder = tmp_path_factory.mktemp("ids")
    (folder / f"{text}.png").touch()
    (folder / f".{text}.12345678.partial.png").touch()
    assert len(os.listdir(folder)) == 2
    assert "\n" not in text
    assert text.isprintable()


@pytest.mark.parametrize("ids", [("a", "b", "a"), ("IMG", "img"), ("é", "e\u0301"), ("Straße", "STRASSE")])
def test_ids_that_are_one_where_case_does_not_count(ids: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="are the same but for case"):
        check_ids("mine", ids)


class Listed(ImageSet):
    """A data set of the user's own, with any ids."""

    def __init__(self, *ids: str) -> None:
        self.name, self.ids, self.image_shape = "mine", ids, (3, 8, 8)

    def load(self, image_id: str) -> Tensor:
        return torch.zeros(self.image_shape)


@pytest.mark.parametrize("ids", [["../../evil"], ["a\nb"], ["a", "A"]])
def test_no_data_set_brings_such_ids_into_a_run(cell_config, ids: list[str]) -> None:
    """They are refused before anything is written, whatever the data set."""

    def cell(ids: list[str]) -> DictConfig:
        config = cell_config("task=sr4", "method=pinv")
        node = {"_target_": f"{__name__}.listed", "ids": ids}
        OmegaConf.update(config, "dataset.images", node, merge=False, force_add=True)
        return config

    with pytest.raises(InputError, match="data set 'mine'"):
        Cell(cell(ids))
    assert Cell(cell(["a", "b"])).ids == ("a", "b")


def listed(ids: list[str]) -> Listed:
    """A `Listed` of a configuration's list."""
    return Listed(*ids)


def parquet(file: Path, paths: list[str | None]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet as pq

    images = []
    for number, path in enumerate(paths):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 0, 0)).save(stream, "PNG")
        images.append({"bytes": stream.getvalue(), "path": path})
    pq.write_table(pa.table({"image": images}), file)
    return file


@pytest.mark.parametrize("path", ["../../evil.png", "/etc/passwd", "..", "a\nb.png", "-rf.png", "a∕b.png", "", None])
def test_a_path_inside_a_table_names_no_file_outside(tmp_path: Path, path: str | None) -> None:
    found = find_parquet_images("mine", [parquet(tmp_path / "a.parquet", [path, "b.png"])])
    assert list(found) in (["evil", "b"], ["passwd", "b"], ["00000", "00001"])
    assert all(map(is_id, found))


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["a.png", "x/a.jpg"], "would share an id"),
        (["A.png", "a.png"], "are the same but for case"),
        (["a" * 300], "cannot be the id"),
    ],
)
def test_ids_in_a_table_that_collide_or_are_too_long(tmp_path: Path, paths: list[str | None], says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_ids("mine", find_parquet_images("mine", [parquet(tmp_path / "a.parquet", paths)]))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(damage=st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6))
def test_a_damaged_table_is_read_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    file = parquet(tmp_path_factory.mktemp("table") / "a.parquet", ["a.png", "b.png"])
    data = bytearray(file.read_bytes())
    for place, content in damage:
        place %= len(data)
        data[place : place + len(content)] = content
    file.write_bytes(data)
    with suppress(InputError, OSError):  # and of no other kind
        for image in find_parquet_images("mine", [file]).values():
            image.read()


@pytest.mark.parametrize(
    "build", [lambda root: ImageFolder(root / "none", (3, 8, 8), "x"), lambda root: ImageFolder(root, (3, 8, 8), "x")]
)
def test_a_folder_without_images_is_refused(tmp_path: Path, build: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match="data set 'x'"):
        build(tmp_path)
