"""The record of a run: how it was made."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vml_bench.configuration import named_options, option
from vml_bench.errors import InputError
from vml_bench.files import write_json
from vml_bench.identity import Form, flat, form_of, name_of, settings_of
from vml_bench.runner.cell import Cell, Identity, plain, starts_of
from vml_bench.runner.command import option_folders
from vml_bench.runner.provenance import environment
from vml_bench.store import layout

FORMAT = 2
"""Of the record; 1 had no problem, and named a run by the text of its configuration."""


def identity_record(config: DictConfig, identity: Identity, columns: list[dict[str, Any]]) -> dict[str, Any]:
    """The part of the record that says which run it is.

    Args:
        config: the composed configuration, or a run's own.
        identity: what it asks and computes.
        columns: what its own metrics declare.
    """
    prior = None
    if identity.prior is not None:
        prior = {"name": str(config.prior.name), "hash": name_of(identity.prior), "form": identity.prior}
    return {
        "format": FORMAT,
        "run": name_of(identity.run),
        "dataset": str(config.dataset.name),
        "task": str(config.task.name),
        "noise_std": float(config.task.noise_std),
        "method": str(config.method.name),
        "seed": int(config.seed),
        "settings": settings(config, identity.method),
        "problem": {"name": name_of(identity.problem), "form": identity.problem},
        "prior": prior,
        "form": identity.run,
        "about": plain(config.method).get("about") or {},
        "columns": columns,
        "synthetic": prior is not None and bool(config.prior.get("synthetic", False)),
    }


def columns(cell: Cell) -> list[dict[str, Any]]:
    """What the cell's own metrics declare, each with its form."""
    nodes = plain(cell.config.metrics).get("extra") or []
    return [{**column, "form": form_of(node)} for column, node in zip(cell.metrics.columns, nodes, strict=True)]


def weights(cell: Cell) -> dict[str, Any] | None:
    """Name and sha256 of the file that the prior's weights came from, and how they were found in it.

    None if they came from none; how they were found is left out where they are the file's content by their own names.
    """
    file, form = getattr(cell.prior, "checkpoint", None), cell.identity.prior or {}
    if not file:
        return None
    notes = getattr(cell.prior, "notes", ())
    return {"file": Path(file).name, "sha256": form["weights"]} | ({"read": "; ".join(notes)} if notes else {})


def settings(config: DictConfig, form: Form) -> dict[str, Any]:
    """What a run has otherwise than the configuration that bears its method's name, and how often it started, if not
    once."""
    starts = starts_of(config)
    return _otherwise(config, form) | ({"starts": starts} if starts > 1 else {})


def _otherwise(config: DictConfig, form: Form) -> dict[str, Any]:
    """What a method has otherwise than its configuration; nothing where there is none.

    An option that the configuration has and the run turned off, which its form leaves out, is among them.
    """
    name = str(config.method.name)
    try:
        known = next(option("method", name, [folder]) for folder in option_folders())
    except (StopIteration, OSError, ValueError):
        known = named_options("method").get(name)
    if not known or "sampler" not in known:
        return {}
    try:
        tasks = known.get("tasks", {})  # settings may go by the task
        unlisted = {config.task.name: dict.fromkeys(next(iter(tasks.values()), ()))}
        method = {**known, "tasks": unlisted | tasks}
        whole = OmegaConf.create({"method": method, "task": {"name": config.task.name}})
        configured = form_of(plain(whole.method.sampler))
        ours, theirs = (flat(next(iter(each.values()))) for each in (form, configured))
        off = {key: OmegaConf.select(config.method.sampler, key) for key in theirs if key not in ours}
        return settings_of(form, configured) | {key: value for key, value in off.items() if value is not None}
    except (ValueError, TypeError, AttributeError, ImportError, OmegaConfBaseException):
        return {}


class Record:
    """The record of a cell, kept up to date over all starts of the same run.

    Args:
        cell: the cell.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._environment = environment(cell.device)
        self._identity = identity_record(cell.config, cell.identity, columns(cell))
        self.further: dict[str, Any] = {}
        """What is found out on the way."""
        self._columns(read_earlier(cell.folder / layout.RECORD))

    def write(self, seconds: float = 0.0) -> None:
        """Write it, with `seconds` more of wall time than it says by now."""
        cell = self._cell
        with cell.store.alone():
            earlier = read_earlier(cell.folder / layout.RECORD)
            write_json(cell.folder / layout.RECORD, {**earlier, **self._content(earlier, seconds), **self.further})

    def _content(self, earlier: dict[str, Any], seconds: float) -> dict[str, Any]:
        """What it says: of this start, and of the images and the time of all starts."""
        cell = self._cell
        began_with = {*earlier.get("ids", ()), *cell.ids}
        environments, environment = earlier.get("environments", []), self._environment
        if environments and not cell.store.pending(cell.mine):  # made none of this, or has said so at its beginning
            environment = earlier["environment"]
        elif environment not in environments:
            environments = [*environments, environment]
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return {
            **self._identity,
            "columns": self._columns(earlier),
            "command": cell.command or earlier.get("command"),
            "date": earlier.get("date", now),
            "ids": [image_id for image_id in cell.images.ids if image_id in began_with],
            "weights": weights(cell),
            "compute": {**asdict(cell.compute), "difference": cell.prior.difference},
            "environment": environment,
            "environments": environments,
            "runner": OmegaConf.to_container(cell.config.runner, resolve=True),
            "wall_seconds": earlier.get("wall_seconds", 0.0) + seconds,
        }

    def _columns(self, earlier: dict[str, Any]) -> list[dict[str, Any]]:
        """What own metrics of all starts declare.

        Raises:
            InputError: one of the same name was computed with other settings.
        """
        now = {column["name"]: column for column in self._identity["columns"]}
        for column in earlier.get("columns", []):
            ours = now.setdefault(column["name"], column)
            if ours.get("form") != column.get("form"):
                raise InputError(
                    f"metric '{column['name']}' of {self._cell.folder} was computed with other settings",
                    "give the metric another name",
                )
        return list(now.values())


def read_earlier(file: Path) -> dict[str, Any]:
    """The record of earlier starts, and of other processes on the same run; empty where it is damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        print(f"{file} is damaged ({error}); written anew", file=sys.stderr)
        return {}
    return found if isinstance(found, dict) else {}
