"""The commands that measure cheaper passes: `make bench-gpu`, tried on the CPU, and what `make bench-cpu` counts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from benchmarks.performance import gpu
from benchmarks.performance.cpu import about_int8, fastest_equal
from benchmarks.performance.floor import worth
from benchmarks.performance.paired import Interval, Timings
from benchmarks.performance.record import RESULTS, Table
from vml_bench.errors import InputError
from vml_bench.runner.compute import Compute


def test_what_goes_between_devices_is_counted_and_nothing_else():
    x = torch.ones(2, 3)
    with gpu.Traffic() as traffic:
        there = x.to("meta")
        there.copy_(x)
        (x * 2).to(torch.float64)
        x.clone().copy_(x)
        assert float(x.sum()) == 6
    assert (traffic.up, traffic.down, traffic.waits) == (2 * 24, 0, 0)


def test_hours_are_those_of_the_fastest_batch_of_each_way():
    def row(way, batch, forward, product):
        rates = {"forward, images/s": forward, "with product, images/s": product}
        return {"network": "ffhq256", "computed": way, "batch": batch, **rates}

    rows = [row("float32", 1, 1.0, 0.5), row("float32", 8, 2.0, 1.0), row("bfloat16", 8, 20.0, 10.0)]
    rows.append(row("float32", 32, 4.0, math.nan))  # the product does not fit
    found = gpu.hours({"reproduce_ffhq": gpu.Counted(4, 3600.0, 7200.0)}, rows)
    assert [(one["network computed"], one["batch"]) for one in found] == [("float32", "8"), ("bfloat16", "8")]
    assert [one["hours"] for one in found] == pytest.approx([0.5 + 2.0, 0.25])


def test_a_part_that_takes_too_long_is_ended_and_named():
    child = gpu.Child("photos64", torch.device("cpu"), quick=True)
    rows, problem = child.rows(0.05)
    assert rows == []
    assert problem.startswith("photos64 was ended after ")
    assert child.process.returncode != 0


def test_without_a_gpu_only_a_try_is_made_and_never_where_results_are_committed(tmp_path):
    for words in ([], ["--out", str(tmp_path)], ["--quick", "--out", str(RESULTS)]):
        with pytest.raises(InputError, match=r"cpu is no GPU .*--quick --out FOLDER"):
            gpu.main(["--device", "cpu", *words])


def test_the_gpus_command_runs_whole_on_a_cpu(tmp_path):
    gpu.main(["--device", "cpu", "--quick", "--threads", "1", "--seconds", "3000", "--out", str(tmp_path)])
    page = (tmp_path / "gpu_tried.md").read_text()
    assert "No GPU: this says that the command works, and nothing of any GPU." in page
    assert "Did not fit: nothing." in page
    hours, passes, cells = json.loads((tmp_path / "gpu_tried.json").read_text())["tables"]
    assert {(row["experiment"], row["network computed"]) for row in hours["rows"]} == {
        ("demo", "bfloat16"),
        ("demo", "float32"),
    }
    assert {(row["network"], row["batch"]) for row in passes["rows"]} == {("photos64", "2")}
    assert all(row["forward, images/s"] > 0 and row["with product, images/s"] > 0 for row in passes["rows"])
    assert [row["method"] for row in cells["rows"]] == ["ddrm"]
    assert all(row["KB to device, per pass and image"] == 0 for row in cells["rows"])


def test_compiling_pays_after_as_many_passes_as_save_its_time():
    ways = {"eager": Compute(), "compiled": Compute(compile=True)}
    forward = Timings({"eager": np.array([1.0, 1.0]), "compiled": np.array([0.75, 0.75])})
    product = Timings({"eager": np.array([2.0, 2.0]), "compiled": np.array([2.5, 2.5])})
    row = worth("compiled", ways, 10.0, forward, product)
    assert row["forward: pays after batches"] == 40
    assert row["with product: pays after batches"] == "never"


def test_a_way_that_changes_the_scores_is_not_called_the_fastest():
    costs, scored = [], []
    for network, forward, product, within in (("float32", 1, 1, "yes"), ("a", 0.8, 1.1, "yes"), ("b", 0.5, 0.5, "no")):
        ratios = {"forward / float32": Interval.of([forward]), "with product / float32": Interval.of([product])}
        costs.append({"network": network, "batch": "16", **ratios})
        scored += [{"network": network, "within 0.01 dB": "yes"}, {"network": network, "within 0.01 dB": within}]
    said = fastest_equal(Table("", [], costs), Table("", [], scored), 16)
    assert "forward a (0.80 of float32), with product float32 (1.00 of float32)" in said


def test_int8_is_refused_for_a_reason_that_torch_gives():
    assert "not for convolutions" in about_int8()
