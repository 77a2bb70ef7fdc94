"""Files that are damaged or changed under a run: pictures, tables, features, records, the configuration, weights."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.faults import inject
from benchmarks.faults.ground import EXACT, NETWORK, SINGLY, Ground, Outcome
from vml_bench.priors.unet import shipped_checkpoint
from vml_bench.store.parts import read_part


def truncate(file: Path, draw: random.Random) -> None:
    """Cut a file off somewhere; nothing may be left of it."""
    data = file.read_bytes()
    file.write_bytes(data[: draw.randrange(len(data) - 1)])


def blank(file: Path, draw: random.Random) -> None:
    """Let a file end in zeros from somewhere on, as file systems leave it after a power cut."""
    data = file.read_bytes()
    kept = draw.randrange(len(data) - 1)
    file.write_bytes(data[:kept] + bytes(len(data) - kept))


HARMS = (truncate, blank)


def of_all(ground: Ground, file: Path) -> set[str]:
    """Every image: the file holds rows or features of all."""
    return ground.finished()


def of_none(ground: Ground, file: Path) -> set[str]:
    """No image of the run: others can be had from what is left."""
    return set()


def of_picture(ground: Ground, file: Path) -> set[str]:
    """The one whose picture it is."""
    return {file.stem}


def of_part(ground: Ground, file: Path) -> set[str]:
    """Those of a part."""
    return set(read_part(file).rows["image_id"])


def half_done(ground: Ground) -> None:
    """Do four batches, in parts that are not merged."""
    ground.start(partial(inject.before_restoring, 5, inject.die))


def contents(root: Path) -> dict[Path, bytes]:
    """What all files under a folder hold."""
    return {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}


def damaged(
    folder: Path,
    draw: random.Random,
    times: int,
    *,
    pattern: str,
    destroys: Callable[[Ground, Path], set[str]],
    prepare: Callable[[Ground], None] = Ground.copy_undisturbed,
    cell: tuple[str, ...] = SINGLY,
) -> Outcome:
    """Harm a file between two starts.

    Args:
        pattern: of files in the results folder; one is drawn.
        destroys: ids of the images that then have to be done again.
        prepare: what has happened to the run before.
        cell: the run.
    """
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), cell)
        prepare(ground)
        before = ground.finished()
        file = draw.choice(sorted(file for file in ground.results.glob(pattern) if not file.name.startswith(".")))
        destroyed = destroys(ground, file)
        HARMS[i % len(HARMS)](file, draw)
        ground.outcome.injected += 1
        total += ground.healed(destroyed, before)
    return total


RUN = "runs/*/*/*/*"
FILES: dict[str, Callable[..., Outcome]] = {
    "picture of a restoration": partial(damaged, pattern=f"{RUN}/recon/*.png", destroys=of_picture),
    "images.parquet": partial(damaged, pattern=f"{RUN}/images.parquet", destroys=of_all),
    "features.npz": partial(damaged, pattern=f"{RUN}/features.npz", destroys=of_none),
    "part": partial(damaged, pattern=f"{RUN}/parts/*.parquet", destroys=of_part, prepare=half_done),
    "run.json": partial(damaged, pattern=f"{RUN}/run.json", destroys=of_none, prepare=half_done),
    "config.yaml": partial(damaged, pattern=f"{RUN}/config.yaml", destroys=of_none),
    "oracle.parquet": partial(damaged, pattern=f"{RUN}/oracle.parquet", destroys=of_none, cell=EXACT),
    "posterior.npz": partial(damaged, pattern=f"{RUN}/posterior.npz", destroys=of_none, cell=EXACT),
    "original's picture": partial(damaged, pattern="originals/*/*/*.png", destroys=of_none),
    "originals' table": partial(damaged, pattern="originals/*/*/images.parquet", destroys=of_none),
    "originals' features": partial(damaged, pattern="originals/*/*/features.npz", destroys=of_none),
    "originals' part": partial(damaged, pattern="originals/*/*/parts/*", destroys=of_none, prepare=half_done),
    "measurement's picture": partial(damaged, pattern="measurements/*/*/*/*.png", destroys=of_none),
}
"""Files of a results folder, and what it takes to harm each."""


def edited(folder: Path, draw: random.Random, times: int) -> Outcome:
    """config.yaml is edited: between two starts, or while a process restores."""
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), SINGLY)
        half_done(ground)
        edit = partial(
            inject.rewrite,
            ground.run / "config.yaml",
            *draw.choice([("seed: 0\n", "seed: 7\n"), ("noise_std: 0.05", "noise_std: 0.2")]),
        )
        if i % 2:
            edit()
        else:
            ground.start(partial(inject.before_restoring, 2, edit))
        found = ground.process(["verify", "--results", str(ground.results)]).end()
        ground.spoilt(found)
        ground.outcome.manual += found.code != 1 or "config.yaml" not in found.said
        total += ground.healed()
    return total


def truncated_checkpoint(folder: Path, draw: random.Random, times: int) -> Outcome:
    """The weights are cut off between two starts: refused by name, nothing touched; with the good file it goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    shutil.copy(shipped_checkpoint(), weights)
    total = Outcome()
    for i in range(times):
        ground = Ground(folder / str(i), (*NETWORK, f"prior.checkpoint={weights}"))
        ground.start(partial(inject.before_restoring, 2, inject.die))
        held = contents(ground.results)
        truncate(weights, draw)
        ended = ground.start()
        ground.spoilt(ended)
        ground.outcome.manual += str(weights) not in ended.complaint
        ground.outcome.manual += held != contents(ground.results)
        shutil.copy(shipped_checkpoint(), weights)
        total += ground.healed()
    return total
