"""What the outer loop of a MAP method does to its answer: MAP-GA and VML-MAP on a mixture, at equal compute.

    python -m vml_bench.studies.outer_loops --out results/studies

Compute is network evaluations plus vector-Jacobian products, as in `convergence`. Each budget is split between levels
and inner steps in several ways; the table has the split whose median gap to the MAP is least, chosen on the images that
it is reported on, for every method alike. The priors are that of the data set gmm_vector, whose three components stand
far apart, and a mixture of 30 narrower components that lie close ("close"), so that smoothing blends them earlier.

A method that stops at σ > 0 cannot answer with the exact MAP. D(·, σ) is the proximal map of σ² φ_σ with

    φ_σ(D(x, σ)) = −log p(x; σ) − ‖x − D(x, σ)‖²/(2σ²),    p(x; σ) the density of x_0 + σ n

(Gribonval 2011, "Should penalized least squares regression be interpreted as maximum a posteriori estimation?"), which
tends to −log p as σ → 0; so a method that has settled at σ minimises E_σ(z) = ‖y − H z‖²/(2σ_y²) + φ_σ(z), minus the
logarithm of a smoothed posterior. E_σ(D(x, σ)) is the loss that VML-MAP descends (`vml_bench.methods.loss`,
`simplified_loss`). Each answer is therefore held against two modes: the exact MAP, and the minimum of E_σ at the last σ
that the method asked (`smoothed_mode`). At σ_y = 0 both are minima on H z = y, onto which answers are projected.

What 16 images showed (results/studies/outer_loops.md). The fixed point is nearest to the MAP at every budget of every
problem, and from a budget of 50 on VML-MAP pre is nearer than all that re-noise. Smoothing does not explain it: on
gmm_vector the smoothed mode is the MAP to 1e-4 nats up to σ = 0.58, and on "close" up to 0.12 (at 0.17 it is 0.2 to
0.5 nats off). What a method is short of below that, it has not settled. Of all that re-noise, the library's form of
VML-MAP pre is nearest at a budget of 1,000 where σ_y = 0; where σ_y = 0.05, on gmm_vector, MAP-GA (D) is. Without noise
MAP-GA (D, NP) and VML-MAP by the flow are 2.8 to 8.2 nats off at 1,000, about as far as at 200. At σ_y = 0.3 MAP-GA (D)
is over 100 nats off with more than three levels: its λ multiplies the prior's score by σ_y², which overshoots where the
prior's curvature is over 2/σ_y².
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import pandas as pd
import torch
from hydra.utils import instantiate
from matplotlib.figure import Figure
from torch import Tensor

from vml_bench.configuration import option
from vml_bench.denoiser import Denoiser
from vml_bench.methods.loop import preconditioned_direction
from vml_bench.priors.closed_form import GaussianMixturePrior
from vml_bench.studies.problems import Problem, arguments, problem, write
from vml_bench.text import markdown, number, write_files

SHAPE = (1, 1, 32)
PRIORS = {"gmm_vector": {}, "close": {"components": 30, "spread": 0.1, "scale": 0.3}}
"""Options of conf/prior/gmm.yaml."""
PLACES = (
    *(("gmm_vector", task, std) for task in ("random_projection", "inpaint_random") for std in (0.0, 0.05, 0.3)),
    *(("close", "random_projection", std) for std in (0.0, 0.05)),
)
"""Prior, task and σ_y of every problem."""
BUDGETS = (20, 50, 100, 200, 1000)
INNER_STEPS = (1, 2, 3, 5, 10, 20, 50)
FEWEST_LEVELS = 3
NEAR = 0.15
"""How far a split's compute may be off its budget, as a share."""
FLOOR, CEILING = 1e-6, 1e3
"""Smaller and larger gaps are drawn here."""


