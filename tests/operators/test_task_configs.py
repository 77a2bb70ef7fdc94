"""Every shipped task is a working operator with the conventions that its file claims."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vml_bench.operators import SpectralOperator

TASKS = Path(__file__).parents[2] / "conf" / "task"
NAMES = sorted(file.stem for file in TASKS.glob("*.yaml"))


def load(name: str) -> DictConfig:
    return OmegaConf.load(TASKS / f"{name}.yaml")


def build(name: str, side: int = 64) -> SpectralOperator:
    operator = instantiate(load(name).operator)(image_shape=(3, side, side))
    return operator.for_images(["a", "b"], seed=0).to("cpu")


def test_all_tasks_of_the_design_are_there() -> None:
    designed = "denoise inpaint_half inpaint_box inpaint_random sr4 sr4_bicubic deblur_uniform deblur_gauss"
    assert set(f"{designed} deblur_aniso deblur_motion colorize".split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_task_runs(name: str) -> None:
    config = load(name)
    assert config.name == name
    assert config.noise_std == (0.2 if name == "denoise" else 0.05)
    operator = build(name, side=8 if name == "random_projection" else 64)
    x = torch.rand(2, *operator.image_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = torch.randn(operator.forward(x).shape, generator=torch.Generator().manual_seed(1))
    y = operator.measure(x, config.noise_std, noise)
    assert y.dtype == torch.float32
    for result in (y, operator.pinv(y), operator.adjoint(y), operator.prox(x, y, config.noise_std, 0.1)):
        assert result.isfinite().all()
    per_coefficient = operator.residual(x, y) / (operator.on_support(torch.ones_like(x)).flatten(1).norm(dim=1))
    torch.testing.assert_close(per_coefficient, torch.full((2,), float(config.noise_std)), rtol=0.3, atol=0)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"random_projection", "inpaint_random_dps"}))
def test_task_keeps_what_it_claims_of_a_constant_image(name: str) -> None:
    """Filters of sum 1 keep a constant image; DDRM's lose a ninth an axis, or a fifth and a bit."""
    lost = {"deblur_uniform": (8 / 9) ** 2, "deblur_gauss_ddrm": 0.64, "deblur_aniso": 8 / 9}.get(name, 1.0)
    y = build(name).forward(torch.ones(2, 3, 64, 64))
    middle = y[..., y.shape[-2] // 2, y.shape[-1] // 2] if not name.startswith("inpaint") else y.amax(dim=(2, 3))
    torch.testing.assert_close(middle, torch.full_like(middle, lost), rtol=0, atol=0.02)


def test_ratios() -> None:
    assert build("inpaint_random").singular_values.mean().item() == pytest.approx(0.3, abs=1e-3)
    assert build("inpaint_random50").singular_values.mean().item() == pytest.approx(0.5, abs=1e-3)


def test_thresholds_are_ddrms() -> None:
    for name in ("deblur_uniform", "deblur_gauss_ddrm", "deblur_aniso"):
        s = build(name).singular_values[0]
        assert s[s > 0].min() >= 0.03**2 * (1 - 1e-6)
        assert (s == 0).any()


def test_other_arguments_from_the_command_line() -> None:
    config = OmegaConf.merge(load("sr4"), OmegaConf.from_dotlist(["operator.factor=8"]))
    assert instantiate(config.operator)(image_shape=(3, 64, 64)).forward(torch.ones(1, 3, 64, 64)).shape[-1] == 8
