"""The contract holds for every part that the project configures, and says what a part of one's own lacks."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

from baselines.dps import DPS
from tests.baselines.seen import WithVariance
from vml_bench.configuration import config_dir, option
from vml_bench.contract import (
    OPERATORS,
    Denoiser,
    ImageSet,
    Method,
    Metric,
    Noise,
    Prior,
    lacking,
    needs_operator,
    needs_prior,
)
from vml_bench.data import DrawnImages, PhotoCrops
from vml_bench.denoiser import Denoiser as CountingDenoiser
from vml_bench.noise import ImageNoise
from vml_bench.operators import AsLinear, BlockAverage, HighDynamicRange, InpaintRandom
from vml_bench.priors.closed_form import random_mixture
from vml_bench.priors.unet import load_edm_prior
from vml_bench.runner.resources import build_operator
from vml_bench.studies import kinds

ROOT = Path(__file__).parents[1]
METHODS = sorted(
    file.relative_to(config_dir() / "method").with_suffix("").as_posix()
    for file in config_dir().rglob("method/**/*.yaml")
)
TASKS = sorted(file.stem for file in (config_dir() / "task").glob("*.yaml"))
PRIOR = random_mixture((3, 8, 8), components=2, seed=0)


def sampler_of(choice):
    """The sampler of a method; with its settings for a task, where it has some for each."""
    method = option("method", choice)
    task = next(iter(method.get("tasks", ["sr4"])))
    return OmegaConf.to_container(
        OmegaConf.create({"method": method, "task": {"name": task}}).method.sampler, resolve=True
    )


def with_file(operator, folder):
    """The configuration of an operator; where it takes a file of one's own, with one."""
    if operator.get("file", "given") is not None:
        return operator
    np.save(folder / "own.npy", np.ones((5, 5) if operator["_target_"].endswith("Blur") else (64, 64)))
    return {**operator, "file": str(folder / "own.npy")}


@pytest.mark.parametrize("choice", METHODS)
def test_every_method_is_one(choice):
    method = instantiate(sampler_of(choice))
    assert isinstance(method, Method)
    assert lacking(method, Method) == []
    assert list(inspect.signature(method.restore).parameters) == ["y", "operator", "noise_std", "denoiser", "rng"]


def test_every_baseline_has_a_configuration_of_its_own():
    targets = {option("method", choice)["sampler"]["_target_"] for choice in METHODS}
    files = {file.stem for file in (ROOT / "baselines").glob("*.py")} - {"__init__"}
    assert files <= {target.split(".")[1] for target in targets if target.startswith("baselines.")}


@pytest.mark.parametrize("choice", METHODS)
def test_a_method_asks_the_denoiser_exactly_where_it_says_so(choice):
    sampler = sampler_of(choice)
    if "schedule" in sampler:
        sampler["schedule"]["levels"] = 2
    method = instantiate(sampler)
    operator = instantiate(option("task", "sr4")["operator"])(image_shape=(3, 8, 8), dtype=torch.float64)
    denoiser, noise = CountingDenoiser(WithVariance(PRIOR, 0.0)), ImageNoise(0, ["a"], "method")
    y = operator.forward(torch.zeros(1, 3, 8, 8, dtype=torch.float64))
    restored = method.restore(y, operator, 0.1, denoiser, noise)
    assert restored.shape == (1, 3, 8, 8)
    assert (denoiser.nfe > 0) == needs_prior(method) == needs_prior(get_class(sampler["_target_"]))


@pytest.mark.parametrize("choice", METHODS)
def test_a_method_runs_on_the_least_operator_that_it_says_it_needs(choice):
    sampler = sampler_of(choice)
    if "schedule" in sampler:
        sampler["schedule"]["levels"] = 2
    for steps in ("langevin_steps", "iterations", "inner_steps"):
        sampler |= {steps: 2} if steps in sampler else {}
    method = instantiate(sampler)
    shape = (3, 8, 8)
    operator = {
        "spectral": lambda: BlockAverage(shape, factor=4, dtype=torch.float64),
        "linear": lambda: AsLinear(shape, BlockAverage, dtype=torch.float64),
        "differentiable": lambda: HighDynamicRange(shape),
    }[needs_operator(method)]()
    y = operator.forward(torch.zeros(1, *shape, dtype=torch.float64))
    denoiser, noise = CountingDenoiser(WithVariance(PRIOR, 0.0)), ImageNoise(0, ["a"], "method")
    assert method.restore(y, operator, 0.1, denoiser, noise).isfinite().all()


def test_the_table_of_methods_and_kinds_is_what_they_say():
    page = (ROOT / "docs" / "operators.md").read_text()
    assert all(line in page.splitlines() for line in kinds.table())


@pytest.mark.parametrize("choice", METHODS)
def test_dps_alone_looks_at_noise_on_pixels_that_a_mask_hides(choice):
    sampler = sampler_of(choice)
    if "schedule" in sampler:
        sampler["schedule"]["levels"] = 5
    method = instantiate(sampler)
    operator = InpaintRandom((3, 8, 8), dtype=torch.float64, noise_on_unseen=True).for_images(["a", "b"], 0)
    truth, noise = (PRIOR.sample(2, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    y = operator.measure(truth, 0.3, noise)
    answers = [
        method.restore(
            measured, operator, 0.3, CountingDenoiser(WithVariance(PRIOR, 0.0)), ImageNoise(0, "ab", "method")
        )
        for measured in (y, operator.on_support(y))
    ]
    assert torch.equal(*answers) == (not isinstance(method, DPS))


@pytest.mark.parametrize("name", TASKS)
def test_every_operator_is_one(name, tmp_path):
    shape = (1, 1, 32) if name == "random_projection" else (3, 64, 64)
    node = with_file(option("task", name)["operator"], tmp_path)
    operator = build_operator(OmegaConf.create(node), shape, torch.float32)
    assert lacking(operator.for_images(["a"], 0), OPERATORS[operator.kind]) == []


@pytest.mark.parametrize("images", [PhotoCrops("tune"), DrawnImages(PRIOR, 1, 1)], ids=lambda images: images.name)
def test_data_sets_are_data_sets(images):
    assert lacking(images, ImageSet) == []
    image = images.load(images.ids[0])
    assert (tuple(image.shape), image.dtype) == (images.image_shape, images.dtype)


@pytest.mark.parametrize("prior", [PRIOR, load_edm_prior()], ids=["closed form", "network"])
def test_priors_and_what_a_method_sees_of_them(prior):
    assert lacking(prior, Prior) == []
    assert lacking(CountingDenoiser(prior), Denoiser) == []
    assert isinstance(ImageNoise(0, ["a"], "method"), Noise)


def test_what_is_missing_is_named():
    class Half:
        name, title = "half", "half"

    assert lacking(Half(), Metric) == ["__call__", "better", "digits", "unit"]
    assert lacking(object(), Method) == ["restore"]
    assert "image_shape" in lacking(Half(), ImageSet)