@dataclass(frozen=True)
class Outer:
    """A method and what its levels and steps cost.

    Attributes:
        title: in the table and the figure.
        method: its name in conf/method.
        per_step: evaluations and products of one inner step.
        per_level: further evaluations of each level.
        more: levels of its schedule that are not visited.
        after: evaluations and products after the levels, under noise.
        changes: of its sampler's options.
        noisy: whether it is run only under noise.
        line: matplotlib's line style and colour.
    """

    title: str
    method: str
    per_step: int
    per_level: int
    line: tuple[str, str]
    more: int = 0
    after: int = 0
    changes: tuple[tuple[str, object], ...] = ()
    noisy: bool = False

    def splits(self, budget: int) -> Iterator[tuple[int, int]]:
        """(levels, inner steps) whose compute is near the budget."""
        for steps in INNER_STEPS:
            per_level = self.per_step * steps + self.per_level
            levels = round((budget - self.after) / per_level)
            spent = levels * per_level + self.after
            if levels >= FEWEST_LEVELS and abs(spent / budget - 1) <= NEAR:
                yield levels, steps

    def config(self, levels: int, steps: int) -> dict[str, object]:
        """The sampler's whole configuration."""
        sampler = option("method", self.method)["sampler"]
        schedule = sampler["schedule"] | {"levels": levels + self.more}
        return sampler | dict(self.changes) | {"inner_steps": steps, "schedule": schedule}


ALGORITHM_2 = (("pigdm_steps", 0),)
LOOPS = (
    Outer("MAP-GA (D)", "mapga", 3, 1, ("-", "#56b4e9"), 1, changes=ALGORITHM_2),
    Outer("MAP-GA (D, NP)", "mapga_np", 2, 1, ("--", "#56b4e9"), 1, changes=ALGORITHM_2),
    Outer("MAP-GA-PGDM", "mapga", 2, 1, (":", "#56b4e9"), 1, after=40, noisy=True),
    Outer("MAP-GA, library", "library/mapga", 3, 1, ("-.", "#56b4e9")),
    Outer("VML-MAP, library", "library/vml_map", 2, 1, ("-", "#d55e00")),
    Outer("VML-MAP pre, library", "library/vml_map_pre", 2, 1, ("--", "#d55e00")),
    Outer("VML-MAP", "vml_map", 2, 0, ("-", "#009e73")),
    Outer("VML-MAP pre", "vml_map_pre", 2, 0, ("--", "#009e73")),
    Outer("fixed point", "vml_fixed_point", 1, 0, ("-", "#3d3d3d")),
)
"""MAP-GA runs by algorithm 2 at every σ_y, and under noise also by algorithm 3, with 20 steps of ΠGDM at the end
("MAP-GA-PGDM"). All else is as configured; the last three are this project's own outer loops."""


class LastAsked:
    """A prior that keeps the last σ at which it was asked."""

    def __init__(self, prior: GaussianMixturePrior) -> None:
        self._prior, self.sigma = prior, prior.sigma_max
        self.sigma_min, self.sigma_max, self.image_shape = prior.sigma_min, prior.sigma_max, prior.image_shape

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.sigma = sigma
        return self._prior(x, sigma)


def proximal_penalty(prior: GaussianMixturePrior, z: Tensor, sigma: float) -> Tensor:
    """φ_σ(z) in nats, up to what is constant in z: (B, C, H, W) -> (B,).

    The x with D(x, σ) = z minimises ψ(x) − ⟨z, x⟩, ψ = σ² log p(·; σ) + ‖x‖²/2, which is convex: its gradient is D − z
    and its Hessian Cov[x_0 | x]/σ². Newton's method, the step halved until it descends.
    """
    x = z.clone()

    def objective(point: Tensor) -> Tensor:
        return sigma**2 * prior.log_density(point, sigma) + (point * (point / 2 - z)).flatten(1).sum(dim=1)

    for _ in range(100):
        slope = (prior(x, sigma) - z).flatten(1)
        if slope.abs().max() < 1e-12:
            break
        step = -torch.linalg.solve(prior.covariance(x, sigma) / sigma**2, slope[..., None])[..., 0]
        expected = (slope * step).sum(dim=1)
        here, length = objective(x), torch.ones(len(x), dtype=x.dtype)
        for _ in range(40):
            reached = objective(x + (length[:, None] * step).reshape(x.shape))
            short = ~(reached <= here + 1e-4 * length * expected + 1e-13 * here.abs())
            if not short.any():
                break
            length = torch.where(short, length / 2, length)
        x = x + (length[:, None] * step).reshape(x.shape)
    return -prior.log_density(x, sigma) - (x - z).flatten(1).square().sum(dim=1) / (2 * sigma**2)


