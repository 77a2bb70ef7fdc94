"""The benchmark from Python: `from vml_bench import evaluate, restore, picture_grid`.

`evaluate` makes runs, as `vml-bench run` does, and returns their rows of the leaderboard. `restore` returns tensors and
writes nothing. docs/python.md shows both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from omegaconf import OmegaConf
from torch import Tensor

from vml_bench.analysis.leaderboard import of_runs
from vml_bench.cli.composition import Overrides, as_list, compose
from vml_bench.contract import Method, Operator
from vml_bench.errors import InputError
from vml_bench.figures import pictures
from vml_bench.runner.cell import Cell
from vml_bench.runner.command import recorded
from vml_bench.runner.evaluators import Batch
from vml_bench.runner.objects import node_of, source_of
from vml_bench.runner.resources import refuse_lacking
from vml_bench.runner.run import Runner, restored
from vml_bench.store.layout import RunPlace
from vml_bench.store.runs import open_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Methods = str | Method | Sequence[str | Method] | Mapping[str, str | Method]
"""A method's name or object, several of them, or several under names of their own."""
ANY = "method=pinv"
"""The configuration in whose place an object comes."""


@dataclass(frozen=True)
class Restored:
    """What `restore` returns: a batch of B images.

    Attributes:
        ids: of the images.
        images: restorations (B, C, H, W), images in [-1, 1], not clipped.
        measurements: y, (B, *measurement).
        ground_truth: (B, C, H, W); None where the measurements were given.
        operator: H, with these images' own masks.
        rows: one row per image: residual, nfe, vjp, seconds, memory_mb.
    """

    ids: list[str]
    images: Tensor
    measurements: Tensor
    ground_truth: Tensor | None
    operator: Operator
    rows: pd.DataFrame


def evaluate(
    methods: Methods,
    dataset: str = "photos64",
    task: str | Sequence[str] = "sr4",
    *,
    noise_std: float | None = None,
    limit: int | None = None,
    overrides: Overrides = (),
    results: str | Path = "results",
) -> pd.DataFrame:
    """Run methods on a data set and tasks, and return their scores; what is done already is not done again.

    Each is a run like any other: it lies under `results`, and `vml-bench leaderboard`, `show`, `verify` … know it.

    Args:
        methods: the name of a configured method ("ddrm"), an object with the members of
            `vml_bench.contract.Method`, or several in a list or in a dictionary, whose keys then name the objects. An
            object is filed under its class's name in snake_case otherwise.
        dataset: as in `dataset=…`.
        task: as in `task=…`; one or several.
        noise_std: σ_y, images in [-1, 1]; None: the task's own.
        limit: the first n images; None: all.
        overrides: anything else that `vml-bench run` takes: ["compute.dtype=bfloat16"] or {"seed": 1}.
        results: the results folder.

    Returns:
        One row per run with the leaderboard's columns; `picture_grid` shows its pictures.

    Raises:
        InputError: something cannot be used; what is done stays done.
    """
    named = _named(methods)
    problem = _problem(dataset, noise_std, limit, overrides)
    problem.append(as_list({"runner.results_dir": str(Path(results).expanduser())})[0])
    tasks = [task] if isinstance(task, str) else list(task)
    cells = [(each, name, method) for each in tasks for name, method in named]
    folders = [Runner(_cell(method, name, [*problem, f"task={each}"])).run() for each, name, method in cells]
    return of_runs(folders)


