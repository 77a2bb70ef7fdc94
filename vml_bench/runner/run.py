"""Running a cell: restore, score and store every image, so that any start may stop and any other go on."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.noise import ImageNoise
from vml_bench.runner.cell import Cell
from vml_bench.runner.command import given
from vml_bench.runner.evaluators import Batch, Features, Restoration
from vml_bench.runner.memory import PeakMemory, out_of_memory
from vml_bench.runner.record import Record
from vml_bench.runner.tracking import Guarded, tracked
from vml_bench.store import layout


def run_cell(config: DictConfig) -> Path:
    """Check and run one cell; returns the run's folder.

    Raises:
        InputError: anything that the user has to mend; what is done stays done.
    """
    return Runner(Cell(config, given())).run()


class Runner:
    """One start of a cell.

    Args:
        cell: to be run.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.record = Record(cell)

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
                    partial.write_text(OmegaConf.to_yaml(cell.config, resolve=True))
                self.record.write()
                with tracked(cell.tracker, cell.folder) as tracker:
                    self.restore_all(tracker)
        except OSError as error:
            raise InputError(
                f"{cell.folder} cannot be written ({error})",
                "make room or give access; the same command then goes on with what is done",
            ) from error
        return cell.folder

    def restore_all(self, tracker: Guarded) -> None:
        """Restore what is pending, and bring the run's files up to date however that ends."""
        began = time.monotonic()
        try:
            self.restore_pending(tracker)
        finally:
            self.cell.store.merge()
            self.record.write(time.monotonic() - began)
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

    def restore(self, batch: Batch) -> tuple[list[dict[str, Any]], Features]:
        """Restore and score one batch; returns its rows and its features."""
        cell = self.cell
        denoiser, memory = Denoiser(cell.evaluator.watched(cell.prior)), PeakMemory(cell.device)
        rng = ImageNoise(cell.seed, batch.ids, "method")
        memory.start()
        began = time.monotonic()
        restored = cell.method.restore(batch.y, batch.operator, cell.noise_std, denoiser, rng)
        if cell.device.type == "cuda":
            torch.cuda.synchronize(cell.device)
        seconds, peak = time.monotonic() - began, memory.peak()
        check_shape(restored, batch, cell)

        expected = cell.noise_std * (batch.operator.singular_values > 0).flatten(-3).sum(dim=-1).sqrt()
        restoration = Restoration(restored, batch.operator.residual(restored, batch.y), expected)
        healthy = cell.evaluator.healthy(batch, restoration)
        scores, features = cell.evaluator.score(batch, restoration, [i for i, good in enumerate(healthy) if good])
        rows = [
            {"image_id": image_id}
            | {name: value if good or isinstance(value, str) else float("nan") for name, value in scored.items()}
            | {"residual": float(residual), "nfe": denoiser.nfe, "vjp": denoiser.vjps}
            | {"seconds": seconds / len(batch.ids), "memory_mb": peak}
            | {"status": layout.OK if good else layout.DIVERGED}
            for image_id, good, scored, residual in zip(batch.ids, healthy, scores, restoration.residual, strict=True)
        ]
        return rows, features


def check_shape(restored: object, batch: Batch, cell: Cell) -> None:
    """Refuse what is no batch of images.

    Raises:
        InputError: names the method and what it returned.
    """
    if not isinstance(restored, torch.Tensor) or restored.shape != batch.clean.shape:
        found = tuple(restored.shape) if isinstance(restored, torch.Tensor) else type(restored).__name__
        raise InputError(
            f"method {cell.config.method.name} returned {found} for images of {tuple(batch.clean.shape)}",
            "return the restored images, (B, C, H, W)",
        )
