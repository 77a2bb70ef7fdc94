"""Each claim against what is on disk, under every problem and every convention that its wording could mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd

from vml_bench.analysis.published.claims import METRICS, Claim
from vml_bench.columns import BY_NAME
from vml_bench.configuration import named_options
from vml_bench.identity import form_of, in_words, settings_of
from vml_bench.weights.catalogue import FETCHABLE

NEAR = 0.05
"""Near: within this fraction of the published value …"""
NEAR_DB = 0.5
"""… or, for PSNR, within so many dB."""

REPRODUCED, NEAR_BY, OFF, NOT_SCORED, NOT_RUN = "reproduced", "near", "off", "not scored", "not run"
NOT_HERE = "not here"
"""Of a claim about a method or a task that this project does not have."""

COLUMNS = (
    *("claim", "paper", "method_published", "dataset_published", "task_published", "metric", "published", "source"),
    *("noise_std_published", "own", "network", "protocol", "unsafe", "open", "remark", "methods"),
    *("task", "noise_std", "problem", "title", "method", "label", "settings", "prior", "run", "convention"),
    *("ours", "low", "high", "n", "diverged", "difference", "verdict", "note"),
)


def verdict(metric: str, published: float, ours: float, low: float, high: float) -> str:
    """What a measured value says about a published one.

    Args:
        metric: one of `METRICS`.
        published: the claim's value.
        ours: the measured value, NaN where there is none.
        low: lower bound of its 95 % interval, NaN where there is no interval.
        high: upper bound.

    Returns:
        "reproduced" where the published value lies in the interval; else "near" within 5 % of the published value
        (PSNR: within 0.5 dB); else "off". "not scored" where nothing was measured.
    """
    if math.isnan(ours):
        return NOT_SCORED
    if low <= published <= high:
        return REPRODUCED
    reach = NEAR_DB if metric == "PSNR" else NEAR * abs(published)
    return NEAR_BY if abs(ours - published) <= reach else OFF


def compare(claims: Sequence[Claim], frame: pd.DataFrame | None) -> pd.DataFrame:
    """Compare claims with a leaderboard.

    Args:
        claims: about the leaderboard's data set.
        frame: from `vml_bench.analysis.leaderboard.build`; None where nothing was run.

    Returns:
        One row for each claim, candidate task, convention of the metric and run; one row saying "not run" where there
        is no run, and "not here" where this project has no such method or task. Columns: `COLUMNS`;
        title is the task and what tells the run's problem from others, label the method and what sets the run apart,
        `ours` the measured value, difference is measured minus published. The note says what keeps a row from
        comparing like with like: another operator, settings or network, fewer images, another noise level.
    """
    rows = [row for number, claim in enumerate(claims, 1) for row in _rows(number, claim, frame)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(number: int, claim: Claim, frame: pd.DataFrame | None) -> Iterator[dict[str, object]]:
    about = {
        "claim": number,
        "paper": claim.paper,
        "method_published": claim.method,
        "dataset_published": claim.dataset,
        "task_published": claim.task,
        "metric": claim.metric,
        "published": claim.value,
        "noise_std_published": math.nan if claim.noise_std is None else claim.noise_std,
        **{key: getattr(claim, key) for key in ("source", "own", "network", "protocol", "unsafe", "open", "remark")},
        "methods": " or ".join(claim.methods),
    }
    if not claim.methods or not claim.candidates:
        lacking = "method" if not claim.methods else "task"
        task = " or ".join(claim.candidates)
        yield about | {"task": task, "title": task, "verdict": NOT_HERE, "note": f"no such {lacking} here"}
        return
    for task in claim.candidates:
        runs = [] if frame is None else _runs(frame, task, claim.methods)
        for convention in METRICS[claim.metric]:
            for run in runs:
                yield about | _measured(claim, run, convention)
            if not runs:
                waiting = {"task": task, "title": task, "convention": convention}
                yield about | waiting | {"verdict": NOT_RUN, "note": ""}


def _runs(frame: pd.DataFrame, task: str, methods: Sequence[str]) -> list[pd.Series]:
    """The rows of a leaderboard about a task and any of several methods, and what each is called there."""
    of_task = frame[frame["task"] == task]
    most = of_task.groupby("problem")["n"].max()
    runs = []
    for i, row in of_task[of_task["method"].isin(methods)].iterrows():
        heading = frame.attrs["headings"].get((row["task"], row["problem"]), "")
        asked = frame.attrs["problems"].get(row["problem"], {})
        told = {"label": frame.attrs["labels"][i], "title": f"{task} · {heading}" if heading else task}
        told |= {"most": most[row["problem"]], "operator": in_words(_operator(task, asked))}
        runs.append(pd.Series({**row, **told}))
    return runs


def _operator(task: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """How a problem's operator differs from the configured task of that name; empty where there is no such task."""
    try:
        configured = form_of(named_options("task")[task]["operator"], ("image_shape", "dtype"))
        differing = settings_of(asked["operator"], configured)
    except (KeyError, ValueError, TypeError, AttributeError, ImportError, StopIteration):
        return {}
    return {"operator" if key == "sampler" else key: value for key, value in differing.items()}


def _measured(claim: Claim, run: pd.Series, convention: str) -> dict[str, object]:
    ours, low, high = (float(run[f"{convention}{end}"]) for end in ("", "_low", "_high"))
    own = ("task", "noise_std", "problem", "title", "method", "label", "settings", "prior", "run", "n", "diverged")
    return {
        **{key: run[key] for key in own},
        "convention": convention,
        "ours": ours,
        "low": low,
        "high": high,
        "difference": ours - claim.value,
        "verdict": verdict(claim.metric, claim.value, ours, low, high),
        "note": "; ".join(_notes(claim, run, convention, ours)),
    }


def _notes(claim: Claim, run: pd.Series, convention: str, ours: float) -> Iterator[str]:
    """What keeps a row from comparing like with like, as far as it is known."""
    if math.isnan(ours):
        features = BY_NAME[convention].features
        yield f"vml-bench leaderboard --features {features}" if features else f"run again with {convention} in metrics"
    for part, own in (("task", run["operator"]), ("method", run["settings"])):
        if own:
            yield f"{part} with {own}, not as configured"
    if claim.network and str(run["prior"]).partition("@")[0] not in _networks().get(claim.network, ()):
        yield f"published with {claim.network}"
    if claim.noise_std is not None and not math.isclose(claim.noise_std, run["noise_std"], abs_tol=1e-9):
        yield f"published at σ_y = {claim.noise_std:g}"
    if claim.images is not None and claim.images != run["n"]:
        yield f"published on {claim.images} images"
    if run["n"] < run["most"]:
        yield f"on {run['n']} of the {run['most']} images of its table"
    if run["diverged"]:
        yield f"{run['diverged']} diverged images left out"


@lru_cache(maxsize=1)
def _networks() -> dict[str, tuple[str, ...]]:
    """For the file name of each published checkpoint, the names of the priors that it makes."""
    suffix = "-prior"
    found: dict[str, tuple[str, ...]] = {}
    for resource in FETCHABLE:
        if resource.name.endswith(suffix):
            for file in resource.files:
                found[file] = (*found.get(file, ()), resource.name.removesuffix(suffix))
    return found
