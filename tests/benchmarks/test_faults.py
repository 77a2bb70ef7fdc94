"""Every fault, a few times each; `python -m benchmarks.faults` does it often."""

import sys

import numpy as np
import pytest

from benchmarks.faults import kills
from benchmarks.faults.room import Unavailable
from benchmarks.faults.suite import EVERY_CHANGE, FAULTS, run
from vml_bench.store import store as store_module
from vml_bench.store.store import Store

linux = pytest.mark.skipif(sys.platform != "linux", reason="faults are injected through /proc, tmpfs and fork servers")


def harmless(fault, folder, times):
    try:
        outcome = run(fault, folder / "fault", 0, times)
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert outcome.harmless, outcome
    return outcome


@linux
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_later_start_heals_it(fault, tmp_path):
    assert harmless(fault, tmp_path, fault.quick).injected >= fault.quick


@linux
@pytest.mark.slow
def test_a_kill_before_any_change_on_disk_is_healed(tmp_path):
    assert harmless(EVERY_CHANGE, tmp_path, EVERY_CHANGE.quick).injected == kills.changes(tmp_path / "counted")


def test_a_part_that_arrives_during_a_merge_is_not_removed_by_it(tmp_path, monkeypatch):
    ours, theirs = (Store(tmp_path, ("a", "b"), ["alex"]) for _ in "ab")

    def commit(store, image_id):
        store.commit([{"image_id": image_id, "status": "ok"}], {"alex": {image_id: np.ones(2)}})

    def read_while_another_commits(folder):
        rows = read_rows(folder)
        commit(theirs, "b")
        return rows

    commit(ours, "a")
    read_rows = store_module.read_rows
    monkeypatch.setattr(store_module, "read_rows", read_while_another_commits)
    ours.merge()
    monkeypatch.undo()
    assert [row["image_id"] for row in ours.rows()] == ["a", "b"]
    assert ours.features("alex").keys() == {"a", "b"}
