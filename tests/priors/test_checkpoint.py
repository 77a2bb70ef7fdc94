import os
import pickle
from dataclasses import astuple
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vml_bench.errors import InputError
from vml_bench.priors.checkpoint import check_tensors, read_tensors
from vml_bench.priors.networks import PublishedNetwork, published, published_names

MAPS = Path("/proc/self/maps")
TENSORS = {"a.weight": torch.randn(3, 2), "a.bias": torch.randn(3, dtype=torch.float16)}


def zipped(content, path):
    torch.save(content, path)


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def plain_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


class Bomb:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(
    ("name", "write"), [("w.pt", zipped), ("w.bin", legacy), ("w.safetensors", save_file)], ids=["zip", "old", "safe"]
)
def test_tensors_are_read_as_they_are(tmp_path, name, write):
    write(TENSORS, tmp_path / name)
    read, notes = astuple(read_tensors(tmp_path / name))
    assert notes == ()
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[key], tensor) and read[key].dtype == tensor.dtype for key, tensor in TENSORS.items())


@pytest.mark.skipif(not MAPS.exists(), reason="no list of mapped files on this system")
def test_a_large_file_is_mapped_not_read(tmp_path):
    zipped(TENSORS, tmp_path / "mapped.pt")
    held = read_tensors(tmp_path / "mapped.pt")
    assert held.tensors
    assert str(tmp_path / "mapped.pt") in MAPS.read_text()


@pytest.mark.parametrize("write", [zipped, legacy, plain_pickle])
def test_a_pickle_bomb_is_refused_and_not_run(tmp_path, write):
    crater = tmp_path / "crater"
    write({"a.weight": torch.zeros(2), "b": Bomb(crater)}, tmp_path / "bomb.pt")
    with pytest.raises(InputError, match=r"bomb.pt holds something other than tensors.*nothing of it was run"):
        read_tensors(tmp_path / "bomb.pt")
    assert not crater.exists()
    pickle.loads(pickle.dumps(Bomb(crater)))  # the bomb was live
    assert crater.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"model": {"a": torch.zeros(2), "b": 1}, "step": 3}, "holds model, step"),
        ({"a": torch.zeros(2), "count": torch.zeros(2, dtype=torch.long)}, "holds count"),
        (torch.zeros(2), "holds one Tensor"),
        ({}, "holds nothing"),
    ],
)
def test_anything_but_named_tensors_is_refused_by_name(tmp_path, content, named):
    zipped(content, tmp_path / "w.pt")
    with pytest.raises(InputError, match=named):
        read_tensors(tmp_path / "w.pt")


def test_half_files_are_refused(tmp_path):
    whole = tmp_path / "whole.pt"
    for write, name in ((zipped, "half.pt"), (legacy, "half.bin"), (save_file, "half.safetensors")):
        write(TENSORS, whole)
        content = whole.read_bytes()
        for part in (0, 10, len(content) // 2, len(content) - 10):
            (tmp_path / name).write_bytes(content[:part])
            with pytest.raises(InputError, match=name):
                read_tensors(tmp_path / name)
    with pytest.raises(InputError, match="does not exist"):
        read_tensors(tmp_path / "none.pt")


def test_differences_are_listed_up_to_eight():
    shapes = {f"t{i}": (2,) for i in range(10)}
    check_tensors(shapes, {name: torch.zeros(2) for name in shapes}, "file")
    with pytest.raises(InputError, match=r"missing t0 \(2,\), .*missing t7 \(2,\) and 3 more"):
        check_tensors(shapes, {"z": torch.zeros(1)}, "file")
    with pytest.raises(InputError, match=r"network: t3 is \(1, 2\) where \(2,\) is needed;"):
        check_tensors(shapes, {name: torch.zeros(2) for name in shapes} | {"t3": torch.zeros(1, 2)}, "file")


def test_the_weights_are_looked_for_in_the_cache_safetensors_first(tmp_path, monkeypatch):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    network = PublishedNetwork("some", "adm", ("theirs.pt", "mirrored.pt"), {})
    with pytest.raises(InputError, match=r"`vml-bench fetch some-prior`"):
        network.locate()
    for name in ("mirrored.pt", "theirs.pt", "theirs.safetensors"):
        (tmp_path / name).touch()
        assert network.locate() == tmp_path / name
    (tmp_path / "own").mkdir()
    own = tmp_path / "own" / "mine.pt"
    own.touch()
    assert network.locate(own) == own
    own.with_suffix(".safetensors").touch()
    assert network.locate(str(own)) == own.with_suffix(".safetensors")
    assert network.locate(tmp_path) == tmp_path / "theirs.safetensors"
    with pytest.raises(InputError, match=r"correct prior\.checkpoint"):
        network.locate(tmp_path / "own" / "other.pt")


def test_every_published_network_has_a_prior_of_its_name(cell_config):
    for name in published_names():
        prior = cell_config(f"prior={name}").prior
        assert prior.name == prior.model.name == published(name).name
        assert prior.checkpoint is prior.model.checkpoint is None
        assert prior.synthetic is False
        assert prior.model._target_.endswith(f"load_{published(name).format}_prior")


def test_the_page_of_checkpoints_has_a_row_for_every_published_network_and_its_file():
    page = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| `")}
    for name in published_names():
        row = rows[f"`{name}`"]
        assert any(file.removesuffix(".safetensors").removesuffix(".bin") in row for file in published(name).files)
