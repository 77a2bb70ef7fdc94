"""What the authors' programs do beyond their papers' formulas, in dB: the same problems and noise, run both ways.

    python -m vml_bench.studies.programs --results results/programs

Each method of conf/method/published is run as its program, and once more with every option that departs from the
formula at the formula's value, under the same measurements and the same random numbers. Methods of 1,000 evaluations
and more run with fewer (`SHORTER`), on both sides alike. Runs that are done are not run again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pandas as pd
from hydra.utils import get_class

from vml_bench.analysis.leaderboard.intervals import bootstrap_interval
from vml_bench.configuration import option
from vml_bench.identity import AsBefore, canonical, shown
from vml_bench.store.runs import Run, select_runs
from vml_bench.text import bounds, markdown, write_files

SR, MASK, DPS_MASK = (
    ("sr4", "sr4"),
    ("inpaint_random50", "inpaint_random50"),
    ("inpaint_random_dps", "inpaint_random_dps"),
)
SCRAMBLED, GAUSS = ("deblur_uniform_ddrm", "deblur_uniform"), ("deblur_gauss", "deblur_gauss")
DIFFPIR_GAUSS = ("deblur_gauss_diffpir", "deblur_gauss_diffpir")
TASKS = {
    "ddrm": (SR, MASK, SCRAMBLED),
    "ddnm": (SR, MASK, SCRAMBLED),
    "dps": (SR, DPS_MASK, GAUSS),
    "daps": (SR, MASK, GAUSS),
    "diffpir": (SR, MASK, DIFFPIR_GAUSS),
    "reddiff": (SR, MASK, SCRAMBLED),
    "pigdm": (SR, MASK, SCRAMBLED),
}
"""Of each method the program's tasks and the formula's: those programs that take DDRM's blurs measure with its order of
singular values, where the formula has the blur that it is named for."""
OWN = {("dps", "inpaint_random_dps"): {"task.operator.noise_on_unseen": "false"}}
"""Settings of the formula's task, where the program's measurement differs too."""
NOISE_STD = 0.05
SHORTER = {
    "dps": ({"method.sampler.variance": "small", "method.sampler.schedule.levels": "100"}, 10),
    "daps": ({"method.sampler.schedule.levels": "41"}, 1),
    "reddiff": ({"method.sampler.schedule.levels": "100"}, 1),
}
"""Settings of both sides, and the factor on the step's size that keeps levels × size."""
FORMULA = {
    "daps": {"method.sampler.schedule.levels": "40"},
    "pigdm": {"method.sampler.adaptive_weight": "true"},
}
"""Further settings of the formula's side: of its 41 levels DAPS's program visits 40."""


def formula(method: str) -> dict[str, str]:
    """Values that set each option that departs from the formula back to the formula's, by the override's key."""
    sampler = option("method", f"published/{method}")["sampler"]
    hints = get_type_hints(get_class(sampler["_target_"]), include_extras=True)
    marks = {key: mark for key, hint in hints.items() for mark in get_args(hint)[1:] if isinstance(mark, AsBefore)}
    return {f"method.sampler.{key}": shown(canonical(marks[key].value)) for key in sampler if key in marks}


def cells(limit: int) -> Iterator[tuple[str, list[str]]]:
    """(method, overrides of `vml-bench run`) of every cell: each method's program, then its formula, task by task."""
    for method, tasks in TASKS.items():
        shorter, factor = SHORTER.get(method, ({}, 1))
        for task, plain in tasks:
            common = {"dataset": "photos64", "method": f"published/{method}", "runner.limit": str(limit)}
            common |= {"task.noise_std": str(NOISE_STD), **shorter}
            if factor != 1:
                scale = option("method", f"published/{method}")["tasks"][task]["scale"]
                common["method.sampler.scale"] = f"{factor * scale:g}"
            program = {**common, "task": task, "method.name": f"{method}_program"}
            twin = {**common, **formula(method), **shorter, **FORMULA.get(method, {}), **OWN.get((method, task), {})}
            twin |= {"task": plain, "method.name": f"{method}_formula"}
            for side in (program, twin):
                yield method, [f"{key}={value}" for key, value in side.items()]


