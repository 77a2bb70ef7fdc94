"""Checks of what a run's folder says that the run is: its record by itself, and its configuration beside that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vml_bench.identity import CONTENT, flat, name_of, shown
from vml_bench.store import layout
from vml_bench.verify.findings import Finding
from vml_bench.verify.folder import RunKept

Said = Iterator[tuple[str, Any, Any]]
"""A key, the value that stands there, and the one that should."""


def check_record(kept: RunKept) -> Iterator[Finding]:
    """Record and configuration are of the run that the folder is named by, and do not contradict each other.

    Nothing that a configuration names is imported. An option that the record leaves out, because it changes nothing at
    its value or says where a file lies, is not compared, nor is what says which images are read.
    """
    said_by = {layout.CONFIG: differing(kept.config, told_of_config(kept)), layout.RECORD: said_twice(kept)}
    for name, differences in said_by.items():
        for key, said, fact in differences:
            if said != fact:
                yield Finding(kept.folder / name, f"says {key}={shown(said)}, the run is of {shown(fact)}")
    if len(set(kept.run.asked)) < len(kept.run.asked):
        yield Finding(kept.folder / layout.RECORD, "lists an image twice")


def said_twice(kept: RunKept) -> Said:
    """What a record says twice, differing or not: in words, in forms, and by its folder's name."""
    run, record, place = kept.run, kept.run.record, layout.RunPlace.of(kept.folder)
    problem, prior = run.problem, record.get("prior") or {}
    for key in ("run", "dataset", "task", "method"):
        yield key, record.get(key), getattr(place, key)
    yield "form", name_of(record["form"]), place.run
    yield "problem.name", problem.name, name_of(record["problem"]["form"])
    yield "form.problem", run.form.get("problem"), problem.name
    yield "prior.hash", prior.get("hash"), name_of(prior["form"]) if "form" in prior else None
    yield "form.prior", run.form.get("prior"), prior.get("hash")
    for key in ("noise_std", "seed"):
        yield key, record.get(key), problem.form.get(key)
    of_method = flat({"": run.form.get("method", {}), ".starts": run.form.get("starts")})
    off = leaves(kept.config.get("method", {}).get("sampler", {}))  # an option turned off is in no form
    for key, value in run.settings.items():
        yield f"settings.{key}", value, of_method.get("" if key == "sampler" else f".{key}", off.get(f".{key}"))


def leaves(node: Any, key: str = "") -> dict[str, Any]:
    """A configuration's values by dotted key, each with a point in front."""
    if not isinstance(node, Mapping):
        return {key: node}
    return {name: value for part, inner in node.items() for name, value in leaves(inner, f"{key}.{part}").items()}


def told_of_config(kept: RunKept) -> dict[str, Any]:
    """What folder and record tell of the configuration, forms in place of nodes."""
    run, place = kept.run, layout.RunPlace.of(kept.folder)
    problem, prior = run.problem.form, run.record.get("prior")
    told = {
        "seed": problem.get("seed"),
        "starts": run.form.get("starts", 1),
        "dataset": {"name": place.dataset},
        "task": {"name": place.task, "noise_std": problem.get("noise_std"), "operator": problem.get("operator")},
        "method": {"name": place.method, "sampler": run.form.get("method")},
        "compute": run.record.get("compute", {}),
    }
    told |= {"prior": {"name": prior.get("name"), "model": prior.get("form")}} if prior else {}
    return told | ({"metrics": problem["reference"]} if run.exact else {})


def differing(config: Any, told: Any, key: str = "") -> Said:
    """Where a configuration says otherwise than what is told of it; what either leaves out is passed over."""
    if isinstance(config, Mapping) and isinstance(config.get("_target_"), str):
        name = config["_target_"].rpartition(".")[2]
        if not isinstance(told, Mapping) or name not in told:
            yield f"{key}._target_", config["_target_"], ", ".join(told) if isinstance(told, Mapping) else told
            return
        told = told[name]
    if isinstance(told, Mapping) and told.keys() == {CONTENT}:
        return  # of a path the record knows what lay there
    if isinstance(config, Mapping) and isinstance(told, Mapping):
        for name, value in config.items():
            if name in told:
                yield from differing(value, told[name], f"{key}.{name}".lstrip("."))
    elif isinstance(config, list) and isinstance(told, list) and len(config) == len(told):
        for i, pair in enumerate(zip(config, told, strict=True)):
            yield from differing(*pair, f"{key}.{i}")
    elif config != told and (config == config or told == told):  # two that are no numbers are alike
        yield key, config, told
