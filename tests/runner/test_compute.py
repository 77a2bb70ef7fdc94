import json
import time

import pandas as pd
import pytest
import torch

from vml_bench.errors import InputError
from vml_bench.priors.adm import ADMConfig
from vml_bench.priors.closed_form import random_gaussian
from vml_bench.priors.unet import load_edm_prior
from vml_bench.priors.vp import VPPrior
from vml_bench.runner.cell import Cell
from vml_bench.runner.compute import Compute, ComputedPrior, denoising_change, fastest
from vml_bench.runner.run import Runner, run_cell

CPU = torch.device("cpu")


def computed(**options):
    return ComputedPrior(load_edm_prior(), Compute(**options), CPU)


def test_the_default_is_the_prior_itself():
    prior, plain = computed(), load_edm_prior()
    x = torch.randn(1, *plain.image_shape)
    assert prior.difference == {}
    with torch.no_grad():
        torch.testing.assert_close(prior(x, 0.5), plain(x, 0.5))


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({"dtype": "bfloat16"}, 1e-4, 5e-2),
        ({"channels_last": True}, 0, 1e-4),
        ({"gradient_checkpointing": True}, 0, 1e-5),
    ],
)
def test_what_an_option_changes_is_measured_against_single_precision(options, least, most):
    prior = computed(**options)
    assert prior.difference.keys() == {"0.05", "0.5", "5"}
    for change in prior.difference.values():
        assert max(change.values()) <= most
    assert max(change["vjp"] for change in prior.difference.values()) >= least
    assert prior(torch.randn(1, *prior.image_shape), 0.5).dtype == torch.float32


class Slowed(torch.nn.Module):
    """A prior whose network is fast in one memory layout alone."""

    image_shape = (3, 8, 8)

    def __init__(self, fast):
        super().__init__()
        self.network, self.fast = torch.nn.Conv2d(3, 3, 3, padding=1), fast

    def forward(self, x, sigma):
        if self.network.weight.is_contiguous(memory_format=torch.channels_last) != self.fast:
            time.sleep(0.02)
        return self.network(x)


@pytest.mark.parametrize("fast", [True, False])
def test_the_fastest_way_is_chosen_among_those_left_open(fast):
    way = fastest(Slowed(fast), {"dtype": "float32", "channels_last": "auto", "tf32": False}, CPU)
    assert way == {"dtype": "float32", "channels_last": fast, "tf32": False}


OPEN = {"dtype": "auto", "channels_last": False}


class Rounded(torch.nn.Module):
    """A prior that is slow in float32, and off by a share of D under autocast."""

    image_shape, sigma_min, sigma_max = (3, 8, 8), 0.002, 80.0

    def __init__(self, off):
        super().__init__()
        self.network, self.off = torch.nn.Identity(), off

    def forward(self, x, sigma):
        cast = torch.is_autocast_enabled("cpu")
        time.sleep(0 if cast else 0.02)
        return x / (1 + sigma**2) * (1 + self.off * cast)


@pytest.mark.parametrize(("off", "dtype"), [(1e-4, "bfloat16"), (0.3, "float32")])
def test_a_faster_way_is_taken_if_it_denoises_as_well(off, dtype):
    way = fastest(Rounded(off), OPEN, CPU)
    assert way == {"dtype": dtype, "channels_last": False}


class Timed(torch.nn.Module):
    """A prior whose passes under autocast take given seconds, one after the other; float32 takes 0.02."""

    image_shape, sigma_min, sigma_max = (3, 8, 8), 0.002, 80.0

    def __init__(self, seconds):
        super().__init__()
        self.network, self.seconds, self.images = torch.nn.Identity(), iter(seconds), []

    def forward(self, x, sigma):
        if torch.is_autocast_enabled("cpu"):
            self.images.append(len(x))
            time.sleep(next(self.seconds, 0))
        else:
            time.sleep(0.02)
        return x / (1 + sigma**2)


def test_a_way_far_too_slow_is_given_up_after_a_single_image():
    prior = Timed([1.1])
    assert fastest(prior, OPEN, CPU)["dtype"] == "float32"
    assert prior.images == [1]


def test_a_first_pass_that_takes_its_time_does_not_count():
    assert fastest(Timed([0.2]), OPEN, CPU)["dtype"] == "bfloat16"


def test_how_well_a_network_denoises_in_bfloat16_is_measured_in_decibels():
    prior = load_edm_prior().requires_grad_(False).eval()
    change = denoising_change(prior, Compute(), Compute(dtype="bfloat16"), CPU)
    assert 1e-4 < change < 0.02
    assert denoising_change(prior, Compute(), Compute(channels_last=True), CPU) == 0.0  # the layout is the caller's


