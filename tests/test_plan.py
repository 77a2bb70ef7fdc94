import pandas as pd
import pytest

from vml_bench.errors import InputError
from vml_bench.plan import calibrate, count, format_plan, images_of, plan
from vml_bench.runner.cell import run_cell
from vml_bench.runner.compute import Compute, ComputedPrior
from vml_bench.runner.resources import build
from vml_bench.runner.validation import choose_device


@pytest.mark.parametrize("method", ["pinv", "ddrm", "dps", "vml_map_pre", "vml_fixed_point"])
def test_evaluations_are_those_of_a_run(cell_config, method):
    few = () if method == "pinv" else ("method.sampler.schedule.levels=3",)
    config = cell_config("task=inpaint_random", f"method={method}", "runner.limit=1", *few)
    images = pd.read_parquet(run_cell(config) / "images.parquet")
    assert count(config, build(config.prior.model, "prior")) == (images.nfe[0], images.vjp[0])


def test_a_plan_multiplies_one_calibration_and_computes_no_cell(cell_config, tmp_path, monkeypatch):
    calibrations = []

    def counted(prior, batch_size, device):
        calibrations.append(prior)
        return calibrate(prior, batch_size, device)

    monkeypatch.setattr("vml_bench.plan.calibrate", counted)
    cells = [cell_config("task=sr4", "method=ddrm_20", "runner.limit=5", f"seed={seed}") for seed in (0, 1)]
    frame = plan(cells)
    assert len(calibrations) <= 1
    expected = 5 * 20 * frame.forward_seconds / 3600
    assert (frame.hours - expected).abs().max() < 1e-12
    assert frame.attrs["missing"] == []
    assert "2 cells · 10 restorations · 200 network evaluations, 0 of them with" in format_plan(frame)
    assert not list(tmp_path.iterdir())


def test_missing_images_are_counted_as_asked_for_or_refused(cell_config, tmp_path):
    gone = ("dataset=ffhq256", f"dataset.root={tmp_path / 'none'}", "task=sr4", "method=pinv")
    assert images_of(cell_config(*gone)) == (100, True)
    assert images_of(cell_config(*gone, "runner.limit=7")) == (7, True)
    with pytest.raises(InputError, match=r"cannot be counted; .*set runner.limit"):
        images_of(cell_config(*gone, "dataset.first=null"))


def test_missing_weights_that_the_user_named_are_an_error(cell_config):
    config = cell_config("task=sr4", "method=pinv", "prior.checkpoint=/none.safetensors")
    with pytest.raises(InputError, match=r"/none\.safetensors does not exist"):
        plan([config])


def test_the_calibration_times_both_passes(cell_config):
    config = cell_config("task=sr4", "method=ddrm_20")
    prior = build(config.prior.model, "prior")
    device = choose_device("cpu")
    cost = calibrate(ComputedPrior(prior, Compute(), device), 1, device)
    assert cost.forward > 0
    assert cost.with_vjp > 0
