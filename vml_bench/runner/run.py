"""Running a cell: restore, score and store every image, so that any start may stop and any other go on."""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from tqdm.auto import tqdm

from vml_bench.columns import columns_of
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.identity import in_words
from vml_bench.noise import ImageNoise
from vml_bench.runner.cell import Cell
from vml_bench.runner.command import given
from vml_bench.runner.evaluators import Batch, Features, Restoration
from vml_bench.runner.memory import PeakMemory, out_of_memory
from vml_bench.runner.progress import Done, scores_of
from vml_bench.runner.record import Record, columns, settings
from vml_bench.runner.tracking import Guarded, tracked
from vml_bench.store import layout


def run_cell(config: DictConfig) -> Path:
    """Check and run one cell; returns the run's folder.

    Raises:
        InputError: anything that the user has to mend; what is done stays done.
    """
    return Runner(Cell(config, given())).run()


@dataclass(frozen=True)
class Outcome:
    """A batch restored, and what each of its images took; NaN where that is not known.

    Attributes:
        images: (B, C, H, W), as the method returned them.
        nfe, vjp: evaluations of the denoiser, and vector-Jacobian products.
        seconds: wall time.
        memory_mb: peak memory of the batch.
        applications: of the operator, for each image; see `applications`.
        tried: (B, C, H, W) of every start, where there were several; see `closest`.
    """

    images: Tensor
    nfe: float
    vjp: float
    seconds: float
    memory_mb: float
    applications: list[float]
    tried: tuple[Tensor, ...] = ()

    @property
    def effort(self) -> dict[str, float]:
        """What each image took, by column."""
        return {name: getattr(self, name) for name in layout.EFFORT}


class Runner:
    """One start of a cell.

    Args:
        cell: to be run.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.record = Record(cell)
        self.made: list[dict[str, Any]] = []
        """Rows of the images that this start restored."""
        self.seconds = 0.0
        """Wall time of this start."""

    def run(self) -> Path:
        """Restore and score what is not done yet; returns the run's folder.

        Raises:
            InputError: something cannot be read or written; what is done stays done.
        """
        cell = self.cell
        try:
            layout.write_readme(cell.place.results)
            with cell.store:
                with replacing(cell.folder / layout.CONFIG) as partial:
                    partial.write_text(OmegaConf.to_yaml(cell.config, resolve=True), encoding="utf-8")
                self.record.write()
                with tracked(cell.tracker, cell.folder) as tracker:
                    self.restore_all(tracker)
        except OSError as error:
            raise InputError(
                f"{cell.folder} cannot be written ({error})",
                "make room or give access; the same command then goes on with what is done",
            ) from error
        return cell.folder

    def done(self) -> Done:
        """What came of the run, and what it took: of all starts that are on disk."""
        cell, wanted = self.cell, set(self.cell.ids)
        rows = [row for row in cell.store.rows() if row["image_id"] in wanted and row["status"] == layout.OK]
        pictures = [picture for row in rows[:1] if (picture := cell.store.picture(row["image_id"])).is_file()]
        restoring = sum(row["seconds"] for row in self.made)
        return Done(
            **{group: str(cell.config[group].name) for group in ("dataset", "task", "method")},
            noise_std=cell.noise_std,
            seed=int(cell.seed),
            settings=in_words(settings(cell.config, cell.identity.method)),
            folder=cell.folder,
            images=len(rows),
            scores=scores_of(rows, columns_of(columns(cell)).values()),
            seconds=statistics.fmean(row["seconds"] for row in rows) if rows else float("nan"),
            picture=pictures[0] if pictures else None,
            restored=len(self.made),
            restoring=restoring,
            aside=self.seconds - restoring,
        )

    def restore_all(self, tracker: Guarded) -> None:
        """Restore what is pending, and bring the run's files up to date however that ends."""
        began = time.monotonic()
        try:
            self.restore_pending(tracker)
        finally:
            self.cell.store.merge()
            self.seconds = time.monotonic() - began
            self.record.write(self.seconds)
        self.cell.evaluator.conclude()

    def restore_pending(self, tracker: Guarded) -> None:
        """Restore, score and store batch after batch what neither is done nor is being done by another process."""
        cell, size = self.cell, self.cell.config.runner.batch_size
        finished = cell.store.finished(cell.mine)
        cell.evaluator.open()
        for image_id in cell.evaluator.lost(finished):
            cell.evaluator.prepare(cell.batch([image_id]))
        cell.evaluator.complete(finished)
        with tqdm(total=len(cell.mine), initial=len(finished), unit="img", desc=cell.label) as bar:
            while claimed := cell.store.claim(cell.mine, size):
                try:
                    batch = cell.batch(claimed)
                    cell.evaluator.prepare(batch)
                    rows, features = self.restore(batch)
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error):
                        raise
                    size = self.smaller(len(claimed), error)
                    continue
                cell.store.commit(rows, features)
                self.made += rows
                tracker.images_done(rows)
                bar.update(len(cell.store.finished(cell.mine)) - bar.n)
        if elsewhere := len(cell.store.pending(cell.mine)):
            print(f"{elsewhere} images of {cell.folder} are being done by other processes", file=sys.stderr)

    def smaller(self, size: int, error: Exception) -> int:
        """Half the batch size that ran out of memory; the record keeps what it came down to.

        Raises:
            InputError: one image alone does not fit.
        """
        if size == 1:
            raise InputError(
                f"one image under {self.cell.config.method.name} does not fit into the memory of {self.cell.device}",
                "set compute.gradient_checkpointing=true or compute.dtype=bfloat16, or use a larger GPU",
            ) from error
        gc.collect()
        if self.cell.device.type == "cuda":
            torch.cuda.empty_cache()
        self.record.further["batch_size_after_out_of_memory"] = size // 2
        tqdm.write(f"out of memory at {size} images; going on with {size // 2}", file=sys.stderr)
        return size // 2

    def outcome(self, batch: Batch) -> Outcome:
        """The batch restored by the cell's method, by as many starts as it is to have."""
        return closest([restored(self.cell, batch, start) for start in range(self.cell.starts)], batch)

    def restoration(self, images: Tensor, batch: Batch) -> Restoration:
        """What became of the batch, as the evaluator takes it."""
        expected = batch.operator.expected_residual(batch.y, self.cell.noise_std)
        return Restoration(images, batch.operator.residual(images, batch.y), expected)

    def restore(self, batch: Batch) -> tuple[list[dict[str, Any]], Features]:
        """Restore and score one batch; returns its rows and its features."""
        cell, outcome = self.cell, self.outcome(batch)
        restoration = self.restoration(outcome.images, batch)
        healthy = cell.evaluator.healthy(batch, restoration)
        scores, features = cell.evaluator.score(batch, restoration, [i for i, good in enumerate(healthy) if good])
        if outcome.tried:
            over = cell.evaluator.score_starts(batch, [self.restoration(images, batch) for images in outcome.tried])
            scores = [{**score, **further} for score, further in zip(scores, over, strict=True)]
        rows = [
            {"image_id": image_id}
            | {name: value if good or isinstance(value, str) else float("nan") for name, value in scored.items()}
            | {"residual": float(residual), **outcome.effort, "applications": applied}
            | {"status": layout.OK if good else layout.DIVERGED}
            for image_id, good, scored, residual, applied in zip(
                batch.ids, healthy, scores, restoration.residual, outcome.applications, strict=True
            )
        ]
        return rows, features


