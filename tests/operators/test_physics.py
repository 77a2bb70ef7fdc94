"""DeepInverse's physics as operators: adjoint and forward are theirs, and adjoint to each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vml_bench.contract import OPERATORS, lacking
from vml_bench.errors import InputError
from vml_bench.operators import physics

SHAPE = (3, 16, 16)
library = pytest.importorskip("deepinv", reason="an extra: pip install 'vml-bench[physics]'")
BUILDERS = {
    "tomography": physics.Tomography,
    "mri": physics.AcceleratedMRI,
    "varying blur": lambda shape, **k: physics.VaryingBlur(shape, taps=5, **k),
    "compressed sensing": physics.CompressedSensing,
    "an object of theirs": lambda shape, **k: physics.LinearPhysics(
        shape, library.physics.Downsampling(img_size=shape, factor=2, filter="gaussian"), **k
    ),
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BUILDERS)
def test_forward_and_adjoint_belong_together(name):
    operator, x = BUILDERS[name](SHAPE), normal(2, *SHAPE)
    assert lacking(operator, OPERATORS["linear"]) == []
    y = operator.forward(x)
    v = operator.observed(normal(*y.shape, seed=1))
    pull = operator.adjoint(v)
    assert y.dtype == pull.dtype == x.dtype
    assert float((y * v).sum()) == pytest.approx(float((x * pull).sum()), rel=1e-4, abs=1e-3)
    assert torch.allclose(operator.forward(x[1:]), y[1:], atol=1e-5)
    again = operator.to("cpu", torch.float32)
    assert torch.allclose(again.forward(x), y)
    assert operator.picture(y).shape == x.shape


@pytest.mark.parametrize("name", BUILDERS)
def test_prox_is_stationary(name):
    operator, x = BUILDERS[name](SHAPE), normal(1, *SHAPE)
    y = operator.measure(normal(1, *SHAPE, seed=1), 0.3, normal(*operator.forward(x).shape, seed=2))
    z = operator.prox(x, y, 0.3, 0.5)
    gradient = (z - x) / 0.5 - operator.adjoint(y - operator.forward(z)) / 0.3**2
    start = operator.adjoint(y - operator.forward(x)) / 0.3**2
    assert gradient.norm() < 1e-3 * start.norm()


def test_what_is_built_for_the_images_is_what_the_library_computes():
    x = normal(2, *SHAPE)
    theirs = library.physics.Tomography(angles=30, img_width=16, normalize=True)
    assert torch.allclose(physics.Tomography(SHAPE).forward(x), theirs.A(x), atol=1e-5)
    ours = physics.AcceleratedMRI(SHAPE)
    mri = library.physics.MRI(mask=ours.columns.expand(1, 2, 16, 16), img_size=(2, 16, 16))
    one = x[:, :1]
    assert torch.allclose(ours.forward(x)[:, 0], mri.A(torch.cat([one, 0 * one], dim=1)), atol=1e-5)


def test_compressed_sensing_is_blind_to_no_pixel():
    operator = physics.CompressedSensing((1, 16, 16), share=0.25)
    pixels = torch.eye(256).reshape(256, 1, 16, 16)
    seen = operator.forward(pixels).flatten(1).square().sum(dim=1)
    assert float(seen.mean()) == pytest.approx(0.25, abs=0.01)
    assert seen.min() > 0.05


def test_mri_measures_the_share_of_columns_that_it_says():
    columns = physics.AcceleratedMRI((1, 32, 64), acceleration=4, centre=0.125).columns
    assert columns.sum() == 16
    assert (columns[28:36] == 1).all()


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: physics.Tomography((3, 16, 8)), "square"),
        (lambda: physics.Tomography(SHAPE, angles=0), "angles=0"),
        (lambda: physics.AcceleratedMRI(SHAPE, acceleration=16, centre=0.5), "task.operator.acceleration"),
        (lambda: physics.AcceleratedMRI(SHAPE, acceleration=0.5), "acceleration=0.5"),
        (lambda: physics.CompressedSensing(SHAPE, share=0), "share=0"),
        (lambda: physics.LinearPhysics(SHAPE, library.physics.PhaseRetrieval(lambda x: x)), "NonlinearPhysics"),
    ],
)
def test_what_cannot_be_built_is_refused(build, said):
    with pytest.raises(InputError, match=said):
        build()


def test_a_physics_that_is_not_linear_is_a_differentiable_operator():
    operator = physics.NonlinearPhysics(SHAPE, library.physics.Denoising())
    assert operator.kind == "differentiable"
    x = normal(1, *SHAPE)
    assert torch.allclose(operator.linearized(x).adjoint(x), x)
