"""Reservations of GPUs: real processes and real kernel locks; only CUDA's answers are made up."""

import multiprocessing
import os
import signal
import tempfile
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from vml_bench.errors import InputError
from vml_bench.runner.device import choose_device, gpus, use_threads

TWO = ("GPU-aaaa", "GPU-bbbb")


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def cell(visible, connection):
    """A process that sees GPUs of these UUIDs: says twice what "auto" means to it, and runs until it is told to end."""
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: len(visible)
    torch.cuda.get_device_properties = lambda index: SimpleNamespace(uuid=visible[index])
    current = []
    torch.cuda.set_device = current.append
    devices = [choose_device("auto"), choose_device("auto")]
    connection.send([str(device) for device in devices] + current)
    connection.recv()


@contextmanager
def processes():
    """Starts such processes; yields what starts one and returns it with the GPU that it reserved."""
    context, running = multiprocessing.get_context("fork"), []

    def start(visible):
        ours, theirs = context.Pipe()
        process = context.Process(target=cell, args=(visible, theirs), daemon=True)
        process.start()
        running.append((process, ours))
        assert ours.poll(60), "the process reserved nothing"
        first, second, current = ours.recv()
        assert first == second == f"cuda:{current}"  # one reservation per process
        return process, visible[current]

    yield start
    for process, ours in running:
        if process.is_alive():
            ours.send("end")
        process.join()


def test_each_process_reserves_its_own_gpu_and_the_last_shares_the_least_used():
    with processes() as start:
        claimed = [start(TWO)[1] for _ in range(5)]
    assert claimed == [*TWO, *TWO, TWO[0]]


def test_a_shared_gpu_is_reported(capfd):
    with processes() as start:
        start(TWO[:1])
        assert "shared" not in capfd.readouterr().err
        start(TWO[:1])
    assert "every GPU is reserved: GPU 0 is shared with 1 more" in capfd.readouterr().err


def test_processes_with_different_masks_mean_the_same_gpu():
    with processes() as start:
        assert start(TWO[1:])[1] == TWO[1]
        assert start(TWO)[1] == TWO[0]
        assert start((TWO[1], "GPU-cccc"))[1] == "GPU-cccc"


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_a_reservation_ends_with_its_process(kill):
    with processes() as start:
        process, claimed = start(TWO)
        assert start(TWO)[1] == TWO[1]
        os.kill(process.pid, kill)
        process.join()
        assert start(TWO)[1] == claimed


def test_devices_are_chosen_or_refused():
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match=r"runner\.device=abacus"):
        choose_device("abacus")


def test_a_machine_without_enough_gpus_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert gpus() == gpus(0) == 1
    with pytest.raises(InputError, match=r"1 GPUs are visible here, 2 .*hydra/launcher=processes"):
        gpus(2)


def test_threads_are_set_or_left():
    before = torch.get_num_threads()
    try:
        use_threads(2)
        assert torch.get_num_threads() == 2
        use_threads(None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
