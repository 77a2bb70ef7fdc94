"""Weight files that are not what they say: refused by name, nothing of them run, little of them read."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vml_bench.errors import InputError
from vml_bench.priors.checkpoint import check_tensors, read_safetensors, read_tensors

MEGABYTE = 1 << 20


def saved(path: Path, content: object = None) -> Path:
    torch.save({"a": torch.arange(4.0)} if content is None else content, path)
    return path


def rezipped(source: Path, path: Path, change: Callable[[str, bytes], bytes], compression: int) -> Path:
    """Pack a checkpoint's members again."""
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(path, "w", compression) as packed:
        for name in whole.namelist():
            packed.writestr(name, change(name, whole.read(name)))
    return path


def safetensors(path: Path, header: dict | bytes, data: bytes = b"", length: int | None = None) -> Path:
    """A safetensors file whose header says whatever it likes."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded) if length is None else length) + encoded + data)
    return path


def tensor(start: int, stop: int, *shape: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def test_a_compressed_checkpoint_is_not_read_as_noise(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.pt")
    deflated = rezipped(whole, tmp_path / "deflated.pt", lambda _, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"deflated\.pt is not a whole file.*compressed, which torch\.save never does"):
        read_tensors(deflated)
    stored = rezipped(whole, tmp_path / "stored.pt", lambda _, data: data, zipfile.ZIP_STORED)
    assert torch.equal(read_tensors(stored).tensors["a"], torch.arange(4.0))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bomb(name: str, data: bytes) -> bytes:
        return data + bytes(64 * MEGABYTE) if name.endswith("data.pkl") else data

    bombed = rezipped(saved(tmp_path / "a.pt"), tmp_path / "bomb.pt", bomb, zipfile.ZIP_DEFLATED)
    assert bombed.stat().st_size < MEGABYTE
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(InputError, match=r"bomb\.pt.*is compressed"):
        read_tensors(bombed)


class Huge:
    """Pickles as a tensor of a terabyte."""

    def __reduce__(self) -> tuple:
        rebuilt = torch._utils._rebuild_tensor_v2
        return rebuilt, (torch.zeros(1).untyped_storage(), 0, (2**38,), (1,), False, OrderedDict())


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before zip"])
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path, old: bool) -> None:
    file = tmp_path / "huge.pt"
    torch.save({"a": Huge()}, file, _use_new_zipfile_serialization=not old)
    with pytest.raises(InputError, match=r"huge\.pt"):
        read_tensors(file)


def test_a_storage_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "a.bin", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.bin").read_bytes()
    assert data.count(b"K\x04") == 4  # pickle's opcode for the number 4: size and shape, three times over
    (tmp_path / "huge.bin").write_bytes(data.replace(b"K\x04", b"\x8a\x06\x00\x00\x00\x00\x00\x01"))
    with pytest.raises(InputError, match=r"huge\.bin is not a whole file of tensors"):
        read_tensors(tmp_path / "huge.bin")


def test_a_view_of_one_number_costs_nothing_until_its_shape_is_refused(tmp_path: Path) -> None:
    tensors = read_tensors(saved(tmp_path / "view.pt", {"a": torch.zeros(1).expand(2**38)})).tensors
    with pytest.raises(InputError, match=r"a is \(274877906944,\) where \(4,\) is needed"):
        check_tensors({"a": (4,)}, tensors, "view.pt")


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (torch.eye(2).to_sparse(), "holds a;"),
        (torch.zeros(2, device="meta"), "holds a;"),
        (torch.zeros(2, dtype=torch.complex64), "holds a;"),
        (torch.zeros(2, dtype=torch.int8), "holds a;"),
        ([torch.zeros(2)], "holds a;"),
    ],
    ids=["sparse", "without numbers", "complex", "whole numbers", "list"],
)
def test_only_dense_floating_point_tensors_pass(tmp_path: Path, value: object, held: str) -> None:
    with pytest.raises(InputError, match=held):
        read_tensors(saved(tmp_path / "w.pt", {"a": value}))


@pytest.mark.parametrize(
    ("content", "shown"),
    [({"a\nb\x1b[2J": 1}, r"holds a\?b\?\[2J;"), ({7: torch.zeros(2)}, "holds a name of type int")],
    ids=["control characters", "no text"],
)
def test_names_are_shown_as_one_harmless_line(tmp_path: Path, content: object, shown: str) -> None:
    with pytest.raises(InputError, match=shown) as caught:
        read_tensors(saved(tmp_path / "w.pt", content))
    assert str(caught.value).isprintable()


LIES = {
    "a header of 2⁶³ bytes": ({}, b"", 2**63),
    "a header of a terabyte": ({}, b"", 10**12),
    "a header longer than the file": ({}, b"", 90_000_000),
    "a tensor out of the file": ({"a": tensor(0, 16, 4)}, bytes(4)),
    "overlapping tensors": ({"a": tensor(0, 8, 2), "b": tensor(4, 12, 2)}, bytes(12)),
    "a tensor that ends before it starts": ({"a": tensor(8, 0, 2)}, bytes(8)),
    "bytes that are no tensor's": ({"a": tensor(0, 8, 2)}, bytes(80)),
    "a shape larger than its bytes": ({"a": tensor(0, 8, 10**6)}, bytes(8)),
    "a shape past 2⁶⁴": ({"a": tensor(0, 8, 2**33, 2**33)}, bytes(8)),
    "an unknown type": ({"a": tensor(0, 8, 1, dtype="OBJECT")}, bytes(8)),
    "a header nested 100,000 deep": (b'{"a":' + b"[" * 100_000 + b"}", b""),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_safetensors_header_is_refused(tmp_path: Path, lie: str) -> None:
    file = safetensors(tmp_path / "w.safetensors", *LIES[lie])
    for read in (read_tensors, read_safetensors):
        with pytest.raises(InputError, match=r"w\.safetensors") as caught:
            read(file)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", ["[" * 100_000, "[1]", '"x"', "3", "null", "{", ""])
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, config: str) -> None:
    header = {"__metadata__": {"config": config}, "a": tensor(0, 8, 2)}
    with pytest.raises(InputError, match="carries no network configuration"):
        read_safetensors(safetensors(tmp_path / "w.safetensors", header, bytes(8)))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("make", "says"),
    [(Path.mkdir, "not a file"), (os.mkfifo, "not a file"), (Path.touch, "whole"), (lambda path: None, "not exist")],
    ids=["folder", "pipe", "empty", "missing"],
)
def test_what_is_no_file_of_weights_is_refused_without_waiting(
    tmp_path: Path, suffix: str, make: Callable[[Path], object], says: str
) -> None:
    file = tmp_path / f"w{suffix}"
    make(file)
    for read in (read_tensors, read_safetensors):
        with pytest.raises(InputError, match=says):
            read(file)
