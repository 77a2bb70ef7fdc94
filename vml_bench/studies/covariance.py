"""What dropping the covariance terms costs: minimisers of VML and of VML_S beside the exact MAP.

    python -m vml_bench.studies.covariance --out results/studies

At each σ_t both losses (`vml_bench.methods.loss`) are minimised by Newton's method in float64 from the same four
starts: the three components' own stationary points m_k + σ_t² Hᵀ(y − H m_k)/σ_y², m_k the component's posterior mean,
and one random x_t. "Lowest" is the lowest minimum that a loss reaches from the four (at large σ_t the exact loss may
have lower ones), "nearby" the one reached from the start that belongs to the MAP's component. The prior is the mixture
of conf/prior/gmm.yaml on 1×4×8 images, the task 12 random measurements.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import grad, hessian, vmap

from vml_bench.methods.loss import covariance_terms, simplified_loss
from vml_bench.studies.problems import Problem, arguments, problem, write

SIGMAS = (5.0, 1.0, 0.3, 0.1, 0.03, 0.01)
NOISE_STDS = (1e-3, 0.05, 0.3)
SAME_POINT = 1e-3
"""Two answers nearer than this are one."""
FLOOR = 1e-8
"""Smaller values are drawn here."""
VML, VML_S = ("VML, exact", "#1b6ca8", "s"), ("VML_S, terms dropped", "#d1495b", "o")
PANELS = {
    "lowest minimum:\ngap to the MAP, nats": {"lowest_gap_vml": VML, "lowest_gap_vml_s": VML_S},
    "minimum nearby the MAP:\ngap to the MAP, nats": {"nearby_gap_vml": VML, "nearby_gap_vml_s": VML_S},
    "‖D_VML − D_VML_S‖": {
        "lowest_distance": ("lowest", "#3d3d3d", "o"),
        "nearby_distance": ("nearby", "#e9a23b", "s"),
    },
}
"""The rows of the figure: what is drawn, its label, colour and marker."""

Loss = Callable[[Tensor, Tensor], Tensor]


def losses(case: Problem, sigma: float) -> dict[str, Loss]:
    """VML and VML_S at σ_t as functions of x and y, (B, C, H, W) and (B, *measurement) -> (B,), both without c."""

    def vml_s(x: Tensor, y: Tensor) -> Tensor:
        return simplified_loss(x, sigma, y, case.operator, case.noise_std, case.prior)

    def vml(x: Tensor, y: Tensor) -> Tensor:
        return vml_s(x, y) + covariance_terms(x, sigma, case.operator, case.noise_std, case.prior)

    return {"vml": vml, "vml_s": vml_s}


def minimise(loss: Loss, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Newton's method image by image, the Hessian's eigenvalues taken by modulus, the step halved until it descends.

    Args:
        loss: (B, C, H, W), (B, *measurement) -> (B,).
        x: starts, (B, C, H, W).
        y: (B, *measurement).

    Returns:
        The minimisers (B, C, H, W) and which of them are converged (B,).
    """

    def single(flat: Tensor, y_one: Tensor) -> Tensor:
        return loss(flat.reshape(1, *x.shape[1:]), y_one[None])[0]

    values, slopes, curvatures = (vmap(f) for f in (single, grad(single), hessian(single)))
    point = x.flatten(1).clone()
    value = values(point, y)
    done = torch.zeros(len(x), dtype=torch.bool)
    for _ in range(200):
        todo = (~done).nonzero().flatten()
        if not len(todo):
            break
        here, data = point[todo], y[todo]
        slope = slopes(here, data)
        eigenvalues, basis = torch.linalg.eigh(curvatures(here, data))
        modulus = eigenvalues.abs()
        modulus = torch.maximum(modulus, 1e-13 * modulus.amax(dim=1, keepdim=True))
        in_basis = (basis.mT @ slope[..., None])[..., 0] / modulus
        direction = -(basis @ in_basis[..., None])[..., 0]
        expected = -(slope * direction).sum(dim=1) / 2
        length = torch.ones_like(expected)
        for _ in range(40):
            reached = values(here + length[:, None] * direction, data)
            short = ~(reached <= value[todo] - 1e-4 * length * expected)
            if not short.any():
                break
            length = torch.where(short, length / 2, length)
        descends = reached < value[todo]
        point[todo] = torch.where(descends[:, None], here + length[:, None] * direction, here)
        value[todo] = torch.where(descends, reached, value[todo])
        done[todo] = expected < 1e-9  # nats by which another step is expected to descend
    return point.reshape(x.shape), done


def starts(case: Problem, sigma: float) -> Tensor:
    """Where both descents begin, (B, S, C, H, W): each component's stationary point and one random x_t."""
    points = []
    for mean in case.posterior.means.unbind(1):
        image = mean.reshape(case.truth.shape)
        pull = case.operator.adjoint(case.y - case.operator.forward(image)) / case.noise_std**2
        points.append(image + sigma**2 * pull)
    noise = case.noise("start").randn_like(case.truth)
    points.append(torch.einsum("k,ki->i", case.prior.weights, case.prior.means).reshape(noise[0].shape) + sigma * noise)
    return torch.stack(points, dim=1)