def table(results: Path) -> pd.DataFrame:
    """One row per method and task: PSNR and LPIPS of both sides, and the paired difference, program less formula."""
    runs = {(run.method, run.task): run for run in select_runs(results, "photos64")[0]}
    rows = []
    for method, tasks in TASKS.items():
        for task, plain in tasks:
            pair = runs.get((f"{method}_program", task)), runs.get((f"{method}_formula", plain))
            if all(pair):
                rows.append({"method": method, "task": task, "against": plain, **differences(*pair)})
    return pd.DataFrame(rows)


def differences(program: Run, plain: Run) -> dict[str, Any]:
    """Means of both sides over their common images, and the mean of the paired difference with its 95 % interval."""
    both = program.good.merge(plain.good, on="image_id", suffixes=("", "_formula"))
    row: dict[str, Any] = {"n": len(both)}
    for metric in ("psnr", "lpips_alex"):
        ours, theirs = (both[name].to_numpy(np.float64) for name in (metric, f"{metric}_formula"))
        low, high = bootstrap_interval(ours - theirs)
        row |= {f"{metric}_program": ours.mean(), f"{metric}_formula": theirs.mean()}
        row |= {f"{metric}_difference": (ours - theirs).mean(), f"{metric}_low": low, f"{metric}_high": high}
    return row


def to_markdown(frame: pd.DataFrame) -> str:
    """The table as Markdown."""
    head = ("method", "task", "n", "PSNR program", "formula", "difference", "LPIPS program", "formula", "difference")
    rows = []
    for row in frame.to_dict("records"):
        task = row["task"] if row["task"] == row["against"] else f"{row['task']}, formula on {row['against']}"
        rows.append([row["method"], task, str(row["n"]), *told(row, "psnr", 2), *told(row, "lpips_alex", 3)])
    return "\n".join([ABOUT, "", *markdown(head, rows, left=[0, 1])]) + "\n"


def told(row: Mapping[str, Any], metric: str, digits: int) -> list[str]:
    """The three cells of one metric."""
    interval = bounds(row[f"{metric}_low"], row[f"{metric}_high"], digits)
    first, second = (f"{row[f'{metric}_{side}']:.{digits}f}" for side in ("program", "formula"))
    return [first, second, f"{row[f'{metric}_difference']:+.{digits}f} {interval}"]


ABOUT = f"""# Programs and formulas

photos64, σ_y = {NOISE_STD}, equal measurements and random numbers; difference: program less formula, with its 95 %
interval over images. DPS runs 100 levels (ζ times 10, DDPM's smaller variance: this prior learned none), DAPS 40,
RED-diff 100; the others as published. Made by `python -m vml_bench.studies.programs`."""


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, and write programs.csv and programs.md."""
    parser = argparse.ArgumentParser(prog="python -m vml_bench.studies.programs", description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results/programs"))
    parser.add_argument("--limit", type=int, default=16, help="images (default: %(default)s)")
    parser.add_argument("--method", action="append", help="only these methods")
    parser.add_argument("overrides", nargs="*", help="further overrides of every cell, such as compute.dtype=bfloat16")
    given = parser.parse_args(arguments)
    for method, overrides in cells(given.limit):
        if given.method and method not in given.method:
            continue
        command = [sys.executable, "-m", "vml_bench.cli", "run", *overrides, f"runner.results_dir={given.results}"]
        subprocess.run([*command, *given.overrides], check=True)
    frame = table(given.results)
    write_files(given.results, {"programs.csv": frame.to_csv(index=False), "programs.md": to_markdown(frame)})
    print(to_markdown(frame))
    return 0


if __name__ == "__main__":
    sys.exit(main())
