"""Runs that compare at one budget and one noise level, and the paired differences between their methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from vml_bench.analysis.comparison.cells import cells, unit_names
from vml_bench.analysis.comparison.compare import ALPHA, RESAMPLES, compare_cell
from vml_bench.analysis.comparison.paired import draw as draw_resamples
from vml_bench.analysis.comparison.paired import holm, jackknife, paired_bootstrap
from vml_bench.columns import BY_NAME, LPIPS, LPIPS_VGG, PSNR, SSIM, Column
from vml_bench.errors import InputError
from vml_bench.metrics.frechet import frechet_distance
from vml_bench.store.features import read_originals
from vml_bench.store.runs import Run

DATASET = "photos64"
BUDGETS = (20, 50, 100, 200, 1000)
PAPERS = ("vml_map_library", "vml_map_pre_library", "vml_map", "vml_map_pre")
"""The paper's method, plain and preconditioned, in both outer loops."""
RIVALS = ("ddrm_published", "ddrm_library", "pigdm", "pigdm_library", "mapga", "mapga_np")
"""What the paper compares with."""
FURTHER = ("vml_fixed_point", "vml_fixed_point_library")
"""Without the Jacobian: this project's, not the paper's."""
PRECONDITIONED = (("vml_map_pre_library", "vml_map_library"), ("vml_map_pre", "vml_map"))
"""With the preconditioner and without, by outer loop."""
BLURS = ("blurs", "deblur_")
"""What tasks with an ill-conditioned operator are called together, and how their names begin."""
METRICS = (LPIPS, LPIPS_VGG, PSNR, SSIM)
DISTANCE = BY_NAME["fd_alex"]
"""Fréchet distance between the restorations of a task and their ground truth; it has no value for one image."""


class Setting(NamedTuple):
    """What a column of the tables holds equal."""

    budget: int
    noise_std: float


@dataclass(frozen=True)
class Group:
    """The runs of one setting that compare: every method on every task, on the same images.

    Attributes:
        setting: budget and σ_y.
        runs: by (method, task).
    """

    setting: Setting
    runs: dict[tuple[str, str], Run]

    @cached_property
    def methods(self) -> list[str]:
        """In the order of their cards."""
        return list(dict.fromkeys(run.method for run in sorted(self.runs.values(), key=lambda run: run.card.place)))

    @cached_property
    def tasks(self) -> list[str]:
        """In alphabetical order."""
        return sorted({task for _, task in self.runs})

    @cached_property
    def images(self) -> list[str]:
        """The images' ids."""
        return sorted(next(iter(self.runs.values())).asked)

    def means(self, metric: str) -> pd.DataFrame:
        """Each image's mean over the tasks, one row per image and one column per method; NaN where one diverged."""
        columns = {}
        for method in self.methods:
            scores = [self.runs[method, task].good.set_index("image_id")[metric] for task in self.tasks]
            columns[method] = pd.concat(scores, axis=1).reindex(self.images).mean(axis=1, skipna=False)
        return pd.DataFrame(columns)

    @cached_property
    def distances(self) -> pd.DataFrame:
        """The mean of `DISTANCE` over the tasks, a column per method: in the first row over all images, then without
        each photograph in turn. Images that a run lost count for none; empty where a run has no features.

        `attrs["n"]` is the number of images.
        """
        runs, network = list(self.runs.values()), DISTANCE.features
        images = sorted(set.intersection(*({*run.good["image_id"]} for run in runs)))
        truth, _ = read_originals(runs[0].originals)
        if not images or any(of.missing(network, images) for of in (truth, *(run.features for run in runs))):
            return pd.DataFrame()
        photographs = np.array(unit_names(DATASET, images))
        chosen = [np.full(len(images), True), *(photographs != name for name in np.unique(photographs))]
        reference, columns = truth.rows(network, images), {}
        for method in self.methods:
            restored = [self.runs[method, task].features.rows(network, images) for task in self.tasks]
            columns[method] = [
                np.mean([frechet_distance(x[rows], reference[rows]) for x in restored]) for rows in chosen
            ]
        table = pd.DataFrame(columns)
        table.attrs["n"] = len(images)
        return table


def budget_of(compute: float) -> int | None:
    """The least budget that holds so many evaluations and products; None for none, or for more than the largest."""
    return next((budget for budget in BUDGETS if 0 < compute <= budget), None)


