"""Runs on a prior of latents: the method sees A∘decoder, and everything else sees images."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from hydra.utils import instantiate

from tests.baselines.seen import WithVariance
from tests.priors.test_latent import pipeline
from tests.test_contract import METHODS, sampler_of
from vml_bench import restore
from vml_bench.contract import needs_prior, takes
from vml_bench.data.images import read_picture, save_png
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.noise import ImageNoise
from vml_bench.operators import JPEG, AsLinear, BlockAverage, Quantize
from vml_bench.plan import format_plan, plan
from vml_bench.priors.closed_form import random_gaussian
from vml_bench.runner.cell import Cell
from vml_bench.runner.cost import count
from vml_bench.runner.latents import Decoded, OnLatents
from vml_bench.runner.run import run_cell

LATENT = (2, 4, 4)


def on_latents(choice):
    """Whether a method, as it is configured, asks a prior and takes A∘decoder."""
    method = instantiate(sampler_of(choice))
    return needs_prior(method) and takes(method, Decoded.kind)


class Enlarge:
    """A linear decoder, 2×4×4 to 1×8×8, whose columns are orthonormal: what is done through it is known."""

    image_shape = (1, 8, 8)

    def __init__(self):
        random = torch.randn(64, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.columns = torch.linalg.qr(random)[0]

    def __call__(self, z):
        return (z.flatten(1) @ self.columns.T).reshape(-1, *self.image_shape)

    def encode(self, x):
        return (x.flatten(1) @ self.columns).reshape(-1, *LATENT)


@pytest.fixture
def decoded():
    """×2 super-resolution of the images that `Enlarge` makes, and its matrix."""
    operator, decoder = BlockAverage((1, 8, 8), factor=2, dtype=torch.float64), Enlarge()
    matrix = operator.forward(decoder(torch.eye(32, dtype=torch.float64).reshape(32, *LATENT))).flatten(1).T
    return Decoded(operator, decoder, LATENT), matrix


@pytest.fixture(scope="module")
def latent(tmp_path_factory):
    """Overrides that choose a small latent diffusion model of 64×64 images, with arbitrary weights."""
    folder = pipeline(tmp_path_factory.mktemp("ldm"))
    return ["prior=celebahq256_ldm", f"prior.checkpoint={folder}", "prior.synthetic=true"]


def test_a_method_sees_the_operator_through_the_decoder(decoded):
    seen, matrix = decoded
    z = torch.randn(2, *LATENT, dtype=torch.float64)
    y = seen.forward(z)
    torch.testing.assert_close(y.flatten(1), z.flatten(1) @ matrix.T)
    assert seen.image_shape == tuple(seen.blank(y).shape[1:]) == LATENT
    assert seen.picture(y).shape == (2, 1, 8, 8)
    back = seen.linearized(z).adjoint(y)
    torch.testing.assert_close(back.flatten(1), y.flatten(1) @ matrix)
    assert seen.residual(z, y).max() < 1e-12
    torch.testing.assert_close(seen.measure(z, 0.0, torch.zeros_like(y)), y)


def test_prox_through_a_linear_decoder_is_that_of_the_matrix(decoded):
    seen, matrix = decoded
    seen.tolerance, seen.iterations = 1e-12, 64
    x, y = torch.randn(1, *LATENT, dtype=torch.float64), torch.randn(1, 1, 4, 4, dtype=torch.float64)
    noise_std, step = 0.3, 0.5
    normal = torch.eye(32, dtype=torch.float64) / step + matrix.T @ matrix / noise_std**2
    wanted = torch.linalg.solve(normal, x.flatten() / step + matrix.T @ y.flatten() / noise_std**2)
    torch.testing.assert_close(seen.prox(x, y, noise_std, step).flatten(), wanted)


@pytest.mark.parametrize("stepped", [JPEG((1, 8, 8), dtype=torch.float64), Quantize((1, 8, 8), dtype=torch.float64)])
def test_what_has_no_derivative_has_its_guess_behind_the_decoders(stepped):
    decoder = Enlarge()
    seen, z = Decoded(stepped, decoder, LATENT), torch.rand(2, *LATENT, dtype=torch.float64)
    jacobian, v = seen.linearized(z), torch.randn(2, *LATENT, dtype=torch.float64)
    torch.testing.assert_close(jacobian.forward(v), decoder(v))
    u = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close((jacobian.adjoint(u) * v).sum(), (u * decoder(v)).sum())
    torch.testing.assert_close(seen.forward(z), stepped.forward(decoder(z)))
    assert float(torch.as_tensor(stepped.applications).sum()) > 0


def test_what_goes_through_the_decoder_is_counted_once_whatever_the_operators_kind():
    build = partial(BlockAverage, factor=2)
    for operator in (build((1, 8, 8), dtype=torch.float64), AsLinear((1, 8, 8), build, dtype=torch.float64)):
        seen, z = Decoded(operator, Enlarge(), LATENT), torch.zeros(1, *LATENT, dtype=torch.float64)
        seen.linearized(z).adjoint(seen.forward(z))
        assert operator.applications == 3


def test_a_method_that_returns_no_latents_is_refused():
    class Images:
        def restore(self, y, operator, noise_std, denoiser, rng):
            return torch.zeros(len(y), 1, 8, 8)

    operator = BlockAverage((1, 8, 8), factor=2)
    with pytest.raises(InputError, match=r"Images returned \(1, 1, 8, 8\) for latents of \(1, 2, 4, 4\)"):
        OnLatents(Images(), Enlarge(), LATENT).restore(torch.zeros(1, 1, 4, 4), operator, 0.0, None, None)


@pytest.mark.parametrize("choice", [choice for choice in METHODS if on_latents(choice)])
def test_every_method_that_takes_what_autograd_differentiates_restores_latents(choice):
    sampler = sampler_of(choice)
    if "schedule" in sampler:
        sampler["schedule"]["levels"] = 2
    for steps in ("langevin_steps", "inner_steps"):
        sampler |= {steps: 2} if steps in sampler else {}
    method = instantiate(sampler)
    operator, y = BlockAverage((1, 8, 8), factor=2, dtype=torch.float64), torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    denoiser = Denoiser(WithVariance(random_gaussian(LATENT, seed=0), 0.0))
    noise = ImageNoise(0, ["a"], "method")
    restored = OnLatents(method, Enlarge(), LATENT).restore(y, operator, 0.1, denoiser, noise)
    assert restored.shape == (1, 1, 8, 8)
    assert restored.isfinite().all()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("vml_map_pre", ["inner_steps=1"]),
        ("dps", []),
        ("reddiff", []),
    ],
)
def test_a_run_restores_images_from_latents(cell_config, latent, method, options):
    few = [f"method.sampler.{option}" for option in ("schedule.levels=2", *options)]
    folder = run_cell(cell_config(*latent, "task=sr4", f"method={method}", *few, "runner.limit=2"))
    table = pd.read_parquet(folder / "images.parquet")
    assert table.residual.notna().all()  # scores are only there where arbitrary weights did not lead astray
    assert (table.applications > 0).all()
    assert read_picture(next((folder / "recon").glob("*.png"))).shape == (3, 64, 64)
    form = json.loads((folder / "run.json").read_text())["prior"]["form"]
    assert form["decoder"]["network"]["VQModel"]["norm_num_groups"] == 4


def test_restore_returns_images(latent):
    few = ["method.sampler.schedule.levels=2", "method.sampler.inner_steps=1"]
    found = restore("vml_map", task="hdr", limit=1, overrides=[*latent, *few])
    assert found.images.shape == found.ground_truth.shape == (1, 3, 64, 64)
    torch.testing.assert_close(
        torch.tensor(found.rows.residual), found.operator.residual(found.images, found.measurements), check_dtype=False
    )


@pytest.mark.parametrize(("method", "needs"), [("ddrm", "spectral"), ("diffpir", "linear")])
def test_a_method_that_needs_more_is_refused_with_those_that_do_not(cell_config, latent, method, needs):
    with pytest.raises(InputError, match=rf"{method} needs a {needs} .* through the decoder of prior .*vml_map_pre"):
        Cell(cell_config(*latent, "task=sr4", f"method={method}"))


def test_refused_it_is_before_anything_is_timed(cell_config, latent, monkeypatch):
    monkeypatch.setattr("vml_bench.runner.cell.fastest", lambda *_: pytest.fail("a pass was made"))
    with pytest.raises(InputError, match="through the decoder"):
        Cell(cell_config(*latent, "task=sr4", "method=ddnm", "compute.channels_last=auto"))


def test_images_must_have_the_size_that_is_decoded(cell_config, latent, tmp_path):
    (tmp_path / "small").mkdir()
    save_png(torch.zeros(3, 16, 16), tmp_path / "small" / "a.png")  # that of the latents
    told = ["dataset=folder", "dataset.name=small", f"dataset.root={tmp_path / 'small'}", "task=hdr", "method=dps"]
    with pytest.raises(InputError, match=r"knows images of shape \(3, 64, 64\), data set small has \(3, 16, 16\)"):
        Cell(cell_config(*told, *latent))


def test_evaluations_are_counted_on_images_of_the_decoders_channels(cell_config):
    few = ("task=jpeg", "method=dps", "method.sampler.schedule.levels=3")  # of two channels there is no JPEG
    prior = SimpleNamespace(image_shape=LATENT, decoder=Enlarge(), sigma_min=0.01, sigma_max=100.0)
    assert count(cell_config(*few), prior) == (3, 3)


def test_a_method_without_a_prior_has_no_decoder_before_it(cell_config, latent):
    Cell(cell_config(*latent, "task=sr4", "method=pinv", "prior.checkpoint=nowhere"))


def test_a_plan_says_that_the_decoders_passes_come_on_top(cell_config):
    made = plan([cell_config("prior=photos64_latent", "task=sr4", "method=dps", "runner.limit=2")])
    assert (made.cells[0].nfe, made.cells[0].vjp) == (50, 50)
    assert "passes of the decoder, which are not counted, come on top" in format_plan(made)
