"""How near the VML methods come to the exact MAP for how much compute.

    python -m vml_bench.studies.convergence --out results/studies

Compute is network evaluations plus vector-Jacobian products. The preconditioned method with the Jacobian
(`vml_map_pre`) and the fixed point without it run over levels × inner steps × moves, and from their defaults
(conf/method) each other hyperparameter is varied alone. The priors are the mixture of conf/prior/gmm.yaml on 1×4×8 and
on 3×8×8 images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import pandas as pd
import torch
from hydra.utils import instantiate
from matplotlib.figure import Figure

from vml_bench.configuration import option
from vml_bench.denoiser import Denoiser
from vml_bench.studies.problems import Problem, arguments, problem, write

SHAPES = ((3, 8, 8), (1, 4, 8))
TASKS = ("random_projection", "sr4", "inpaint_random")
NOISE_STDS = (0.0, 1e-3, 0.05, 0.3)
METHODS = {"vml_map_pre": "#d1495b", "vml_fixed_point": "#1b6ca8"}
MOVES = {"stationary": "-", "flow": "--", "renoise": ":"}
KNOBS = ("levels", "inner_steps", "step_size", "move", "start", "rho", "sigma_max", "sigma_min")
FLOOR = 1e-7
"""Smaller gaps are drawn here."""
REQUIRED = 0.05
"""Nats: the median gap that the defaults must keep."""


VARIED = {
    "step_size": (0.5, 1.0, 1.5, 1.8, 2.2),
    "start": ("noise", "centre"),
    "rho": (3.0, 5.0, 7.0, 10.0),
    "sigma_max": (None, 10.0, 5.0, 2.0),
    "sigma_min": (None, 0.01, 0.02, 0.05),
}
"""What is varied alone, the rest as configured."""
UNTUNED = {"step_size": 1.0, "move": "flow", "start": "noise", "inner_steps": 5, "sigma_max": None, "sigma_min": None}


@dataclass(frozen=True)
class Setting:
    """One method with hyperparameters in place of its configured ones.

    Attributes:
        method: its name in conf/method.
        sweep: the series it belongs to: "compute", "default", "untuned", or the hyperparameter that is varied.
        changes: of the sampler's or its schedule's hyperparameters, by name.
    """

    method: str
    sweep: str
    changes: dict[str, object]

    @property
    def config(self) -> dict[str, object]:
        """The sampler's whole configuration."""
        sampler = option("method", self.method)["sampler"]
        schedule = {name: self.changes.get(name, value) for name, value in sampler["schedule"].items()}
        return {name: self.changes.get(name, value) for name, value in sampler.items()} | {"schedule": schedule}


def settings() -> Iterator[Setting]:
    """All that is run on every problem."""
    for method in METHODS:
        yield Setting(method, "default", {})
        for move, levels, inner_steps in product(MOVES, (10, 20, 40), (1, 2, 3, 5, 10)):
            yield Setting(method, "compute", {"move": move, "inner_steps": inner_steps, "levels": levels})
        for name, values in VARIED.items():
            yield from (Setting(method, name, {name: value}) for value in values)
        yield Setting(method, "untuned", UNTUNED)


def measure(case: Problem, setting: Setting) -> dict[str, object]:
    """One setting on one problem: its hyperparameters, its compute, and how near to the MAP it ends.

    `gap_*` are quantiles over images of the gap in log posterior, in nats; `wrong_mode` is the share of images whose
    answer belongs to another component than the MAP; `diverged` that of images without a finite answer.
    """
    config, denoiser = setting.config, Denoiser(case.prior)
    answer = instantiate(config).restore(case.y, case.operator, case.noise_std, denoiser, case.noise("method"))
    finite = answer.flatten(1).isfinite().all(dim=1)
    answer = answer.nan_to_num(0, 0, 0)
    gap = case.posterior.map_gap(answer).where(finite, torch.tensor(torch.inf))
    component, right = (case.prior.log_joint(x).argmax(dim=1) for x in (answer, case.posterior.map()))
    knobs = {**config, **config["schedule"]}
    return {
        **{"method": setting.method, "sweep": setting.sweep},
        **{name: knobs[name] for name in KNOBS},
        **{"nfe": denoiser.nfe, "vjp": denoiser.vjps, "gap_median": float(gap.median())},
        "gap_p90": float(gap.quantile(0.9, interpolation="nearest")),
        "wrong_mode": float((component != right).double().mean()),
        "diverged": float((~finite).double().mean()),
    }


def run(images: int) -> pd.DataFrame:
    """One row per setting and problem; the third task sees only the defaults and the untuned settings."""
    rows = []
    for shape, task, noise_std in product(SHAPES, TASKS, NOISE_STDS):
        case = problem(shape, task, noise_std, images)
        place = {"shape": "×".join(map(str, shape)), "task": task, "noise_std": noise_std, "n": images}
        for setting in settings():
            if task != TASKS[-1] or setting.sweep in ("default", "untuned"):
                rows.append({**place, **measure(case, setting)})
        print(*place.values(), "done", flush=True)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """Median gap against compute: rows by prior and task, columns by σ_y, colours by method, lines by move.

    All settings are dots; a line goes through those that nothing cheaper beats.
    """
    table = table.assign(compute=table.nfe + table.vjp, gap=table.gap_median.clip(FLOOR, 1e5))
    places = list(product(["×".join(map(str, shape)) for shape in SHAPES], TASKS[:-1]))
    figure = Figure(figsize=(14, 3.1 * len(places)), dpi=130, layout="constrained")
    axes = figure.subplots(len(places), len(NOISE_STDS), sharex=True, sharey=True)
    for axis, ((shape, task), noise_std) in zip(axes.flat, product(places, NOISE_STDS), strict=True):
        here = table[(table["shape"] == shape) & (table.task == task) & (table.noise_std == noise_std)]
        for (method, colour), (move, style) in product(METHODS.items(), MOVES.items()):
            rows = here[(here.method == method) & (here.move == move) & (here.sweep == "compute")]
            axis.plot(rows.compute, rows.gap, ".", color=colour, alpha=0.25, markersize=3)
            best = rows.groupby("compute").gap.min().cummin()
            axis.plot(best.index, best, style, color=colour, label=f"{method}, {move}", linewidth=1.4)
        for method, colour in METHODS.items():
            point = here[(here.method == method) & (here.sweep == "default")]
            star = {"color": colour, "markersize": 13, "markeredgecolor": "white"}
            axis.plot(point.compute, point.gap, "*", label=f"{method}, default", **star)
        axis.axhline(REQUIRED, color="#888888", linewidth=0.8)
        axis.set(xscale="log", yscale="log")
        axis.grid(alpha=0.2)
        axis.set_title(f"{shape}, {task}, σ_y = {noise_std:g}", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("evaluations + vector-Jacobian products")
    for axis in axes[:, 0]:
        axis.set_ylabel("median gap to the MAP, nats")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"Gap to the exact MAP against compute (dots: every setting; lines: best so far; grey: {REQUIRED})")
    return figure


def main() -> None:
    options = arguments("Gap to the exact MAP against compute.", images=16)
    table = run(options.images)
    write(options.out, "convergence", table, draw(table))
    told = table[table.sweep.isin(["default", "untuned"])].drop(columns=["n", *KNOBS, "diverged"])
    print(told.to_string(index=False))


if __name__ == "__main__":
    main()
