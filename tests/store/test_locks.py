import errno
import multiprocessing
import os
import signal

import pytest

from vml_bench.store import locks as module
from vml_bench.store.locks import ImageLocks

ORDER = ("a", "b", "c", "d")


def hold(file, wanted, size, pipe):
    """In a process of its own: claim, say what was claimed, and keep it until told to give it up."""
    locks = ImageLocks(file, ORDER)
    pipe.send(locks.take(wanted, size))
    while (released := pipe.recv()) is not None:
        locks.release(released)
        pipe.send("released")


@pytest.fixture
def holder(tmp_path):
    """Starts a process that claims; returns its pipe, what it got and the process."""
    context = multiprocessing.get_context("spawn")
    started = []

    def start(wanted, size):
        ours, theirs = context.Pipe()
        process = context.Process(target=hold, args=(tmp_path / "locks", wanted, size, theirs))
        process.start()
        started.append(process)
        return ours, ours.recv(), process

    yield start
    for process in started:
        process.kill()
        process.join()


def test_what_one_process_claims_another_does_not_get(tmp_path, holder):
    pipe, got, _ = holder(ORDER, 2)
    assert got == ["a", "b"]
    locks = ImageLocks(tmp_path / "locks", ORDER)
    assert locks.take(ORDER, 1) == ["c"]
    assert locks.take(ORDER, 4) == ["c", "d"]
    pipe.send(["a"])
    assert pipe.recv() == "released"
    assert locks.take(ORDER, 4) == ["a", "c", "d"]
    locks.close()


def test_claims_end_with_their_process_however_it_ends(tmp_path, holder):
    _, got, process = holder(ORDER, 4)
    assert got == list(ORDER)
    locks = ImageLocks(tmp_path / "locks", ORDER)
    assert locks.take(ORDER, 4) == []
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert locks.take(ORDER, 4) == list(ORDER)
    locks.close()


def test_where_nothing_can_be_locked_all_is_granted_and_it_is_said_once(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module.fcntl, "lockf", refuse)
    locks = ImageLocks(tmp_path / "locks", ORDER)
    assert locks.take(ORDER, 4) == list(ORDER)
    locks.release(ORDER)
    said = capsys.readouterr().err
    assert said.count("No locks available") == 1
    assert "runner.shard" in said
    locks.close()


def test_the_file_of_claims_stays_empty(tmp_path):
    locks = ImageLocks(tmp_path / "runs" / "locks", ORDER)
    locks.take(ORDER, 3)
    assert (tmp_path / "runs" / "locks").stat().st_size == 0
    locks.close()