def minimisers(case: Problem, sigma: float) -> pd.DataFrame:
    """One row per image: distance of D between both losses' minimisers, and of each from the MAP in log posterior."""
    begin = starts(case, sigma)
    many = begin.shape[1]
    y = case.y.repeat_interleave(many, dim=0)
    first = many * torch.arange(len(case.y))
    nearby = first + case.prior.log_joint(case.posterior.map()).argmax(dim=1)
    functions = losses(case, sigma)
    lowest: dict[str, Tensor] = {}
    columns: dict[str, Tensor] = {}
    answers: dict[str, dict[str, Tensor]] = {"lowest": {}, "nearby": {}}
    for name, loss in functions.items():
        reached, done = minimise(loss, begin.flatten(0, 1), y)
        best = first + loss(reached, y).reshape(-1, many).argmin(dim=1)
        lowest[name], columns[f"converged_{name}"] = reached[best], done[best] & done[nearby]
        for which, index in (("lowest", best), ("nearby", nearby)):
            answers[which][name] = case.prior(reached[index], sigma)
            columns[f"{which}_gap_{name}"] = case.posterior.map_gap(answers[which][name]).clamp_min(0)
    for which, pair in answers.items():
        columns[f"{which}_distance"] = (pair["vml"] - pair["vml_s"]).flatten(1).norm(dim=1)
    columns["excess"] = functions["vml"](lowest["vml_s"], case.y) - functions["vml"](lowest["vml"], case.y)
    return pd.DataFrame(columns).assign(image=case.ids, sigma=sigma, noise_std=case.noise_std)


def measure(images: int) -> pd.DataFrame:
    """Every image at every σ_t and σ_y: the columns of `minimisers`.

    *_distance is ‖D_VML − D_VML_S‖; *_gap_* = log p(MAP | y) − log p(D | y) in nats; excess is the divergence, in nats,
    by which VML_S's lowest minimiser misses VML's.
    """
    cases = [problem((1, 4, 8), "random_projection", noise_std, images) for noise_std in NOISE_STDS]
    return pd.concat([minimisers(case, sigma) for case in cases for sigma in SIGMAS], ignore_index=True)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per (σ_y, σ_t): medians, 90th percentiles and shares over images."""
    values = [f"{which}_{what}" for which in ("lowest", "nearby") for what in ("distance", "gap_vml", "gap_vml_s")]
    groups = rows.groupby(["noise_std", "sigma"], sort=True)
    summary = groups.agg(
        n=("image", "size"),
        converged_vml=("converged_vml", "mean"),
        converged_vml_s=("converged_vml_s", "mean"),
        same_lowest=("lowest_distance", lambda distance: (distance < SAME_POINT).mean()),
        excess=("excess", "median"),
    )
    spread = groups[values].quantile([0.5, 0.9]).unstack()
    spread.columns = [f"{name}_{'median' if share == 0.5 else 'p90'}" for name, share in spread.columns]
    return summary.join(spread).reset_index()


def draw(summary: pd.DataFrame) -> Figure:
    """Gap to the MAP, and distance between the two minimisers, against σ_t: one column per σ_y."""
    figure = Figure(figsize=(11, 9), dpi=150, layout="constrained")
    axes = figure.subplots(len(PANELS), len(NOISE_STDS), sharex=True, sharey="row")
    for row, (title, lines) in enumerate(PANELS.items()):
        for axis, noise_std in zip(axes[row], NOISE_STDS, strict=True):
            part = summary[summary.noise_std == noise_std]
            for name, (label, colour, marker) in lines.items():
                median, p90 = (part[f"{name}_{which}"].clip(FLOOR) for which in ("median", "p90"))
                axis.plot(part.sigma, median, f"{marker}-", color=colour, label=f"{label}: median", ms=5)
                axis.plot(part.sigma, p90, ":", color=colour, label="90th percentile")
            if "gap" in title:
                axis.axhline(0.05, color="#999999", linewidth=0.8)
            axis.set(xscale="log", yscale="log")
            axis.grid(alpha=0.25)
        axes[row, 0].set_ylabel(title)
    for axis, noise_std in zip(axes.T, NOISE_STDS, strict=True):
        axis[0].set_title(f"σ_y = {noise_std:g}")
        axis[-1].set_xlabel("σ_t")
    for axis in (axes[0, -1], axes[-1, -1]):
        axis.legend(fontsize=7, loc="upper left")
    figure.suptitle(
        "What dropping VML's covariance terms costs: mixture of 3 on 1×4×8, 12 random measurements\n"
        f"(values under {FLOOR:g} are drawn at {FLOOR:g}; grey: 0.05 nats)",
        fontsize=11,
    )
    return figure


def main() -> None:
    options = arguments("What dropping VML's covariance terms costs.", images=12)
    summary = summarise(measure(options.images))
    write(options.out, "covariance", summary, draw(summary))
    print(summary.to_string(index=False))


if __name__ == "__main__":
    main()