def groups(runs: Iterable[Run]) -> list[Group]:
    """The runs by setting, by σ_y and then budget; tasks that not every method of a setting ran are left out.

    Raises:
        InputError: a method ran twice on one task at one setting.
    """
    found: dict[Setting, dict[tuple[str, str], Run]] = {}
    for run in runs:
        budget = budget_of(float((run.images["nfe"] + run.images["vjp"]).mean()))
        if budget is None:
            continue
        own = found.setdefault(Setting(budget, run.noise_std), {})
        if (run.method, run.task) in own:
            raise InputError(f"two runs of {run.label} cost about {budget}", f"take one away: {run.folder}")
        own[run.method, run.task] = run
    whole = []
    for setting, own in sorted(found.items(), key=lambda item: (item[0].noise_std, item[0].budget)):
        methods = {method for method, _ in own}
        tasks = {task for _, task in own if all((method, task) in own for method in methods)}
        if tasks:
            whole.append(Group(setting, {key: run for key, run in own.items() if key[1] in tasks}))
    return whole


def differences(group: Group, column: Column) -> pd.DataFrame:
    """One row per pair of a paper's method and another: `difference` of their means over tasks, first less second.

    `low` and `high` bound it at 95 %, `p_holm` is over all pairs of the group, and `better` is +1 or −1 where the first
    is better or worse beyond chance, else 0.
    """
    methods = group.methods
    others = [method for method in (*RIVALS, *FURTHER) if method in methods]
    pairs = [(own, other) for own in (*PAPERS, *FURTHER) if own in methods for other in others if own != other]
    pairs = [(own, other) for own, other in pairs if own not in FURTHER or other in RIVALS]
    return with_holm(tested(group, column, pairs), column)


def tested(group: Group, column: Column, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Pairs of methods over the group's tasks: the paired bootstrap of their images' means, and of a distance, which no
    image has of its own, the jackknife over photographs."""
    if column is DISTANCE:
        table = group.distances
        gaps = np.stack([(table[own] - table[other]).to_numpy() for own, other in pairs], axis=1)
        test = jackknife(gaps[0], gaps[1:]).assign(n=table.attrs["n"])
    else:
        means = group.means(column.name)
        names, unit = np.unique(unit_names(DATASET, list(means.index)), return_inverse=True)
        gaps = np.stack([(means[own] - means[other]).to_numpy() for own, other in pairs], axis=1)
        test = paired_bootstrap(gaps, unit, draw_resamples(len(names), RESAMPLES))
    told = {"budget": group.setting.budget, "noise_std": group.setting.noise_std, "metric": column.name}
    return pd.DataFrame(pairs, columns=["method", "other"]).assign(**told).join(test)


def with_holm(test: pd.DataFrame, column: Column) -> pd.DataFrame:
    """A table of pairs with Holm's correction over all of them, and who is better."""
    test["p_holm"] = holm(test["p"].to_numpy())
    apart = test["p_holm"].to_numpy() < ALPHA
    test["better"] = np.where(apart, np.sign(column.better * test["difference"]), 0).astype(int)
    return test


def preconditioning(group: Group, column: Column) -> pd.DataFrame:
    """What the preconditioner changes, as `differences`, apart for blurs and for the other tasks (`kind`).

    Holm's correction is over the pairs of both.
    """
    pairs = [pair for pair in PRECONDITIONED if set(pair) <= set(group.methods)]
    found = []
    for kind, blurs in ((BLURS[0], True), ("holes, super-resolution", False)):
        tasks = [task for task in group.tasks if task.startswith(BLURS[1]) == blurs]
        if tasks and pairs:
            own = Group(group.setting, {key: run for key, run in group.runs.items() if key[1] in tasks})
            found.append(tested(own, column, pairs).assign(kind=kind))
    return with_holm(pd.concat(found, ignore_index=True), column) if found else pd.DataFrame()


def wins(group: Group, column: Column) -> pd.DataFrame:
    """On how many tasks the first of two methods is better and worse beyond chance (Holm over a task's pairs)."""
    rows = []
    for cell in cells(list(group.runs.values())):
        pairs, _ = compare_cell(cell, column, "auto")
        for pair in pairs.itertuples():
            first = (pair.better == "a") - (pair.better == "b")
            rows += [(pair.method_a, pair.method_b, first), (pair.method_b, pair.method_a, -first)]
    table = pd.DataFrame(rows, columns=["method", "other", "sign"])
    counted = table.assign(wins=table["sign"] > 0, losses=table["sign"] < 0)
    return counted.groupby(["method", "other"])[["wins", "losses"]].sum()


def mean_table(groups: Sequence[Group]) -> pd.DataFrame:
    """One row per setting and method: the mean over tasks and images of every metric, with cost and divergence."""
    rows = []
    for group in groups:
        for method in group.methods:
            own = [group.runs[method, task] for task in group.tasks]
            images = pd.concat([run.images for run in own])
            rows.append(
                {
                    **{"noise_std": group.setting.noise_std, "budget": group.setting.budget, "method": method},
                    **{"tasks": len(group.tasks), "n": len(group.images)},
                    **{"diverged": sum(len(run.images) - len(run.good) for run in own)},
                    **{name: images[name].mean() for name in ("nfe", "vjp")},
                    **{column.name: group.means(column.name)[method].mean() for column in METRICS},
                }
            )
    return pd.DataFrame(rows)
