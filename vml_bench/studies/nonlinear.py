"""What the methods find where the measurement is not linear: in the plane, against the posterior by brute force.

    python -m vml_bench.studies.nonlinear --out results/studies

The prior is the mixture of conf/prior/gmm_2d.yaml; one number is measured of each point. log p(x | y) is computed on a
grid over the plane and its highest value refined to 1e-9, so that a method's gap to the MAP is exact to about that. A
method that claims the mode should have a gap of 0; one that samples should not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import pandas as pd
import torch
from hydra.utils import instantiate
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor

from vml_bench.cards import card
from vml_bench.configuration import config_dir, option
from vml_bench.denoiser import Denoiser
from vml_bench.noise import ImageNoise
from vml_bench.operators import DifferentiableOperator
from vml_bench.priors.closed_form import GaussianMixturePrior
from vml_bench.studies.problems import arguments, write
from vml_bench.text import markdown, number, write_files

PLANE = (1, 1, 2)
NOISE_STDS = (0.05, 0.3)
METHODS = ("vml_map", "vml_map_pre", "vml_fixed_point", "lmaps", "dps", "daps")
REACH, POINTS = 3.0, 1201
"""The grid: from −REACH to REACH in both directions, so many points in each."""
ZOOM = 7
"""How often the neighbourhood of the highest grid point is divided again, ten times finer each time."""
NEAR = 0.05
"""Nats: an answer this near to the MAP has found it."""
SHOWN = 3
"""Points that the figure shows."""


class OfThePlane(DifferentiableOperator):
    """One number of a point (x₁, x₂)."""

    image_shape = PLANE


class Magnitude(OfThePlane):
    """√(x₁² + x₂²): phase retrieval of one complex number. Its level sets are circles."""

    def apply(self, x: Tensor) -> Tensor:
        return x.flatten(1).norm(dim=1, keepdim=True)


class Product(OfThePlane):
    """x₁ x₂: a bilinear measurement. Its level sets are hyperbolas of two branches."""

    def apply(self, x: Tensor) -> Tensor:
        return x.flatten(1).prod(dim=1, keepdim=True)


class Saturated(OfThePlane):
    """clip(2 x₁, −1, 1): high dynamic range. Its level sets are lines and half planes."""

    def apply(self, x: Tensor) -> Tensor:
        return (2 * x.flatten(1)[:, :1]).clamp(-1, 1)


MEASURED = {"magnitude": Magnitude, "product": Product, "saturated": Saturated}


@lru_cache(maxsize=1)
def prior() -> GaussianMixturePrior:
    """The mixture."""
    model = OmegaConf.merge(
        *(OmegaConf.load(config_dir() / "prior" / f"{name}.yaml").model for name in ("gmm", "gmm_2d"))
    )
    return instantiate(model)


@dataclass(frozen=True)
class Case:
    """Points and what was measured of them.

    Attributes:
        operator: A.
        noise_std: σ_y > 0.
        y: (B, 1).
    """

    operator: DifferentiableOperator
    noise_std: float
    y: Tensor

    def log_posterior(self, x: Tensor, i: int | None = None) -> Tensor:
        """log p(x) + log p(y | x) without its constant: x (n, 1, 1, 2) -> (n,).

        Args:
            x: points.
            i: whose measurement; None: each point's own.
        """
        y = self.y if i is None else self.y[i : i + 1]
        misfit = (y - self.operator.apply(x)).flatten(1).square().sum(dim=1)
        return prior().log_density(x) - misfit / (2 * self.noise_std**2)

    @cached_property
    def highest(self) -> tuple[Tensor, Tensor]:
        """The MAP of every point (B, 1, 1, 2), and log p there (B,)."""
        found = [self._highest(i) for i in range(len(self.y))]
        where = torch.stack([point for point, _ in found])
        return where, torch.stack([value for _, value in found])

    def _highest(self, i: int) -> tuple[Tensor, Tensor]:
        centre, step = torch.zeros(2, dtype=torch.float64), 2 * REACH / (POINTS - 1)
        points = grid(centre, step, POINTS)
        for _ in range(ZOOM + 1):
            values = self.log_posterior(points, i)
            best = int(values.argmax())
            centre, value = points[best].flatten(), values[best]
            step /= 10
            points = grid(centre, step, 41)
        return centre.reshape(PLANE), value


def grid(centre: Tensor, step: float, points: int) -> Tensor:
    """A square grid about a centre: (points², 1, 1, 2)."""
    line = step * (torch.arange(points, dtype=torch.float64) - (points - 1) / 2)
    first, second = torch.meshgrid(line + centre[0], line + centre[1], indexing="ij")
    return torch.stack([first, second], dim=-1).reshape(-1, *PLANE)


def case(measured: str, noise_std: float, images: int) -> Case:
    """The measurements of points drawn from the prior."""
    operator = MEASURED[measured]()
    truth = prior().sample(images, torch.Generator().manual_seed(0))
    clean = operator.forward(truth)
    return Case(operator, noise_std, operator.measure(truth, noise_std, ids(images, "measurement").randn_like(clean)))


def ids(images: int, purpose: str) -> ImageNoise:
    """Each point's own stream of noise."""
    return ImageNoise(0, tuple(f"{i:03d}" for i in range(images)), purpose)


