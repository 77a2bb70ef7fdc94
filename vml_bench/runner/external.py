"""Restorations that another program made of this project's measurements, as a run beside the others.

The problem is the same, the pictures are the other program's, and all that scores, stores and records them is what
does so for every run. The method's class is `Restorations`; its parameter `content` tells one set of pictures from
another, so that other pictures make another run.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from pydantic import NonNegativeFloat
from torch import Tensor

from vml_bench.data.decode import decode
from vml_bench.data.images import from_uint8
from vml_bench.errors import InputError
from vml_bench.identity import DIGITS, Aside, name_of
from vml_bench.runner.cell import Cell
from vml_bench.runner.command import recorded
from vml_bench.runner.evaluators import Batch
from vml_bench.runner.progress import Done
from vml_bench.runner.run import Outcome, Runner
from vml_bench.runner.tracking import Guarded
from vml_bench.settings import settings
from vml_bench.store import layout
from vml_bench.store.runs import EXTERNAL

Known = Annotated[NonNegativeFloat | None, Aside]
"""What an image took, if it is known: it says nothing about the pictures, so it is no part of a run's name."""


@settings
class Restorations:
    """Pictures of another program in place of a method.

    Attributes:
        content: what tells them from others, from `check`.
        folder: where they lie, <image id>.png.
        nfe, vjp, seconds: what each image took the other program; None: not known.
    """

    content: str
    folder: Annotated[str, Aside]
    nfe: Known = None
    vjp: Known = None
    seconds: Known = None

    needs_prior = False
    needs_operator = "differentiable"

    def restore(self, y: Tensor, operator: object, noise_std: float, denoiser: object, rng: object) -> Tensor:
        """Refuses: what these pictures are made of is not known.

        Raises:
            InputError: always.
        """
        raise InputError("restorations of another program cannot be made here", "use `vml-bench score`")

    @property
    def effort(self) -> dict[str, float]:
        """What an image took, by column; NaN where it is not known."""
        known = {"nfe": self.nfe, "vjp": self.vjp, "seconds": self.seconds}
        return {name: math.nan if known.get(name) is None else float(known[name]) for name in layout.EFFORT}


class Scoring(Runner):
    """One start of a cell whose method is `Restorations`."""

    def outcome(self, batch: Batch) -> Outcome:
        """The batch as the other program restored it."""
        method, shape = self.cell.method, self.cell.images.image_shape
        images = torch.stack([from_uint8(read(Path(method.folder), image_id, shape)) for image_id in batch.ids])
        unknown = [math.nan] * len(batch.ids)
        return Outcome(images.to(self.cell.device, batch.clean.dtype), **method.effort, applications=unknown)

    def restore_pending(self, tracker: Guarded) -> None:
        """Score what is new; and where more is known by now of what it took, say so in older rows."""
        known = {name: value for name, value in self.cell.method.effort.items() if not math.isnan(value)}
        if rows := [row for row in self.cell.store.rows() if any(row[name] != known[name] for name in known)]:
            self.cell.store.commit([{**row, **known} for row in rows], {})
        super().restore_pending(tracker)


