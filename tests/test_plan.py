import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vml_bench.analysis.published import read_published
from vml_bench.errors import InputError
from vml_bench.operators import Denoise
from vml_bench.plan import (
    Pass,
    Planned,
    calibrate,
    claims_of,
    format_claims,
    format_devices,
    format_plan,
    on_devices,
    plan,
    spread,
)
from vml_bench.priors.networks import published_names
from vml_bench.priors.synthetic import checkpoint_format
from vml_bench.priors.unet import load_edm_prior
from vml_bench.priors.vp import VPPrior
from vml_bench.runner.compute import Compute, ComputedPrior
from vml_bench.runner.cost import count, images_of, stated_prior
from vml_bench.runner.device import choose_device
from vml_bench.runner.resources import build
from vml_bench.runner.run import run_cell


@pytest.mark.parametrize("method", ["pinv", "ddrm", "dps", "vml_map_pre", "vml_fixed_point"])
def test_evaluations_are_those_of_a_run(cell_config, method):
    few = () if method == "pinv" else ("method.sampler.schedule.levels=3",)
    config = cell_config("task=inpaint_random", f"method={method}", "runner.limit=1", *few)
    images = pd.read_parquet(run_cell(config) / "images.parquet")
    assert count(config, build(config.prior.model, "prior")) == (images.nfe[0], images.vjp[0])


class Learned:
    """What a plan knows of a network of 256×256 that learned the variance."""

    sigma_min, sigma_max, image_shape, learned_variance = 0.01, 157.0, (3, 256, 256), True


class NeedsRoom(Denoise):
    def __init__(self, image_shape, dtype=torch.float32):
        if image_shape[1] < 100:
            raise InputError("the images are too small", "take larger ones")
        super().__init__(image_shape, dtype)


def test_a_method_that_needs_a_learned_variance_is_counted_without_its_network(cell_config):
    few = "method.sampler.schedule.levels=3"
    config = cell_config("dataset=ffhq256", "task=deblur_gauss", "method=published/dps", few)
    assert count(config, Learned()) == (3, 3)


def test_evaluations_are_those_of_full_size_where_an_operator_cannot_have_less(cell_config):
    config = cell_config("task=denoise", "method=ddrm", "method.sampler.schedule.levels=3")
    expected = count(config, Learned())
    config.task.operator = {"_target_": "tests.test_plan.NeedsRoom", "_partial_": True}
    assert count(config, Learned()) == expected == (3, 0)


def test_a_plan_multiplies_one_calibration_and_computes_no_cell(cell_config, tmp_path, monkeypatch):
    calibrations = []

    def counted(prior, batch_size, device):
        calibrations.append(prior)
        return calibrate(prior, batch_size, device)

    monkeypatch.setattr("vml_bench.plan.cells.calibrate", counted)
    cells = [cell_config("task=sr4", "method=published/ddrm", "runner.limit=5", f"seed={seed}") for seed in (0, 1)]
    made = plan(cells, measure=True)
    assert len(calibrations) <= 1
    for cell in made.cells:
        assert cell.hours == pytest.approx(5 * 20 * cell.cost.forward / 3600)
    assert made.missing == []
    assert "2 cells · 10 restorations · 200 network evaluations, 0 of them with" in format_plan(made)
    assert "on 1 / 8 / 64 devices like this one: " in format_plan(made)
    assert "(measured here)" in format_plan(made)
    assert not list(tmp_path.iterdir())


def test_an_estimate_builds_no_network_and_says_what_a_measurement_adds(cell_config, monkeypatch):
    def refuse(*_):
        raise AssertionError("a network was built")

    monkeypatch.setattr("vml_bench.plan.cells.prior_or_stand_in", refuse)
    config = cell_config("task=sr4", "method=dps", "method.sampler.schedule.levels=5", "runner.limit=4")
    config.runner.device = "cpu"
    made = plan([config])
    (cell,) = made.cells
    assert (cell.nfe, cell.vjp) == (5, 5)
    assert cell.cost.with_vjp == 2 * cell.cost.forward > 0
    assert cell.hours * 3600 == pytest.approx(4 * 5 * cell.cost.with_vjp)
    assert f"estimated: {config.prior.cost.gflop} GFLOP a pass" in format_plan(made)
    assert "--measure times one here" in format_plan(made)


NETWORKS = [
    "photos64",
    "ffhq256",
    *(pytest.param(n, marks=pytest.mark.slow) for n in published_names() if n != "ffhq256"),
]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_configuration_states_of_its_network_holds(cell_config, name):
    stated, _ = stated_prior(cell_config(f"prior={name}"))
    if name == "photos64":
        prior = load_edm_prior().to("meta")
    else:
        network = checkpoint_format(name).network
        prior = VPPrior(network, (3, network.config.sample_size, network.config.sample_size))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        prior(torch.zeros(1, *prior.image_shape, device="meta"), 1.0)
    assert stated.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=1e-3)
    assert stated.image_shape == prior.image_shape
    assert stated.learned_variance == getattr(prior, "learned_variance", False)
    assert (stated.sigma_min, stated.sigma_max) == pytest.approx((prior.sigma_min, prior.sigma_max), rel=1e-3)


def test_a_plan_of_a_cell_about_which_nothing_is_published_loads_no_tables():
    program = (
        "import sys; from vml_bench.cli import main\n"
        "main(['plan', 'task=sr4', 'method=ddrm', 'runner.device=cpu'])\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, env=environment, capture_output=True, encoding="utf-8"
    )
    *said, loaded = answer.stdout.splitlines()
    assert "1 cell · 68 restorations · 3,400 network evaluations" in "\n".join(said)
    assert "torch" in loaded.split()
    assert not {"pandas", "scipy", "matplotlib", "diffusers", "torchvision"} & {*loaded.split()}