def answer(here: Case, method: str) -> tuple[Tensor, Denoiser]:
    """What a method, as configured, makes of the measurements, (B, 1, 1, 2); and the denoiser that it asked."""
    denoiser = Denoiser(prior())
    whole = OmegaConf.create({"method": option("method", method), "task": {"name": "plane"}})
    sampler = instantiate(whole.method.sampler)
    return sampler.restore(here.y, here.operator, here.noise_std, denoiser, ids(len(here.y), "method")), denoiser


def run(images: int) -> pd.DataFrame:
    """One row per measurement, σ_y and method: quantiles of the gap to the MAP, and the share that has found it."""
    rows = []
    for measured, noise_std in product(MEASURED, NOISE_STDS):
        here = case(measured, noise_std, images)
        _, best = here.highest
        for method in METHODS:
            x, denoiser = answer(here, method)
            gap = (best - here.log_posterior(x)).nan_to_num(torch.inf)
            rows.append(
                {
                    **{"measured": measured, "noise_std": noise_std, "n": images, "method": method},
                    **{"nfe": denoiser.nfe, "vjp": denoiser.vjps, "gap_median": float(gap.median())},
                    "gap_p90": float(gap.quantile(0.9, interpolation="nearest")),
                    "found": float((gap < NEAR).double().mean()),
                }
            )
    return pd.DataFrame(rows)


def to_markdown(table: pd.DataFrame) -> str:
    """Methods against measurements: median gap in nats, and the share of points whose MAP was found."""
    places = list(table.groupby(["measured", "noise_std"], sort=False).groups)
    rows = []
    for method, of_method in table.groupby("method", sort=False):
        cells = of_method.set_index(["measured", "noise_std"])
        told = [f"{number(cells.gap_median[place], 4, significant=3)}, {cells.found[place]:.0%}" for place in places]
        rows.append([method, *told])
    headings = ("method", *(f"{measured}, σ_y = {noise_std:g}" for measured, noise_std in places))
    return "\n".join([ABOUT.format(n=int(table.n.max()), near=NEAR), "", *markdown(headings, rows, left=[0])]) + "\n"


ABOUT = """# Measurements that are not linear, in the plane

Median gap to the MAP in nats over {n} points, and the share of them within {near} nats of it. The MAP is found by brute
force. Methods as in conf/method. Made by `python -m vml_bench.studies.nonlinear`, whose docstring says more."""


def draw(images: int) -> Figure:
    """Posteriors of the first points at the lower σ_y, and where the methods end."""
    figure = Figure(figsize=(3.4 * SHOWN, 3.4 * len(MEASURED)), dpi=110, layout="constrained")
    axes = figure.subplots(len(MEASURED), SHOWN, squeeze=False)
    for measured, row in zip(MEASURED, axes, strict=True):
        here = case(measured, NOISE_STDS[0], images)
        answers = {method: answer(here, method)[0].flatten(1) for method in METHODS}
        for i, axis in enumerate(row):
            contours(axis, here, i)
            for method, points in answers.items():
                look = card(method)
                axis.plot(*points[i], look.marker, color=look.colour, ms=7, mec="white", mew=0.7, label=look.title)
            axis.plot(*here.highest[0][i].flatten(), "+", color="black", ms=13, label="MAP")
            axis.set_title(f"{measured}, y = {float(here.y[i]):.2f}", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    figure.suptitle(f"log p(x | y) in the plane, σ_y = {NOISE_STDS[0]}, and the methods' answers")
    return figure


def contours(axis: Axes, here: Case, i: int) -> None:
    """The logarithm of one posterior, down to 12 nats below its top."""
    points = grid(torch.zeros(2, dtype=torch.float64), 2 * REACH / 400, 401)
    values = (here.log_posterior(points, i) - here.highest[1][i]).reshape(401, 401)
    side = points.reshape(401, 401, 2)
    axis.contourf(side[..., 0], side[..., 1], values.clamp_min(-12), levels=[-12, -9, -6, -4, -2, -1, 0], cmap="Blues")
    axis.set(xlim=(-REACH / 1.5, REACH / 1.5), ylim=(-REACH / 1.5, REACH / 1.5), aspect="equal")


def main() -> None:
    options = arguments("Measurements that are not linear, in the plane.", images=32)
    table = run(options.images)
    write(options.out, "nonlinear", table, draw(options.images))
    write_files(options.out, {"nonlinear.md": to_markdown(table)})
    print(to_markdown(table))


if __name__ == "__main__":
    main()
