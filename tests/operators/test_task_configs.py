"""Every shipped task is a working operator with the conventions that its file states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vml_bench.configuration import named_options
from vml_bench.operators import DifferentiableOperator
from vml_bench.runner.resources import build_operator

NAMES = sorted(named_options("task"))
CONSTANT = {
    **dict.fromkeys(("denoise", "inpaint_half", "inpaint_box", "inpaint_random", "inpaint_random50"), 1.0),
    **dict.fromkeys(("sr4", "sr4_bicubic", "colorize", "deblur_gauss", "deblur_motion"), 1.0),
    **dict.fromkeys(("deblur_aniso_all_taps", "deblur_uniform_all_taps"), 1.0),
    **{"deblur_uniform": (8 / 9) ** 2, "deblur_gauss10": 0.64, "deblur_aniso": 8 / 9},
}
"""What is left of a constant image: all of it by filters of sum 1, less by DDRM's, which lose their last tap."""


def load(name: str) -> DictConfig:
    return OmegaConf.create(named_options("task")[name])


def build(name: str, side: int = 64, file: Path | None = None) -> DifferentiableOperator:
    config = load(name).operator
    if file and config.get("file", "given") is None:
        np.save(file, np.ones((5, 5) if "kernel" in name else (side, side)))
        config.file = str(file)
    operator = build_operator(config, (3, side, side), torch.float32)
    return operator.for_images(["a", "b"], seed=0).to("cpu")


@pytest.mark.parametrize("name", NAMES)
def test_task_runs(name: str, tmp_path: Path) -> None:
    config = load(name)
    assert config.noise_std >= 0
    operator = build(name, 8 if name == "random_projection" else 64, tmp_path / "own.npy")
    x = torch.rand(2, *operator.image_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = torch.randn(operator.forward(x).shape, generator=torch.Generator().manual_seed(1))
    y = operator.measure(x, config.noise_std, noise)
    assert y.dtype == torch.float32
    pulled = operator.linearized(x).adjoint(y)
    for result in (y, operator.start(y), pulled, operator.prox(x, y, config.noise_std, 0.1), operator.picture(y)):
        assert result.isfinite().all()
    expected = operator.expected_residual(y, config.noise_std).expand(2)
    torch.testing.assert_close(operator.residual(x, y), expected.to(y), rtol=0.3, atol=0)


@pytest.mark.parametrize(("name", "left"), CONSTANT.items())
def test_task_keeps_as_much_of_a_constant_image_as_it_states(name: str, left: float) -> None:
    y = build(name).forward(torch.ones(2, 3, 64, 64))
    middle = y[..., y.shape[-2] // 2, y.shape[-1] // 2] if not name.startswith("inpaint") else y.amax(dim=(2, 3))
    torch.testing.assert_close(middle, torch.full_like(middle, left), rtol=0, atol=0.02)


def test_ratios() -> None:
    assert build("inpaint_random").singular_values.mean().item() == pytest.approx(0.3, abs=1e-3)
    assert build("inpaint_random50").singular_values.mean().item() == pytest.approx(0.5, abs=1e-3)


def test_thresholds_are_ddrms() -> None:
    for name in ("deblur_uniform", "deblur_gauss10", "deblur_aniso"):
        s = build(name).singular_values[0]
        assert s[s > 0].min() >= 0.03**2 * (1 - 1e-6)
        assert (s == 0).any()


@pytest.mark.parametrize(
    ("scrambled", "blur", "overrides"),
    [
        ("deblur_uniform_ddrm", "deblur_uniform", []),
        ("deblur_gauss_ddrm", "deblur_gauss10", []),
        ("deblur_aniso_ddrm", "deblur_aniso", []),
        ("deblur_uniform_ddrm_all_taps", "deblur_uniform", ["operator.drop_last_tap=false"]),
        ("deblur_gauss_ddrm_all_taps", "deblur_gauss10", ["operator.drop_last_tap=false"]),
    ],
)
def test_what_ddrms_program_has_for_a_blur_has_its_singular_values_but_is_none(
    scrambled: str, blur: str, overrides: list[str]
) -> None:
    config = OmegaConf.merge(load(blur), OmegaConf.from_dotlist(overrides))
    options = {key: value for key, value in load(scrambled).operator.items() if key != "scrambled"}
    assert options == dict(config.operator)
    true, named = instantiate(config.operator)(image_shape=(3, 64, 64)), build(scrambled)
    torch.testing.assert_close(
        named.singular_values.flatten().sort().values, true.singular_values.flatten().sort().values
    )
    white = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for operator, smooth in ((true, True), (named, False)):
        y = operator.forward(white)
        across = (y[..., 1:] * y[..., :-1]).mean() / y.square().mean()
        down = (y[..., 1:, :] * y[..., :-1, :]).mean() / y.square().mean()
        assert (across > 0.7 and down > 0.7) if smooth else (across < 0.3 and down < 0.3)


def test_other_arguments_from_the_command_line() -> None:
    config = OmegaConf.merge(load("sr4"), OmegaConf.from_dotlist(["operator.factor=8"]))
    assert instantiate(config.operator)(image_shape=(3, 64, 64)).forward(torch.ones(1, 3, 64, 64)).shape[-1] == 8