def smoothed_energy(case: Problem, z: Tensor, sigma: float) -> Tensor:
    """E_σ(z) in nats, up to a constant, (B,); at σ_y = 0 φ_σ of the projection of z onto H z = y."""
    if case.noise_std == 0:
        return proximal_penalty(case.prior, case.operator.prox(z, case.y, 0.0, step=1.0), sigma)
    misfit = case.operator.residual(z, case.y).square() / (2 * case.noise_std**2)
    return misfit + proximal_penalty(case.prior, z, sigma)


def smoothed_mode(case: Problem, sigma: float, steps: int = 300) -> Tensor:
    """The minimum of E_σ in the MAP's basin, (B, C, H, W): D where the preconditioned fixed-point iteration settles.

    The iteration x ← x + d (`preconditioned_direction`) starts at the exact MAP less σ² ∇log p there, which a Gaussian
    prior's x would be. Where it is slow (coordinates that nothing measures, at small σ), Newton's method on d = 0 goes
    on from there; d is affine in (x, D), and ∂D/∂x = Cov/σ². Of an image that does not settle the answer is NaN, and
    another basin may hold a lower minimum of E_σ.
    """
    best, small = case.posterior.map(), case.prior.sigma_min
    x = best + (sigma / small) ** 2 * (best - case.prior(best, small))
    b, n = len(x), x[0].numel()

    def direction(point: Tensor, denoised: Tensor, y: Tensor) -> Tensor:
        return preconditioned_direction(point, denoised, y, case.operator, case.noise_std, sigma)

    for _ in range(steps):
        x = x + direction(x, case.prior(x, sigma), case.y)
    for _ in range(30):
        d = direction(x, case.prior(x, sigma), case.y)
        if d.abs().max() < 1e-11:
            break
        jacobian = case.prior.covariance(x, sigma) / sigma**2
        basis = torch.eye(n, dtype=x.dtype)
        columns = [
            direction(basis[i].expand(b, n).reshape(x.shape), jacobian[..., i].reshape(x.shape), 0 * case.y).flatten(1)
            for i in range(n)
        ]
        x = x - torch.linalg.solve(torch.stack(columns, dim=-1), d.flatten(1)[..., None]).reshape(x.shape)
    mode = case.prior(x, sigma)
    settled = direction(x, mode, case.y).flatten(1).abs().amax(dim=1) < 1e-7
    return torch.where(settled[:, None, None, None], mode, torch.nan)


def run(images: int) -> pd.DataFrame:
    """One row per problem, method, budget and split.

    `sigma_last` is the last σ that was asked; `gap_map` the gap to the MAP in −log posterior, `gap_mode` that to the
    smoothed mode in E_σ, `mode_gap` that of the smoothed mode to the MAP in −log posterior: medians over images, in
    nats. `distance_map` and `distance_mode` are medians of distances to the two. `settled` is the share of images whose
    smoothed mode was found; the others are left out of its medians.
    """
    rows = []
    for prior, task, noise_std in PLACES:
        case = problem(SHAPE, task, noise_std, images, **PRIORS[prior])
        place = {"prior": prior, "task": task, "noise_std": noise_std, "n": images}
        modes = lru_cache(maxsize=None)(lambda sigma, case=case: smoothed_mode(case, sigma))
        for loop, budget in product(LOOPS, BUDGETS):
            if noise_std > 0 or not loop.noisy:
                for levels, steps in loop.splits(budget):
                    setting = {"method": loop.title, "budget": budget, "levels": levels, "inner_steps": steps}
                    rows.append({**place, **setting, **measure(case, loop.config(levels, steps), modes)})
        print(*place.values(), "done", flush=True)
    return pd.DataFrame(rows)


def measure(case: Problem, config: dict[str, object], modes) -> dict[str, float]:
    """One sampler on one problem: the columns of `run`; `modes` is `smoothed_mode` of the problem by σ."""
    prior = LastAsked(case.prior)
    denoiser = Denoiser(prior)
    answer = instantiate(config).restore(case.y, case.operator, case.noise_std, denoiser, case.noise("method"))
    best, mode = case.posterior.map(), modes(prior.sigma)
    energy, least = (smoothed_energy(case, z, prior.sigma) for z in (answer, mode.nan_to_num()))
    settled = mode.flatten(1).isfinite().all(dim=1)

    def median(values: Tensor, kept: Tensor | None = None) -> float:
        values = values if kept is None else values[kept]
        return float(values.median()) if len(values) else float("nan")

    return {
        "nfe": denoiser.nfe,
        "vjp": denoiser.vjps,
        "sigma_last": prior.sigma,
        "gap_map": median(case.posterior.map_gap(answer)),
        "gap_mode": median(energy - least, settled),
        "mode_gap": median(case.posterior.map_gap(mode.nan_to_num()), settled),
        "distance_map": median((answer - best).flatten(1).norm(dim=1)),
        "distance_mode": median((answer - mode).flatten(1).norm(dim=1), settled),
        "settled": float(settled.double().mean()),
    }