def restore(
    method: str | Method,
    dataset: str = "photos64",
    task: str = "sr4",
    *,
    y: Any = None,
    ids: Sequence[str] | None = None,
    noise_std: float | None = None,
    limit: int = 4,
    overrides: Overrides = (),
) -> Restored:
    """Restore a batch and return it; nothing is written and nothing scored.

    Args:
        method: a configured name or an object, as of `evaluate`.
        dataset: says which prior and what shape; and which images, where no measurements are given.
        task: the operator.
        y: measurements to restore, (B, *measurement), a tensor or an array, such as those of
            `vml-bench measurements`; None: those of the data set's first images.
        ids: the images that y is of, whose masks and noise are then used; None: the data set's first.
        noise_std: σ_y; None: the task's own.
        limit: how many images, where y is None.
        overrides: as of `evaluate`.

    Raises:
        InputError: something cannot be used, or y has not the shape of the task's measurements.
    """
    ((name, one),) = _named(method)
    cell = _cell(one, name, [*_problem(dataset, noise_std, None, overrides), f"task={task}"])
    if y is None:
        batch = cell.batch(list(cell.images.ids[:limit] if ids is None else ids))
    else:
        batch = _measured(cell, torch.as_tensor(y), ids)
    outcome = restored(cell, batch)
    rows = pd.DataFrame({"image_id": batch.ids, "residual": batch.operator.residual(outcome.images, batch.y).tolist()})
    truth = batch.clean if y is None else None
    return Restored(batch.ids, outcome.images, batch.y, truth, batch.operator, rows.assign(**outcome.effort))


def picture_grid(frame: pd.DataFrame, images: int = 3) -> Figure:
    """Ground truth, measurement and each row's restoration of the first images, with PSNR and LPIPS under each.

    Args:
        frame: from `evaluate`, or rows of it; of one problem.
        images: rows of pictures.

    Returns:
        A matplotlib figure, which a notebook shows and `savefig` writes.

    Raises:
        InputError: the frame has several problems, or the pictures are gone.
    """
    results = frame.attrs.get("results", "results")
    places = frame[["dataset", "task", "method", "run"]].itertuples(index=False, name=None)
    return pictures.picture_grid([open_run(RunPlace(Path(results), *place).folder) for place in places], images)


def _named(methods: Methods) -> list[tuple[str | None, str | Method]]:
    """Methods with their names, None where they have none of their own."""
    if isinstance(methods, Mapping):
        return list(methods.items())
    many = isinstance(methods, Sequence) and not isinstance(methods, str)
    return [(None, method) for method in (methods if many else [methods])]


def _problem(dataset: str, noise_std: float | None, limit: int | None, overrides: Overrides) -> list[str]:
    """The overrides of a call, without task and method."""
    told = {"dataset": dataset, "task.noise_std": noise_std, "runner.limit": limit}
    return [*as_list({key: value for key, value in told.items() if value is not None}), *as_list(overrides)]


def _cell(method: str | Method, name: str | None, overrides: list[str]) -> Cell:
    """The cell of a method, by its configuration's name or made of an object.

    Raises:
        InputError: something cannot be used.
    """
    if isinstance(method, str):
        given = [*overrides, f"method={method}", *as_list({"method.name": name} if name else {})]
        return Cell(compose(given), recorded(given))
    refuse_lacking(method, Method, "methods")
    own = {"name": name or snake_case(type(method).__name__), "sampler": node_of(method, type(method).__name__)}
    source = source_of(method)
    config = compose([*overrides, ANY])
    OmegaConf.set_struct(config, False)
    config.method = own | ({"source": source.replace("${", "\\${")} if source else {})
    return Cell(config)


def _measured(cell: Cell, y: Tensor, ids: Sequence[str] | None) -> Batch:
    """A batch of measurements that were given.

    Raises:
        InputError: their shape is not that of the task's.
    """
    ids = list(cell.images.ids[: len(y)] if ids is None else ids)
    operator = cell.operator.for_images([cell.images.scene(image_id) for image_id in ids], cell.seed)
    nothing = torch.zeros(len(ids), *cell.images.image_shape, dtype=cell.images.dtype)
    wanted = tuple(operator.forward(nothing).shape)
    if tuple(y.shape) != wanted:
        raise InputError(
            f"y has the shape {tuple(y.shape)}, task {cell.config.task.name} on {cell.images.name} measures {wanted}",
            "give (B, *measurement), and as many ids",
        )
    y = y.to(cell.device, cell.images.dtype)
    return Batch(ids, nothing.to(cell.device), operator.to(cell.device), y)


def snake_case(name: str) -> str:
    """PlugAndPlay -> plug_and_play, DDRM -> ddrm."""
    return "".join(
        f"_{letter}" if i and letter.isupper() and not name[i - 1].isupper() else letter
        for i, letter in enumerate(name)
    ).lower()
