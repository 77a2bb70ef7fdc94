"""What the benchmarks rest on: rounds, intervals, passes counted, methods shortened, results written and compared."""

from __future__ import annotations

import argparse
import math
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.performance.before_after import compared
from benchmarks.performance.cells import bare_passes, configured, families, method_configs, shortened
from benchmarks.performance.paired import Interval, Timings, Work, interleave
from benchmarks.performance.quality import best, front, with_seconds
from benchmarks.performance.record import Benchmark, Table, write
from vml_bench.priors.unet import load_edm_prior

CPU = torch.device("cpu")


def test_rounds_alternate_and_prepare_anew():
    said, prepared = [], iter(range(100))
    works = {name: Work(lambda i, name=name: said.append((name, i)), lambda: (next(prepared),)) for name in "ab"}
    timings = interleave(works, CPU, least=4, most=4)
    order = "".join(name for name, _ in said)
    assert order == "ab" + "ab" + "ba" + "ba" + "ab"
    assert [i for _, i in said] == list(range(10))
    assert {name: len(values) for name, values in timings.seconds.items()} == {"a": 4, "b": 4}


def test_ratio_pairs_rounds():
    timings = Timings({"slow": np.array([2.0, 20.0, 4.0]), "fast": np.array([1.0, 10.0, 2.0])})
    assert timings.ratio("slow", "fast") == Interval(2.0, 2.0, 2.0)


def test_interval_is_around_the_median_and_open_for_one_round():
    interval = Interval.of(np.arange(21.0), scale=2)
    assert interval.low < interval.median == 20 < interval.high
    single = Interval.of([3.0])
    assert single.median == 3
    assert math.isnan(single.low)
    assert math.isnan(single.high)


@pytest.mark.parametrize(("nfe", "vjp"), [(3, 0), (3, 3), (5, 2), (2, 5)])
def test_bare_passes_are_as_many_as_asked_for(nfe, vjp):
    counted = {"evaluations": 0, "products": 0}

    def product(grad: Tensor) -> None:
        counted["products"] += 1

    def prior(x: Tensor, sigma: float) -> Tensor:
        counted["evaluations"] += 1
        denoised = 2 * x
        if denoised.requires_grad:
            denoised.register_hook(product)
        return denoised

    bare_passes(prior, torch.ones(1, 3, 4, 4), nullcontext, nfe, vjp)()
    assert counted == {"evaluations": nfe, "products": vjp}


def test_every_method_has_one_family():
    assert sorted(name for names in families().values() for name in names) == sorted(method_configs())
    assert families()["vml_map_pre"][0] == "vml_map_pre"


@pytest.mark.parametrize(
    ("method", "passes", "nfe", "vjp"), [("ddrm", 3, 3, 0), ("diffpir", 1, 2, 0), ("dps", 2, 2, 2)]
)
def test_methods_are_cut_to_the_fewest_levels(method, passes, nfe, vjp):
    shorter, *counted = shortened(configured(f"method={method}"), load_edm_prior(), passes)
    assert counted == [nfe, vjp]
    assert shorter.method.sampler.schedule.levels == nfe


def test_results_are_written_and_compared(tmp_path):
    for folder, median in (("before", 1.2), ("after", 0.9)):
        row = {"method": "ddrm", "cell / bare": Interval(median, median - 0.1, math.nan), "NFE": 20}
        benchmark = Benchmark("overhead", "Overhead", [Table("photos64", ["method"], [row])], notes=["A note."])
        write(benchmark, CPU, argparse.Namespace(out=tmp_path / folder, quick=False))
    (table,) = compared(tmp_path / "before", tmp_path / "after")
    (row,) = table.rows
    assert row["row"] == "ddrm"
    assert row["before"].median == 1.2
    assert math.isnan(row["after"].high)
    assert row["after / before"] == pytest.approx(0.75)
    readme = Path(tmp_path / "after" / "README.md").read_text()
    assert "\n## Overhead\n\nA note.\n\n### photos64\n\n| method | cell / bare | NFE |" in readme


def test_quality_counts_passes_and_finds_the_front():
    import pandas as pd

    settings = pd.DataFrame(
        {
            "method": ["pinv", "ddrm", "ddrm", "tmpd"],
            "nfe": [0, 10, 20, 10],
            "vjp": [0, 0, 0, 20],
            "lpips_alex": [0.5, 0.3, 0.2, 0.25],
        }
    )
    learned = with_seconds(settings, forward=1.0, with_product=3.0)
    assert learned["seconds"].tolist() == [10, 20, 10 * 3 + 10 * 2]
    assert best(learned, "lpips_alex", 1)["nfe"].tolist() == [20, 10]
    assert front(learned, "lpips_alex", 1)["seconds"].tolist() == [10, 20]