def score(
    folder: Path,
    name: str,
    config: DictConfig,
    overrides: Sequence[str],
    config_dir: Path | None = None,
    problem: str | None = None,
    spent: Mapping[str, float] = MappingProxyType({}),
) -> tuple[Done, list[str]]:
    """Score pictures of another program as a run; returns what came of it, and what a reader should know of it.

    Args:
        folder: of <image id>.png, 8-bit RGB, as large as the data set's images.
        name: what the run is called where it is shown.
        config: the configuration of a cell whose problem it is; the pictures come in place of its method.
        overrides, config_dir: what the configuration is composed of, for the record.
        problem: the name of the problem whose measurements the other program had; None: not known.
        spent: "nfe", "vjp" and "seconds" of an image, those that are known.

    Raises:
        InputError: the pictures are not those of the images that are asked for, or cannot be scored.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", "give the folder of the restored pictures")
    method = f"external_{re.sub('[^a-z0-9]+', '_', name.lower()).strip('_')}"[:100]
    cell = Cell(of_others(config))
    if cell.metrics.exact:
        raise InputError(
            f"data set {config.dataset.name} is scored against an exact posterior, by values that no picture holds",
            "score pictures of a data set of photographs",
        )
    asked = name_of(cell.identity.problem)
    if problem not in (None, asked):
        raise InputError(
            f"the measurements are of problem {problem}, these overrides ask for {asked}",
            "give those alone with which they were exported",
        )
    content = check(folder, cell)
    shown = name.replace("${", "\\${")  # a text, not a reference
    words = ["score", str(folder), "--name", name, *(f"--{key}={value:g}" for key, value in spent.items())]
    about = {"title": f"{shown} (external)", "family": EXTERNAL, "cite": [], "colour": "#7a4a1e", "marker": "X"}
    config = of_others(config, method, about, content=content, folder=str(folder), **spent)
    runner = Scoring(Cell(config, recorded(overrides, config_dir and str(config_dir), words)))
    runner.run()
    done = runner.done()
    if worse := len(runner.cell.ids) - done.images:
        asked = f"{worse} of {len(runner.cell.ids)} pictures are further from their measurement than a grey image is"
        return done, [f"{asked}: are they RGB, of levels 0 to 255, and restored from these measurements?"]
    return done, []


def of_others(
    config: DictConfig, name: str = EXTERNAL, about: Mapping[str, Any] = MappingProxyType({}), **said: Any
) -> DictConfig:
    """A cell's configuration with `Restorations` as its method, which take any operator and ask no prior.

    Args:
        config: of the cell; it stays as it is.
        name, about: of the method.
        said: its parameters; without them the cell has a problem alone.
    """
    config = config.copy()
    OmegaConf.set_struct(config, False)
    target = f"{Restorations.__module__}.{Restorations.__name__}"
    config.method = {
        "name": name,
        "about": dict(about),
        "sampler": {"_target_": target, "content": "", "folder": "", **said},
    }
    return config


def check(folder: Path, cell: Cell) -> str:
    """Check that a folder has the pictures that a cell asks for; returns what tells them from others.

    Returns:
        The first digits of a sha256 over ids and pixels of all images of the data set that are there.

    Raises:
        InputError: pictures are missing, of other images, of another size or kind, or nearly black.
    """
    found = {file.stem for file in folder.glob("[!.]*.png")}
    dataset, known = cell.config.dataset.name, cell.images.ids
    if unknown := sorted(found.difference(known)):
        raise InputError(
            f"{folder} has {_some(unknown)}, of no image of {dataset}",
            f"name pictures by image id, such as {known[0]}.png, and move others elsewhere",
        )
    if missing := [image_id for image_id in cell.ids if image_id not in found]:
        first = next(i for i, image_id in enumerate(cell.ids) if image_id not in found)
        remedy = f"add them, or set runner.limit={first} for the first {first}" if first else "name them by image id"
        raise InputError(f"{folder} lacks {len(missing)} of {len(cell.ids)} pictures: {_some(missing)}", remedy)
    digest, brightest = hashlib.sha256(), 0
    for image_id in sorted(found):
        pixels = read(folder, image_id, cell.images.image_shape)
        brightest = max(brightest, int(pixels.max()))
        digest.update(f"{image_id}\0{hashlib.sha256(pixels.tobytes()).hexdigest()}\n".encode())
    if brightest <= 1:
        raise InputError(
            f"no pixel in {folder} is above 1 of 255", "save values in [0, 1] times 255, rounded, not as they are"
        )
    return digest.hexdigest()[:DIGITS]


def read(folder: Path, image_id: str, image_shape: Sequence[int]) -> np.ndarray:
    """A restored picture, (H, W, 3) uint8.

    Raises:
        InputError: it is missing, no 8-bit RGB picture, or not as large as the data set's images.
    """
    file = layout.picture(folder, image_id)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})", "put the picture there") from error
    return np.asarray(decode(data, str(file), sizes=[tuple(image_shape[:0:-1])]))


def _some(names: Sequence[str], shown: int = 3) -> str:
    """The first few of several pictures."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(f"{name}.png" for name in names[:shown]) + more