def applications(batch: Batch) -> list[float]:
    """How often each image's operator was applied; NaN where that is not counted, the operator having a spectrum.

    Through a decoder every operator is counted (`vml_bench.runner.latents`).
    """
    asked = torch.as_tensor(batch.operator.applications, dtype=torch.float64)
    if batch.operator.kind == "spectral" and not asked.any():
        return [math.nan] * len(batch.ids)
    return asked.expand(len(batch.ids)).tolist()


def closest(outcomes: Sequence[Outcome], batch: Batch) -> Outcome:
    """Of several starts the one whose ‖y − A(x)‖ is least, for each image by itself; what it took is that of them all.

    So a user can choose, too, who has no ground truth. Papers report the best by the ground truth, which the evaluator
    scores apart (`score_starts`).
    """
    if len(outcomes) == 1:
        return outcomes[0]
    residuals = torch.stack([batch.operator.residual(outcome.images, batch.y) for outcome in outcomes])
    chosen = residuals.nan_to_num(math.inf, math.inf).argmin(dim=0).tolist()
    return Outcome(
        torch.stack([outcomes[start].images[i] for i, start in enumerate(chosen)]),
        *(sum(getattr(outcome, name) for outcome in outcomes) for name in ("nfe", "vjp", "seconds")),
        max(outcome.memory_mb for outcome in outcomes),
        [sum(of_image) for of_image in zip(*(outcome.applications for outcome in outcomes), strict=True)],
        tuple(outcome.images for outcome in outcomes),
    )


def restored(cell: Cell, batch: Batch, start: int = 0) -> Outcome:
    """Have a cell's method restore a batch, and measure what it takes.

    Args:
        cell: the cell.
        batch: its images.
        start: from 0; each has noise of its own, and the first that of a method that starts once.

    Raises:
        InputError: it returned no batch of images.
    """
    denoiser, memory = Denoiser(cell.evaluator.watched(cell.prior)), PeakMemory(cell.device)
    rng = ImageNoise(cell.seed, batch.ids, f"method, start {start}" if start else "method")
    batch.operator.applications = 0.0
    memory.start()
    began = time.monotonic()
    images = cell.method.restore(batch.y, batch.operator, cell.noise_std, denoiser, rng)
    if cell.device.type == "cuda":
        torch.cuda.synchronize(cell.device)
    seconds, peak = time.monotonic() - began, memory.peak()
    check_shape(images, len(batch.ids), cell)
    return Outcome(images, denoiser.nfe, denoiser.vjps, seconds / len(batch.ids), peak, applications(batch))


def check_shape(images: object, size: int, cell: Cell) -> None:
    """Refuse what is no batch of `size` images.

    Raises:
        InputError: names the method and what it returned.
    """
    wanted = (size, *cell.images.image_shape)
    if not isinstance(images, torch.Tensor) or images.shape != wanted:
        found = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        raise InputError(
            f"method {cell.config.method.name} returned {found} for images of {wanted}",
            "return the restored images, (B, C, H, W)",
        )
