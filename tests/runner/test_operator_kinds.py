"""Runs on operators of each kind: refused before compute, counted, named apart, scored like any other."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from vml_bench.errors import InputError
from vml_bench.runner.cell import Cell
from vml_bench.runner.run import run_cell

FEW = ("runner.limit=2", "method.sampler.schedule.levels=3")


def rows(folder):
    return pd.read_parquet(folder / "images.parquet")


@pytest.mark.parametrize(
    ("task", "method", "needs"),
    [("hdr", "ddrm", "spectral"), ("hdr", "diffpir", "linear"), ("sr4_cg", "tmpd", "spectral")],
)
def test_a_method_that_needs_more_is_refused_with_those_that_do_not(cell_config, task, method, needs):
    with pytest.raises(
        InputError, match=rf"{method} needs a {needs} operator, task {task} .*choose among .*vml_map_pre"
    ):
        Cell(cell_config(f"task={task}", f"method={method}"))


def test_against_an_exact_posterior_the_operator_must_have_a_spectrum(cell_config):
    with pytest.raises(InputError, match="needs the exact posterior"):
        Cell(cell_config("dataset=gmm", "task=hdr", "method=vml_map_pre"))


def test_conjugate_gradients_give_the_pictures_of_the_spectrum_and_are_counted(cell_config):
    spectral, linear = (
        run_cell(cell_config(f"task={task}", "method=vml_fixed_point", *FEW)) for task in ("sr4", "sr4_cg")
    )
    assert spectral.name != linear.name
    assert (
        json.loads((spectral / "run.json").read_text())["problem"]
        != json.loads((linear / "run.json").read_text())["problem"]
    )
    assert (rows(spectral).psnr - rows(linear).psnr).abs().max() < 0.01
    assert rows(spectral).applications.isna().all()
    assert (rows(linear).applications > 3).all()


@pytest.mark.parametrize("task", ["phase_retrieval", "jpeg", "mri"])
def test_what_is_not_an_image_is_measured_restored_and_shown(cell_config, task):
    folder = run_cell(cell_config(f"task={task}", "method=vml_map_pre", *FEW))
    table = rows(folder)
    assert table[["psnr", "lpips_alex"]].notna().all(axis=None)
    assert (table.applications > 0).all()
    measured = sorted((folder.parents[4] / "measurements").rglob("*.png"))
    assert len(measured) == 2
    assert all(Image.open(file).size == (64, 64) for file in measured)


def test_grey_images_go_all_the_way(cell_config, tmp_path):
    images = tmp_path / "grey"
    images.mkdir()
    for name in "ab":
        noise = np.random.default_rng(ord(name)).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(np.kron(noise, np.ones((8, 8), np.uint8))).save(images / f"{name}.png")
    named = ("dataset=folder", f"dataset.root={images}", "dataset.name=grey", "dataset.image_shape=[1,64,64]")
    folder = run_cell(cell_config(*named, "task=inpaint_random", "method=tv", "method.sampler.iterations=5"))
    table = rows(folder)
    assert table[["psnr", "ssim", "lpips_alex"]].notna().all(axis=None)
    saved = torch.from_numpy(np.asarray(Image.open(folder / "recon" / "a.png")))
    assert (saved == saved[..., :1]).all()
    with pytest.raises(InputError, match=r"knows images of shape \(3, 64, 64\)"):
        Cell(cell_config(*named, "task=sr4", "method=ddrm"))