def test_missing_images_are_counted_as_asked_for_or_refused(cell_config, tmp_path):
    gone = ("dataset=ffhq256", f"dataset.root={tmp_path / 'none'}", "task=sr4", "method=pinv")
    assert images_of(cell_config(*gone)) == (100, True)
    assert images_of(cell_config(*gone, "runner.limit=7")) == (7, True)
    with pytest.raises(InputError, match=r"cannot be counted; .*set runner.limit"):
        images_of(cell_config(*gone, "dataset.first=null"))


def test_shards_divide_a_cells_images(cell_config, tmp_path):
    here = ("task=sr4", "method=pinv", "runner.limit=7")
    gone = (*here, "dataset=ffhq256", f"dataset.root={tmp_path / 'none'}")
    for cell, absent in ((here, False), (gone, True)):
        shards = [images_of(cell_config(*cell, f"runner.shard={i}/3")) for i in (1, 2, 3)]
        assert shards == [(3, absent), (2, absent), (2, absent)]


def test_jobs_are_spread_over_devices():
    assert spread([1, 2, 3, 4], 1) == 10
    assert spread([1, 2, 3, 4], 2) == 5
    assert spread([4, 1, 1], 2) == 4
    assert spread([4, 1, 1], 64) == 4


def test_the_longest_cell_bounds_a_sweep_until_it_is_divided():
    hours = [4.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    times = on_devices(hours)
    assert [time.devices for time in times] == [1, 8, 64]
    assert [time.hours for time in times] == [8, 4, 4]
    assert [time.shards for time in times] == [1, 4, 32]  # 4 h / n no longer than 8 h / devices
    assert [time.sharded_hours for time in times] == [8, 1, 0.125]
    assert format_devices(hours) == (
        "on 1 / 8 / 64 devices like this one: 8:00:00 / 4:00:00 / 4:00:00, where the longest cell alone takes 4:00:00; "
        "with cells in shards (runner.shard=i/n) 1:00:00 on 8 (n=4), 7:30 on 64 (n=32)"
    )
    assert [(time.shards, time.hours) for time in on_devices([0.0] * 6)] == [(1, 0)] * 3


def test_missing_weights_that_the_user_named_are_an_error(cell_config):
    with pytest.raises(InputError, match=r"/none\.safetensors does not exist"):
        plan([cell_config("task=sr4", "method=ddrm", "prior.checkpoint=/none.safetensors")])


def test_a_method_that_asks_no_prior_needs_none_and_costs_no_network_time(cell_config):
    made = plan([cell_config("task=sr4", "method=pinv", "prior.checkpoint=/none.safetensors", "runner.limit=2")])
    (cell,) = made.cells
    assert (cell.nfe, cell.hours, cell.images) == (0, 0.0, 2)
    assert "0 network evaluations" in format_plan(made)


def test_the_calibration_times_both_passes(cell_config):
    config = cell_config("task=sr4", "method=published/ddrm")
    prior = build(config.prior.model, "prior")
    device = choose_device("cpu")
    cost = calibrate(ComputedPrior(prior, Compute(), device), 1, device)
    assert cost.forward > 0
    assert cost.with_vjp > 0


def test_disk_of_a_data_set_without_pictures_is_what_a_run_leaves(cell_config):
    config = cell_config("dataset=gmm_vector", "task=random_projection", "method=pinv")
    folder = run_cell(config)
    left = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    (cell,) = plan([config]).cells
    assert cell.gigabytes * 1e9 == pytest.approx(left, rel=0.25)


def planned(*cells):
    """Cells from (dataset, task, noise_std, method, images, nfe, hours)."""
    return [Planned(*cell, 0, Pass(3600 * hours / (cell[-1] * cell[-2])), "", 0.0) for *cell, hours in cells]


def test_what_a_published_number_costs_is_the_sum_of_the_cells_that_measure_it():
    cells = planned(
        ("celebahq256", "inpaint_half", 0.0, "vml_map_pre", 100, 100, 1.0),
        ("celebahq256", "inpaint_half", 0.05, "vml_map", 100, 200, 2.0),
        ("celebahq256", "inpaint_half", 0.0, "pinv", 100, 10, 8.0),  # no method of the claim's
        ("celebahq256", "inpaint_box", 0.0, "vml_map", 100, 10, 8.0),  # another task
        ("photos64", "inpaint_half", 0.0, "vml_map", 100, 10, 8.0),  # other images
    )
    (cost,) = claims_of(cells, read_published())
    assert cost.task == "Face inpainting (Half)"
    assert (cost.cells, cost.evaluations, cost.hours) == (cells[:2], 30_000, pytest.approx(3.0))
    text = format_claims([cost])
    assert "2512.10524" in text
    assert " ".join(text.split()).endswith("Face inpainting (Half) LPIPS VML-MAP 1 2 30,000 3:00:00")


def test_a_number_at_a_stated_noise_level_is_measured_by_no_other():
    levels = [planned(("ffhq256_1k", "deblur_gauss", level, "dps_published", 1, 1, 1.0)) for level in (0.05, 0.1)]
    stated, other = (claims_of(cells, read_published()) for cells in levels)
    assert [len(cost.cells) for cost in stated] == [1]
    assert "2209.14687" in stated[0].paper
    assert other == []
    assert format_claims(other) == ""
