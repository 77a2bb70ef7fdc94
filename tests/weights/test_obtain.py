"""Fetching from a server that misbehaves: tried again or refused, never half a file under the final name."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from vml_bench.errors import InputError
from vml_bench.weights import obtain
from vml_bench.weights.catalogue import Weights

CONTENT = np.random.default_rng(0).bytes(500_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def entry(server, monkeypatch):
    """One entry in the catalogue, served whole; its hash is published."""
    server.files["net.pt"] = CONTENT
    entry = Weights("net", "a network", "none", ((f"{server.url}/net.pt", "net.pt"),), 500_000, 500_000, DIGEST)
    return catalogued(monkeypatch, entry)


@pytest.fixture
def unpublished(entry, monkeypatch):
    """The same without size and hash."""
    return catalogued(monkeypatch, replace(entry, size=None, sha256=None))


def catalogued(monkeypatch, entry):
    monkeypatch.setattr(obtain, "find", lambda name: {"net": entry}[name])
    return entry


def left(cache):
    """Names in the cache folder, except the files that keep processes apart."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_file_comes_whole_and_is_not_fetched_twice(server, entry, cache):
    assert obtain.fetch("net") == cache / "net.pt"
    assert (cache / "net.pt").read_bytes() == CONTENT
    assert left(cache) == ["lock.json", "net.pt"]
    obtain.fetch("net")
    assert len(server.asked) == 1
    noted = json.loads((cache / "lock.json").read_text())["files"]["net.pt"]
    assert (noted["sha256"], noted["size"], noted["source"]) == (DIGEST, 500_000, f"{server.url}/net.pt")


@pytest.mark.parametrize("known", ["entry", "unpublished"])
def test_a_dropped_connection_is_tried_again(server, cache, known, request):
    request.getfixturevalue(known)
    server.drops = [100_000, 0, None]
    obtain.fetch("net")
    assert (cache / "net.pt").read_bytes() == CONTENT
    assert len(server.asked) == 3
    assert left(cache) == ["lock.json", "net.pt"]


def test_a_server_that_keeps_dropping_is_given_up_and_nothing_stays(server, entry, cache):
    server.drops = [499_999] * 50
    with pytest.raises(InputError, match="cannot be fetched") as caught:
        obtain.fetch("net")
    assert 1 < len(server.asked) < 10
    assert str(cache / "net.pt") in caught.value.remedy
    assert "\n" not in str(caught.value)
    assert left(cache) == []
    server.drops.clear()
    obtain.fetch("net")
    assert (cache / "net.pt").read_bytes() == CONTENT


def test_what_a_killed_fetch_left_is_removed(server, entry, cache):
    program = (
        "import sys; from vml_bench.weights import obtain; from vml_bench.weights.catalogue import Weights\n"
        f"obtain.find = lambda name: Weights('net', '', '', (('{server.url}/net.pt', 'net.pt'),), 500_000)\n"
        "obtain.fetch('net')"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    server.stalls = 100_000
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL) as process:
        assert server.stalled.wait(60)
        process.kill()
    server.stalls = None
    assert not (cache / "net.pt").exists()
    assert left(cache) != []
    obtain.fetch("net")
    assert left(cache) == ["lock.json", "net.pt"]


@pytest.mark.parametrize(
    ("served", "says"),
    [
        (CONTENT[:-1], "offers 499999 bytes, not 500000"),
        (CONTENT + b"x", "offers 500001 bytes, not 500000"),
        (CONTENT[::-1], "another file: sha256"),
        (None, "status 404"),
    ],
    ids=["short", "long", "wrong hash", "missing"],
)
def test_what_is_not_the_file_is_refused_and_nothing_of_it_stays(server, entry, cache, served, says):
    server.files = {"net.pt": served} if served else {}
    with pytest.raises(InputError, match=says) as caught:
        obtain.fetch("net")
    assert f"place it at {cache / 'net.pt'}" in caught.value.remedy
    assert left(cache) == []
    assert len(server.asked) == 1


def test_a_server_that_does_not_say_how_large_the_file_is_is_refused(server, entry, cache):
    server.announces_length = False
    with pytest.raises(InputError, match="does not say how large"):
        obtain.fetch("net")
    assert left(cache) == []


@pytest.mark.parametrize("header", [{"Transfer-Encoding": "chunked"}, {"Content-Encoding": "gzip"}])
def test_a_length_that_does_not_bound_the_body_is_refused(server, unpublished, cache, header):
    server.headers = header
    with pytest.raises(InputError, match="does not say how large"):
        obtain.fetch("net")
    assert left(cache) == []


def test_what_cannot_be_a_file_of_unknown_hash_is_refused(server, unpublished, cache):
    server.files["net.pt"] = CONTENT[:100]
    with pytest.raises(InputError, match="offers 100 bytes, not about 500000"):
        obtain.fetch("net")
    server.files["net.pt"], server.kind = CONTENT, "text/html; charset=utf-8"
    with pytest.raises(InputError, match="a web page"):
        obtain.fetch("net")
    assert left(cache) == []


