"""Measurements whose exact posterior is known, and what the studies share in writing their results down."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch
from hydra.utils import instantiate
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor

from vml_bench.configuration import config_dir
from vml_bench.files import replacing
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator
from vml_bench.priors.closed_form import GaussianMixturePrior
from vml_bench.priors.exact_posterior import ExactPosterior


@dataclass(frozen=True)
class Problem:
    """Measurements of images drawn from a closed-form prior, in float64.

    Attributes:
        prior: p(x_0).
        operator: H.
        noise_std: σ_y ≥ 0.
        y: (B, *measurement).
        truth: (B, C, H, W).
        ids: the images' ids, which seed their noise.
    """

    prior: GaussianMixturePrior
    operator: SpectralOperator
    noise_std: float
    y: Tensor
    truth: Tensor
    ids: tuple[str, ...]

    @cached_property
    def posterior(self) -> ExactPosterior:
        """p(x_0 | y)."""
        return self.prior.posterior(self.y, self.operator, self.noise_std)

    def noise(self, purpose: str) -> ImageNoise:
        """Each image's own stream of noise."""
        return ImageNoise(0, self.ids, purpose)


def problem(
    image_shape: Sequence[int], task: str, noise_std: float, images: int, prior: str = "gmm", **options: float
) -> Problem:
    """A prior of conf/prior in the given shape under a task of conf/task.

    Args:
        image_shape: (C, H, W).
        task: its name in conf/task.
        noise_std: σ_y ≥ 0, instead of the task's own.
        images: how many images are drawn.
        prior: its name in conf/prior, a closed-form one.
        options: of the prior, in place of its own.
    """
    ids = tuple(f"{i:03d}" for i in range(images))
    config = OmegaConf.load(config_dir() / "prior" / f"{prior}.yaml").model
    model = instantiate(config, image_shape=list(image_shape), **options)
    operator = instantiate(OmegaConf.load(config_dir() / "task" / f"{task}.yaml").operator)
    operator = operator(image_shape, dtype=torch.float64).for_images(ids, 0)
    truth = model.sample(images, torch.Generator().manual_seed(0))
    noise = ImageNoise(0, ids, "measurement").randn_like(operator.forward(truth))
    return Problem(model, operator, noise_std, operator.measure(truth, noise_std, noise), truth, ids)


def arguments(description: str, images: int) -> argparse.Namespace:
    """The command line of a study: `--out` and `--images`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path("results/studies"), help="folder of the table and figure")
    parser.add_argument("--images", type=int, default=images, help="images per problem")
    return parser.parse_args()


def write(out: Path, name: str, table: pd.DataFrame, figure: Figure) -> None:
    """Write <out>/<name>.csv and <out>/<name>.png."""
    with replacing(out / f"{name}.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    with replacing(out / f"{name}.png") as partial:
        FigureCanvasAgg(figure).print_png(partial, metadata={"Software": None})
