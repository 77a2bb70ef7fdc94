"""Which split of a budget between levels and inner steps does best on tuning crops; the splits of a sweep.

    python -m vml_bench.studies.splits

Of the runs that `vml-bench run experiment=paper_small/tune` left, every method takes at each budget the split whose
mean LPIPS (AlexNet), over all images of all its problems, is lowest; the budget that was not tuned takes the split that
is called as the best of the largest that was. They go into conf/experiment/paper_small/splits.yaml.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from vml_bench.configuration import config_dir, option
from vml_bench.errors import InputError
from vml_bench.store import layout
from vml_bench.store.runs import Run, select_runs
from vml_bench.text import write_files

EXPERIMENT = "paper_small"
DATASET = "photos64_tune"
HEAD = """\
# @package _global_
# How the methods of experiment=paper_small spend a budget of evaluations + products: [levels, inner steps].
# {source}
method:
  splits:
"""

Split = tuple[int, int]
Grid = Mapping[str, Mapping[str, Mapping[str, Sequence[int]]]]
"""By method, budget and the split's name: [levels, inner steps]."""


def grid() -> Grid:
    """The splits that were tuned, from conf/experiment/paper_small/tune.yaml."""
    return option("experiment", f"{EXPERIMENT}/tune")["method"]["grid"]


def split_of(run: Run) -> Split:
    """(levels, inner steps) of a run; raises KeyError where its method has not both."""
    (options,) = run.form["method"].values()
    (schedule,) = options["schedule"].values()
    return schedule["levels"], options["inner_steps"]


def scores(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per image of the runs: method, split, problem, lpips_alex; NaN where the image diverged."""
    return pd.concat(
        [
            pd.DataFrame({"lpips_alex": run.images["lpips_alex"].where(run.images["status"] == layout.OK)}).assign(
                method=run.method, split=[split_of(run)] * len(run.images), problem=run.problem.name
            )
            for run in runs
        ],
        ignore_index=True,
    )


def best_splits(table: pd.DataFrame, tried: Grid) -> dict[str, dict[str, Split]]:
    """The best split of every budget, by method.

    A split on which an image diverged is the best only if one did on all of them. Ties go to the first of the grid.

    Args:
        table: what `scores` returned.
        tried: the splits.

    Raises:
        InputError: a split of a budget that was tuned lacks a problem that others have, or nothing was tuned.
    """
    best: dict[str, dict[str, Split]] = {}
    for method, budgets in tried.items():
        own = table[table["method"] == method]
        problems, done = set(own["problem"]), set(own["split"])
        name, best[method] = None, {}
        for budget, splits in budgets.items():
            pairs = {called: (int(pair[0]), int(pair[1])) for called, pair in splits.items()}
            if done.isdisjoint(pairs.values()) and name:
                best[method][budget] = pairs[name]
                continue
            means = {}
            for called, pair in pairs.items():
                of_pair = own[own["split"].isin([pair])]
                if set(of_pair["problem"]) != problems or of_pair.empty:
                    raise InputError(
                        f"{method} with {pair[0]} levels × {pair[1]} steps did not run on every tuning problem",
                        f"vml-bench run experiment={EXPERIMENT}/tune",
                    )
                means[called] = of_pair["lpips_alex"].mean(skipna=False)
            known = {called: mean for called, mean in means.items() if mean == mean}
            name = min(known or means, key=lambda called: known.get(called, 0.0))
            best[method][budget] = pairs[name]
    return best


def as_yaml(best: Mapping[str, Mapping[str, Split]], source: str) -> str:
    """The text of splits.yaml, with a sentence on where it comes from."""
    lines = [
        f"    {method}: {{{', '.join(f'{budget}: [{pair[0]}, {pair[1]}]' for budget, pair in budgets.items())}}}"
        for method, budgets in best.items()
    ]
    return HEAD.format(source=source) + "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the tuning runs and write splits.yaml."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results") / EXPERIMENT, help="the results folder")
    parser.add_argument("--out", type=Path, default=config_dir() / "experiment" / EXPERIMENT, help="where it goes")
    options = parser.parse_args(arguments)
    tried = grid()
    runs = [run for run in select_runs(options.results, DATASET)[0] if run.method in tried]
    if not runs:
        raise InputError(f"no tuning run under {options.results}", f"vml-bench run experiment={EXPERIMENT}/tune")
    text = as_yaml(
        best_splits(scores(runs), tried), "Written by `python -m vml_bench.studies.splits` (`make tune-paper-small`)."
    )
    for file in write_files(options.out, {"splits.yaml": text}):
        print(file)


if __name__ == "__main__":
    main()
