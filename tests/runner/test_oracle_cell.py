"""The runner on data sets drawn from a closed-form prior: scenes, raw scores, resumption."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.runner.cell import Cell
from vml_bench.runner.run import Runner, run_cell

SMALL = ("dataset=gmm_vector", "dataset.scenes=2", "dataset.repeats=3", "task=random_projection")
FEW = "method.sampler.schedule.levels=5"
IMAGE_TASKS = (
    "denoise",
    *("inpaint_half", "inpaint_box", "inpaint_random", "inpaint_random50", "inpaint_random_dps"),
    *("sr4", "sr4_bicubic", "colorize"),
    *("deblur_uniform", "deblur_gauss", "deblur_gauss_ddrm", "deblur_aniso", "deblur_motion"),
)
TIMED = ("seconds", "memory_mb")


def rows(folder):
    return pd.read_parquet(folder / "images.parquet").set_index("image_id")


def scenes(folder):
    return pd.read_parquet(folder / "oracle.parquet").set_index("scene")


def restored(folder):
    with np.load(folder / "features.npz") as stored:
        return dict(zip(stored["ids"].tolist(), torch.from_numpy(stored["restored"]), strict=True))


@pytest.mark.parametrize("task", ["random_projection", "inpaint_random"])
def test_repeats_share_image_measurement_and_mask_but_not_the_methods_noise(cell_config, task):
    cell = Cell(cell_config(*SMALL, f"task={task}", "method=ddrm", FEW))
    batch = cell.batch(list(cell.ids))
    assert batch.y.dtype == batch.operator.singular_values.dtype == torch.float64
    for first, second in ((0, 2), (3, 5)):
        assert batch.clean[first].equal(batch.clean[second])
        assert torch.allclose(batch.y[first], batch.y[second], rtol=0, atol=1e-12)
    assert not torch.allclose(batch.y[0], batch.y[3], atol=1e-3)
    answers = restored(Runner(cell).run())
    assert not answers["p000-r00"].equal(answers["p000-r02"])


def test_scores_are_of_the_raw_restoration_and_no_picture_is_kept(cell_config, tmp_path):
    cell = Cell(cell_config(*SMALL, "method=ddrm", FEW))
    folder = Runner(cell).run()
    batch = cell.batch(list(cell.ids))
    noise = ImageNoise(cell.seed, batch.ids, "method")
    answers = cell.method.restore(batch.y, batch.operator, cell.noise_std, Denoiser(cell.metrics.prior), noise)
    assert answers.abs().max() > 1, "nothing here would have been clipped"
    posterior = cell.metrics.prior.posterior(batch.y, batch.operator, cell.noise_std)
    table = rows(folder)
    kept = torch.stack([restored(folder)[image_id] for image_id in cell.ids])
    assert torch.allclose(kept, answers.flatten(1), atol=1e-9)
    assert np.allclose(table.map_gap, posterior.map_gap(answers), rtol=1e-6)
    assert np.allclose(table.map_distance, (answers - posterior.map()).flatten(1).norm(dim=1), rtol=1e-6)
    residual = (batch.y - batch.operator.forward(answers)).norm(dim=1)
    assert np.allclose(table.residual_ratio, residual / (cell.noise_std * 12**0.5), rtol=1e-6)
    assert table.scene.tolist() == ["p000"] * 3 + ["p001"] * 3
    assert "psnr" not in table
    assert not list(tmp_path.rglob("*.png"))
    mean = kept[:3].mean(dim=0)
    assert scenes(folder).mean_error["p000"] == pytest.approx(float((mean - posterior.mean[0].flatten()).norm()))
    assert scenes(folder).repeats.tolist() == [3, 3]


def test_without_noise_there_is_no_expected_residual(cell_config):
    table = rows(run_cell(cell_config(*SMALL, "method=pinv", "task.noise_std=0")))
    assert table.residual_ratio.isna().all()
    assert (table.residual < 1e-12).all()
    assert np.isfinite(table.map_gap).all()


def test_a_stopped_run_continues_and_ends_with_the_same_bytes(cell_config, tmp_path, monkeypatch):
    cell = (*SMALL, "method=ddrm", "runner.batch_size=2", FEW)
    whole = run_cell(cell_config(*cell, f"runner.results_dir={tmp_path}/whole"))
    config = cell_config(*cell, f"runner.results_dir={tmp_path}/stopped")
    stopped, restore, calls = Cell(config), Runner.restore, []

    def stop_at_the_third(self, batch):
        calls.append(batch.ids)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return restore(self, batch)

    monkeypatch.setattr(Runner, "restore", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        Runner(stopped).run()
    monkeypatch.undo()
    assert len(rows(stopped.folder)) == 4
    assert not (stopped.folder / "oracle.parquet").exists()
    run_cell(config)
    for name in ("oracle.parquet", "features.npz"):
        assert (stopped.folder / name).read_bytes() == (whole / name).read_bytes()
    assert rows(stopped.folder).drop(columns=list(TIMED)).equals(rows(whole).drop(columns=list(TIMED)))


def test_scenes_grow_with_the_run_and_a_finished_one_is_not_scored_again(cell_config, tmp_path, monkeypatch):
    cell = (*SMALL, "method=ddrm", FEW)
    folder = run_cell(cell_config(*cell, "runner.limit=4"))
    assert scenes(folder).repeats.to_dict() == {"p000": 3, "p001": 1}
    assert run_cell(cell_config(*cell)) == folder
    whole = run_cell(cell_config(*cell, f"runner.results_dir={tmp_path}/whole"))
    pd.testing.assert_frame_equal(scenes(folder), scenes(whole), rtol=1e-9)

    def refuse(self, image_id):
        raise AssertionError("scored again")

    monkeypatch.setattr(Cell, "posterior", refuse)
    run_cell(cell_config(*cell))


def test_only_what_is_not_finite_has_diverged_and_it_stays_a_row(cell_config, monkeypatch):
    cell = Cell(cell_config(*SMALL, "method=pinv"))
    restore = type(cell.method).restore

    def spoil(self, *arguments):
        answer = restore(self, *arguments)
        answer[0], answer[1] = float("nan"), 1e4
        return answer

    monkeypatch.setattr(type(cell.method), "restore", spoil)
    folder = Runner(cell).run()
    table = rows(folder)
    assert table.status.tolist() == ["diverged", *["ok"] * 5]
    assert table.map_gap.isna().tolist() == [True, *[False] * 5]
    assert table.map_gap.iloc[1] > 1e6
    assert scenes(folder).repeats.to_dict() == {"p000": 2, "p001": 3}


def test_a_run_of_which_every_image_diverged_has_no_scenes(cell_config, monkeypatch):
    cell = Cell(cell_config(*SMALL, "method=pinv"))
    monkeypatch.setattr(type(cell.method), "restore", lambda self, y, operator, *_: operator.pinv(y) * float("nan"))
    folder = Runner(cell).run()
    assert (rows(folder).status == "diverged").all()
    assert not (folder / "oracle.parquet").exists()


def test_a_trajectory_ends_at_the_answer(cell_config):
    cell = ("dataset=gmm_2d", "dataset.scenes=2", "dataset.repeats=2", "task=random_projection")
    cell = (*cell, "task.operator.measurements=1", FEW)
    folder = run_cell(cell_config(*cell, "method=vml_fixed_point", "method.sampler.inner_steps=2"))
    with np.load(folder / "features.npz") as stored:
        sigma, asked, denoised = stored["sigma"], stored["asked"], stored["denoised"]
        assert np.array_equal(denoised[:, -2:], stored["restored"])
    assert sigma.shape == (4, rows(folder).nfe.iloc[0])
    assert asked.shape == denoised.shape == (4, 2 * sigma.shape[1])
    assert (np.diff(sigma[0]) <= 0).all()
    with np.load(folder / "posterior.npz") as stored:
        assert stored["scenes"].tolist() == ["p000", "p001"]
        assert stored["covariances"].shape == (2, 4, 2, 2)
        assert stored["mode"].shape == stored["mean"].shape == (2, 2)
    folder = run_cell(cell_config(*cell[:-1], "method=pinv"))
    with np.load(folder / "features.npz") as stored:
        assert stored["denoised"].shape == (4, 0)


@pytest.mark.parametrize("task", IMAGE_TASKS)
def test_every_task_works_on_tiny_images_with_and_without_noise(cell_config, task):
    for noise_std in (0, 0.3):
        cell = ("dataset=gmm", "dataset.scenes=1", "dataset.repeats=2", f"task={task}", f"task.noise_std={noise_std}")
        table = rows(run_cell(cell_config(*cell, "method=ddrm", "method.sampler.schedule.levels=3")))
        assert (table.status == "ok").all()
        assert np.isfinite(table.map_gap).all()
        assert (table.map_gap > -1e-6).all()


def test_a_device_without_double_precision_is_refused(cell_config, monkeypatch):
    monkeypatch.setattr("vml_bench.runner.cell.choose_device", lambda name: torch.device("mps"))
    with pytest.raises(InputError, match=r"float64, which mps cannot do; set runner\.device=cpu"):
        Cell(cell_config(*SMALL, "method=pinv"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("dataset=gmm_vector", "task=sr4"), r"factor=4; choose task\.operator\.factor"),
        (("dataset=gmm_2d", "task=random_projection"), "give task.operator.measurements from 1 to 2"),
        (("dataset=photos64", "metrics=oracle", "task=sr4"), "choose dataset=gmm"),
        (("dataset=gmm", "prior=photos64", "task=sr4"), "choose prior=gmm"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(cell_config, overrides, says):
    with pytest.raises(InputError, match=says):
        Cell(cell_config(*overrides, "method=pinv"))
