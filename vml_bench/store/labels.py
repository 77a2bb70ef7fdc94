"""What problems and runs are called where several stand together: by what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vml_bench.identity import flat, in_words, shown
from vml_bench.store.runs import Problem, Run


def differences(problems: Sequence[Problem]) -> dict[Problem, str]:
    """What tells each problem from the others of its task and noise level, "factor 2"; empty where it is alone."""
    told, found = {problem: _told(problem) for problem in problems}, {}
    for problem, own in told.items():
        about = (problem.dataset, problem.task, problem.noise_std)
        kin = [form for other, form in told.items() if (other.dataset, other.task, other.noise_std) == about]
        words = [f"{key} {shown(own[key])}" for key in own if any(form.get(key) != own[key] for form in kin)]
        lost = dict.fromkeys(f"no {key}" for form in kin for key in form if key not in own)
        found[problem] = ", ".join(words or lost)
    return found


def _told(problem: Problem) -> dict[str, Any]:
    """What a problem is, by words that a heading can show."""
    form = flat({"operator": problem.form.get("operator", {}), "reference": problem.form.get("reference", {})})
    told = {key.removeprefix("operator."): value for key, value in form.items()}
    return {**told, "seed": problem.form.get("seed"), "images": problem.form.get("images")}


def labels(runs: Sequence[Run]) -> list[str]:
    """How the runs of one problem are called in a table: the method and what is its own.

    That is the settings it has otherwise than its configuration, the way of computing and the prior where the table
    has more than one, and, where two would still be called alike, the settings that tell them apart, or their names.
    """
    priors = {run.prior for run in runs if run.prior}
    computes = {in_words(run.form.get("compute", {})) for run in runs if run.prior}
    names = []
    for run in runs:
        words = [in_words(run.settings)] if run.settings else []
        if run.prior and len(computes) > 1:
            words.append(in_words(run.form.get("compute", {})) or "float32")
        if run.prior and len(priors) > 1:
            words.append(run.prior)
        names.append(" · ".join([run.method, *words]))
    for name in {name for name in names if names.count(name) > 1}:
        places = [i for i, other in enumerate(names) if other == name]
        forms = [flat({"": runs[i].form.get("method", {})}) for i in places]
        keys = [key for key in forms[0] if len({str(form.get(key)) for form in forms}) > 1]
        for i, form in zip(places, forms, strict=True):
            told = in_words({key.lstrip("."): form[key] for key in keys if key in form})
            names[i] = f"{name} · {told}" if told else name
    return [f"{name} ({run.name})" if names.count(name) > 1 else name for name, run in zip(names, runs, strict=True)]