def test_a_busy_server_is_asked_again(server, entry, cache):
    server.failures = [503, 429]
    obtain.fetch("net")
    assert (cache / "net.pt").read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_a_full_disk_is_found_before_anything_is_asked(server, entry, cache, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=500_000))
    with pytest.raises(InputError, match=r"0.00 GB free, 0.07 GB are needed"):
        obtain.fetch("net")
    assert left(cache) == server.asked == []


def test_a_disk_that_fills_while_writing_leaves_no_file(server, entry, cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left on device") as caught:
        obtain.fetch("net")
    assert "free disk space" in caught.value.remedy
    assert left(cache) == []


def test_the_first_hash_seen_holds_later_fetches(server, unpublished, cache):
    obtain.fetch("net")
    (cache / "net.pt").unlink()
    server.files["net.pt"] = CONTENT[::-1]
    with pytest.raises(InputError, match=r"in lock.json is"):
        obtain.fetch("net")
    assert left(cache) == ["lock.json"]
    server.files["net.pt"] = CONTENT
    obtain.fetch("net")
    (cache / "net.pt").write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match=r"another file.*delete it and run `vml-bench fetch net`"):
        obtain.fetch("net")


def test_the_hash_that_the_host_states_is_checked(server, unpublished, cache):
    server.files["store"] = CONTENT
    server.moved["net.pt"], server.stated = f"{server.url}/store", DIGEST
    obtain.fetch("net")
    shutil.rmtree(cache)
    server.files["store"] = CONTENT[::-1]
    with pytest.raises(InputError, match="stated is"):
        obtain.fetch("net")
    assert left(cache) == []


def test_a_hash_of_which_the_first_digits_are_published(entry, cache, monkeypatch):
    catalogued(monkeypatch, replace(entry, sha256=DIGEST[:8]))
    assert obtain.fetch("net").read_bytes() == CONTENT
    shutil.rmtree(cache)
    catalogued(monkeypatch, replace(entry, sha256="0" * 8))
    with pytest.raises(InputError, match="published is 00000000"):
        obtain.fetch("net")


def test_a_mirror_is_tried_first_and_the_source_behind_it(server, entry, cache, monkeypatch):
    server.files["mirror/net.pt"] = CONTENT
    obtain.fetch("net", f"{server.url}/mirror/")
    assert json.loads((cache / "lock.json").read_text())["files"]["net.pt"]["source"].endswith("/mirror/net.pt")
    shutil.rmtree(cache)
    monkeypatch.setenv("VML_BENCH_MIRROR", f"{server.url}/elsewhere")
    obtain.fetch("net")
    assert json.loads((cache / "lock.json").read_text())["files"]["net.pt"]["source"] == f"{server.url}/net.pt"
    with pytest.raises(InputError, match="no http or https address"):
        obtain.addresses(entry, "ftp://mirror")


def test_a_mirror_with_another_file_does_not_keep_the_source_from_being_used(server, entry, cache):
    server.files["mirror/net.pt"] = CONTENT[::-1]
    obtain.fetch("net", f"{server.url}/mirror")
    assert (cache / "net.pt").read_bytes() == CONTENT


def test_a_file_placed_by_hand_is_verified_and_taken_without_a_connection(server, entry, cache, monkeypatch):
    cache.mkdir()
    monkeypatch.setattr(obtain, "find", lambda name: replace(entry, aliases=("other.pt",)))
    (cache / "other.pt").write_bytes(CONTENT)
    assert obtain.fetch("net") == cache / "other.pt"
    (cache / "other.pt").write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match="the published one is"):
        obtain.fetch("net")
    (cache / "other.pt").write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="has 499999 bytes, not 500000"):
        obtain.fetch("net")
    assert server.asked == []


def test_two_processes_do_not_write_the_same_file(entry, cache):
    cache.mkdir()
    with FileLock(cache / ".net.lock"), pytest.raises(InputError, match="by another process"):
        obtain.fetch("net")


def test_a_broken_lock_file_is_named(entry, cache):
    cache.mkdir()
    for content in ("{", "[]", '{"files": {"net.pt": {"sha": 1}}}'):
        (cache / "lock.json").write_text(content)
        with pytest.raises(InputError, match=r"lock.json cannot be read"):
            obtain.fetch("net")


def test_an_unreachable_host_is_given_up(entry, cache, monkeypatch):
    catalogued(monkeypatch, replace(entry, sources=(("http://127.0.0.1:9/net.pt", "net.pt"),)))
    with pytest.raises(
        InputError, match=r"cannot be fetched \(Failed to establish a new connection[^)]*refused\); run"
    ):
        obtain.fetch("net")
    catalogued(monkeypatch, replace(entry, sources=(("http://:bad/net.pt", "net.pt"),)))
    with pytest.raises(InputError, match="cannot be fetched"):
        obtain.fetch("net")
    assert left(cache) == []