def test_a_run_is_named_by_the_way_that_was_chosen_for_it(cell_config, monkeypatch):
    monkeypatch.setattr("vml_bench.runner.cell.fastest", lambda prior, values, device: values | {"channels_last": True})
    asked = Cell(cell_config("task=sr4", "method=ddrm", "compute.channels_last=auto"))
    assert asked.name == Cell(cell_config("task=sr4", "method=ddrm", "compute.channels_last=true")).name
    assert asked.config.compute.channels_last is True
    plain = Cell(cell_config("task=sr4", "method=pinv", "compute.channels_last=auto"))
    assert plain.config.compute.channels_last is False


def test_checkpointing_computes_the_network_again_in_the_backward_pass():
    prior = load_edm_prior()
    passes = []
    prior.network.mid_block.resnets[0].register_forward_pre_hook(lambda *_: passes.append(1))
    prior.network.down_blocks[0].resnets[0].register_forward_pre_hook(lambda *_: passes.append(1))
    ComputedPrior(prior, Compute(gradient_checkpointing=True), CPU)
    assert len(passes) > 2 * 2 * 3


@pytest.mark.parametrize("options", [{}, {"dtype": "bfloat16"}])
def test_the_learned_variance_is_computed_alike(options):
    network = ADMConfig(16, 32, (1, 2), 1, (8,), head_width=16, groups=8).network()
    plain = VPPrior(network, (3, 16, 16)).requires_grad_(False).eval()
    prior, x = ComputedPrior(plain, Compute(**options), CPU), torch.randn(1, 3, 16, 16)
    assert prior.learned_variance
    with torch.no_grad():
        denoised, variance = prior.with_variance(x, 0.5)
        assert denoised.equal(prior(x, 0.5))
        assert variance.dtype == torch.float32
        torch.testing.assert_close(variance, plain.with_variance(x, 0.5)[1], rtol=0, atol=0.05 if options else 0)
    assert not computed().learned_variance


def test_unknown_options_and_priors_without_a_network_are_refused():
    with pytest.raises(InputError, match=r"dtype=.float8. does not fit"):
        Compute(dtype="float8")
    prior = random_gaussian(image_shape=(1, 1, 4), seed=0)
    ComputedPrior(prior, Compute(), CPU)
    with pytest.raises(InputError, match=r"compute.channels_last is set, but this prior has no network"):
        ComputedPrior(prior, Compute(channels_last=True), CPU)


def test_options_name_the_run_and_stand_in_its_record(cell_config):
    cell = ("task=sr4", "method=ddrm", "runner.limit=1", "method.sampler.schedule.levels=2")
    exact, half = (run_cell(cell_config(*cell, *more)) for more in ((), ("compute.dtype=bfloat16",)))
    assert exact.name != half.name
    record = json.loads((half / "run.json").read_text())["compute"]
    assert record["dtype"] == "bfloat16"
    assert record["difference"]["0.5"]["denoised"] > 0


def test_out_of_memory_halves_the_batch_and_the_run_goes_on(cell_config, tmp_path, monkeypatch):
    cell = ("task=inpaint_random", "method=ddrm", "runner.limit=5", "method.sampler.schedule.levels=2")
    whole = run_cell(cell_config(*cell, f"runner.results_dir={tmp_path}/whole"))
    config = cell_config(*cell, f"runner.results_dir={tmp_path}/short")
    call, sizes = ComputedPrior.__call__, []

    def short_of_memory(self, x, sigma):
        if len(x) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(x))
        return call(self, x, sigma)

    monkeypatch.setattr(ComputedPrior, "__call__", short_of_memory)
    folder = run_cell(config)
    assert sizes == [2, 2, 2, 2, 1, 1]
    assert json.loads((folder / "run.json").read_text())["batch_size_after_out_of_memory"] == 2
    short, long = (pd.read_parquet(run / "images.parquet").set_index("image_id") for run in (folder, whole))
    assert list(short.index) == list(long.index)
    assert (short.psnr - long.psnr).abs().max() < 0.01


def test_an_image_that_does_not_fit_is_an_error_with_its_remedy(cell_config, monkeypatch):
    cell = Cell(cell_config("task=sr4", "method=ddrm", "runner.limit=2", "method.sampler.schedule.levels=2"))

    def no_memory(self, x, sigma):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ComputedPrior, "__call__", no_memory)
    with pytest.raises(InputError, match="gradient_checkpointing=true"):
        Runner(cell).run()
