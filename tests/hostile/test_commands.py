"""Hostile input as a user meets it: one line, exit code 2, nothing computed and nothing written."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.hostile.conftest import Refused

CELL = ("run", "task=sr4", "method=pinv", "runner.device=cpu")
PLANE = (
    "run",
    "dataset=gmm_2d",
    "dataset.scenes=1",
    "task=random_projection",
    "task.operator.measurements=1",
    "method=vml_fixed_point",
    "runner.device=cpu",
)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zeros(blocks: int, block: int) -> bytes:
    """blocks · block zeros as zlib packs them, without ever holding them: one packed block, over and over."""
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = struct.pack(">HH", blocks * block % 65521, 1)
    return b"\x78\xda" + packed * blocks + b"\x03\x00" + checksum


def header_alone(file: Path) -> None:
    file.write_bytes(png(100_000, 100_000, zlib.compress(bytes(10))))


def bomb(file: Path) -> None:
    rows = zeros(20_000, 1 + 3 * 20_000)
    assert zlib.decompress(zeros(3, 60_001)) == bytes(3 * 60_001)
    file.write_bytes(png(20_000, 20_000, rows))
    assert file.stat().st_size < 2_000_000


def web_page(file: Path) -> None:
    file.write_text("<!doctype html><script>alert(1)</script>")


def cut(file: Path) -> None:
    Image.effect_noise((64, 64), 99).convert("RGB").save(file, "png")
    file.write_bytes(file.read_bytes()[:-200])


def postscript(file: Path) -> None:
    file.write_text(f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n({file.parent}/ran) (w) file closefile\n")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (header_alone, "too large to be a photograph"),
        (bomb, "too large to be a photograph"),
        (web_page, "cannot be read"),
        (cut, "cannot be read"),
        (postscript, "cannot be read"),
        (os.mkfifo, "it is not a file"),
        (Path.mkdir, "it is not a file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_image_that_is_none(tmp_path: Path, refused: Refused, spoil: Callable[[Path], None], says: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    spoil(folder / "a.png")
    said = refused(*CELL, "dataset=folder", f"dataset.root={folder}")
    assert f"image {folder}/a.png" in said
    assert says in said
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    "name", ["a\nb", "a\x1b[31mb", "-rf", "a∕b", "a／b", "a\u202egnp", "a" * 240, "a?b", "a|b", "<b>"]
)
def test_an_image_whose_name_can_be_no_id(tmp_path: Path, refused: Refused, name: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / f"{name}.png")
    assert "cannot be the id of an image" in refused(*CELL, "dataset=folder", f"dataset.root={folder}")


@pytest.mark.parametrize("override", ["dataset.name=../x", "task.name=/x", "method.name=a/b"])
def test_a_name_that_would_leave_the_results_folder(refused: Refused, override: str) -> None:
    key, _, name = override.partition("=")
    assert f"{key}='{name}' cannot name a folder" in refused(*PLANE, override)


@pytest.mark.parametrize("override", ["dataset.name=Originals", "dataset.name=measurements"])
def test_a_name_that_means_something_else_in_the_results_folder(refused: Refused, override: str) -> None:
    assert f"{override} is taken in the results folder" in refused(*PLANE, override)


@pytest.mark.parametrize(
    ("make", "says"), [(os.mkfifo, "is not a file"), (Path.mkdir, "is not a file"), (Path.touch, "whole")]
)
def test_weights_that_are_none(tmp_path: Path, refused: Refused, make: Callable[[Path], None], says: str) -> None:
    file = tmp_path / "w.safetensors"
    make(file)
    said = refused(*CELL, "method=ddrm", "dataset=photos64", f"prior.checkpoint={file}")
    assert f"weight file {file}" in said
    assert says in said


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("task.operator.measurements=many", "measurements='many' does not fit; it must be a whole number"),
        ("+task.operator.command=ls", "task.operator.command is unknown; choose among image_shape, measurements"),
        ("task.operator._target_=no.such.thing", "task.operator._target_=no.such.thing cannot be found"),
        ("task.operator=null", "task.operator names nothing to build"),
        ("task.operator.seed=99999999999999999999", "task.operator.seed=99999999999999999999 does not fit"),
        ("method.sampler.inner_steps=1.5", "method.sampler.inner_steps=1.5 does not fit"),
        ("method.sampler.step_size=nan", "method.sampler.step_size=nan does not fit"),
        ("method.sampler.schedule=null", "method.sampler.schedule=None does not fit"),
        ("method.sampler.schedule.levels=1000000", "method.sampler.schedule.levels=1000000 does not fit"),
        ("metrics._target_=null", "metrics names nothing to build"),
        ("prior.model.image_shape=[1,2]", "prior.model.image_shape=[1, 2] does not fit"),
        ("compute=null", "compute=None chooses nothing"),
        ("tracker=null", "Config group override must be a string"),
        ("+compute.nice=1", "compute.nice is unknown"),
        ("compute.compile=maybe", "compute.compile='maybe' does not fit"),
        ("runner.device=null", "runner.device=None does not fit; it must be a text"),
        ("task.noise_std=1e300", "task.noise_std=1e+300 is not a noise level"),
        ("task.noise_std=1e-12", "task.noise_std=1e-12 is not a noise level"),
        ("seed=true", "seed=True does not fit; it must be a whole number"),
        ("seed=9223372036854775808", "seed=9223372036854775808 does not fit; it must be within 64 bits"),
        ("seed=${oc.env:NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
    ],
)
def test_a_value_that_does_not_fit(refused: Refused, override: str, says: str) -> None:
    assert says in refused(*PLANE, override)