def best_splits(table: pd.DataFrame) -> pd.DataFrame:
    """Of each problem, method and budget the split whose median gap to the MAP is least."""
    groups = table.groupby(["prior", "task", "noise_std", "method", "budget"], sort=False)
    return table.loc[groups.gap_map.idxmin()]


def to_markdown(table: pd.DataFrame) -> str:
    """Methods against budgets, a table per problem."""
    best = best_splits(table)
    lines = [ABOUT.format(images=int(table.n.max()))]
    for (prior, task, noise_std), here in best.groupby(["prior", "task", "noise_std"], sort=False):
        rows = []
        for title, row in here.groupby("method", sort=False):
            cells = {int(cell.budget): cell for cell in row.itertuples()}
            rows.append([title, *(told(cells[budget]) if budget in cells else "–" for budget in BUDGETS)])
        lines += [
            "",
            f"## {prior}, {task}, σ_y = {noise_std:g}",
            "",
            *markdown(("method", *map(str, BUDGETS)), rows, left=[0]),
        ]
    return "\n".join(lines) + "\n"


def told(row) -> str:
    """One cell."""
    gaps = (number(value if abs(value) >= 5e-5 else 0.0, 4, significant=3) for value in (row.gap_map, row.gap_mode))
    return "{} / {}, {}×{}, {}".format(*gaps, row.levels, row.inner_steps, number(row.sigma_last, 3, significant=2))


ABOUT = """# Outer loops at equal compute

Each cell: gap to the exact MAP / gap to the mode of the posterior smoothed at the last σ (medians over {images} images,
in nats), levels × inner steps, and that last σ. Columns: evaluations + vector-Jacobian products. Of all splits of a
budget the one with the least gap to the MAP; all are in outer_loops.csv. Made by
`python -m vml_bench.studies.outer_loops`, whose docstring defines both gaps."""


def draw(table: pd.DataFrame) -> Figure:
    """Both gaps of the best splits against compute: columns by problem, a line per method."""
    best = best_splits(table)
    places = list(best.groupby(["prior", "task", "noise_std"], sort=False))
    figure = Figure(figsize=(2.5 * len(places), 7), dpi=120, layout="constrained")
    axes = figure.subplots(2, len(places), sharex=True, sharey="row", squeeze=False)
    for ((prior, task, noise_std), here), (above, below) in zip(places, axes.T, strict=True):
        for loop in LOOPS:
            rows = here[here.method == loop.title].sort_values("budget")
            style, colour = loop.line
            for axis, column in ((above, "gap_map"), (below, "gap_mode")):
                axis.plot(
                    rows.nfe + rows.vjp,
                    rows[column].clip(FLOOR, CEILING),
                    style,
                    color=colour,
                    marker=".",
                    label=loop.title,
                    linewidth=1.3,
                )
        above.set_title(f"{prior}, {task}\nσ_y = {noise_std:g}", fontsize=9)
        below.set_xlabel("evaluations + products")
        for axis in (above, below):
            axis.set(xscale="log", yscale="log")
            axis.grid(alpha=0.2)
    axes[0, 0].set_ylabel("median gap to the exact MAP, nats")
    axes[1, 0].set_ylabel("median gap to the mode of the\nposterior smoothed at the last σ, nats")
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle("MAP methods by outer loop, each at the split of its budget that is nearest to the MAP")
    return figure


def main() -> None:
    options = arguments("MAP-GA and VML-MAP by outer loop: gaps at equal compute.", images=16)
    table = run(options.images)
    write(options.out, "outer_loops", table, draw(table))
    write_files(options.out, {"outer_loops.md": to_markdown(table)})
    print(to_markdown(table))


if __name__ == "__main__":
    main()
