"""One cell of the benchmark: measure, restore, score and store every image of a data set under one task and method."""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from vml_bench.data import ImageSet
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.metrics import MetricSuite, Oracle
from vml_bench.noise import ImageNoise
from vml_bench.operators.base import SpectralOperator
from vml_bench.priors.exact_posterior import ExactPosterior
from vml_bench.runner.compute import Compute, ComputedPrior
from vml_bench.runner.device import choose_device, use_threads
from vml_bench.runner.judges import Batch, ExactJudge, Features, Judge, PictureJudge, Restoration
from vml_bench.runner.memory import PeakMemory, out_of_memory
from vml_bench.runner.provenance import environment, run_name
from vml_bench.runner.resources import build, shared
from vml_bench.runner.shard import shard_of
from vml_bench.runner.validation import validate
from vml_bench.store import Store, write_json
from vml_bench.tracker import Tracker, tracked


class Cell:
    """A data set, a task and a method, checked and ready to run.

    Everything that can be wrong is found here: the configuration, the weights, the images, the operator's
    fit to them, an earlier run made with other weights.

    Args:
        config: the composed Hydra configuration.

    Raises:
        InputError: anything that the user has to mend.
    """

    def __init__(self, config: DictConfig) -> None:
        validate(config)
        self.config = config
        self.tracker: Tracker = build(config.tracker, "tracker")
        self.seed: int = config.seed
        self.noise_std: float = float(config.task.noise_std)
        use_threads(config.runner.threads)
        self.device = choose_device(config.runner.device)
        self.images: ImageSet = shared(
            "dataset", lambda: build(config.dataset.images, "dataset"), config.dataset.images
        )
        self.ids = self.images.ids[: config.runner.limit]
        self.mine = shard_of(self.ids, config.runner.shard)
        self._check_precision()
        self.operator: SpectralOperator = build(config.task.operator, "task")(
            image_shape=self.images.image_shape, dtype=self.images.dtype
        )
        self.method = build(config.method.sampler, "method")
        self.compute = Compute(**config.compute)
        self.compute.apply_globally()
        self.prior = self._prior()
        if tuple(self.prior.image_shape) != tuple(self.images.image_shape):
            raise InputError(
                f"prior {config.prior.name} knows images of shape {tuple(self.prior.image_shape)}, "
                f"data set {config.dataset.name} has {tuple(self.images.image_shape)}",
                "choose a prior of that size with prior=…, or train one",
            )
        self.results = Path(config.runner.results_dir)
        self.task_folder = self.results / "runs" / config.dataset.name / config.task.name
        self.name = run_name(config)
        self.folder = self.task_folder / config.method.name / self.name
        self.metrics: MetricSuite | Oracle = shared(
            "metrics", lambda: build(config.metrics, "metrics").to(self.device), config.metrics, self.device
        )
        self.store = Store(self.folder, self.images.ids, self.metrics.feature_names)
        self.judge = self._judge()
        self.environment = environment(self.device)
        self.provenance = self._provenance()
        self._posteriors: dict[str, ExactPosterior] = {}

    def _check_precision(self) -> None:
        if self.images.dtype == torch.float64 and self.device.type == "mps":
            raise InputError(
                f"data set {self.images.name} is computed in float64, which {self.device} cannot do",
                "set runner.device=cpu",
            )

    def _prior(self) -> ComputedPrior:
        """The prior on its device, computed as `compute` says; built once for all cells that share both."""

        def computed() -> ComputedPrior:
            prior = build(self.config.prior.model, "prior")
            if hasattr(prior, "to"):
                prior = prior.to(self.device)
            return ComputedPrior(prior, self.compute, self.device)

        return shared("prior", computed, self.config.prior.model, self.config.compute, self.device)

    def _judge(self) -> Judge:
        if self.metrics.exact:
            return ExactJudge(self.metrics, self.store, self.images, self.posterior, self.seed)
        originals = Store(self.results / "references" / self.config.dataset.name, self.images.ids, pictures=".")
        measurements = self.task_folder / "measurements" / f"{self.noise_std:g}-{self.seed}"
        return PictureJudge(self.metrics, self.store, originals, measurements)

    def _provenance(self) -> dict[str, Any]:
        """What run.json says: of this start, and of the images and the time of all starts of the same run.

        Raises:
            InputError: the run was begun with other weights or other images.
        """
        earlier = self._earlier()
        began_with = {*earlier.get("ids", ()), *self.ids}
        ids = tuple(image_id for image_id in self.images.ids if image_id in began_with)
        environments, environment = earlier.get("environments", []), self.environment
        if environments and not self.store.pending(self.mine):  # it made none of this, or has said so at its beginning
            environment = earlier["environment"]
        elif environment not in environments:
            environments = [*environments, environment]
        provenance = {
            "run": self.name,
            "dataset": self.config.dataset.name,
            "prior": self.config.prior.name,
            "weights": self.prior.origin,
            "seed": self.seed,
            "synthetic": bool(self.config.prior.get("synthetic", False)),
            "ids": list(ids),
            "manifest": self.images.manifest(ids),
            "files": self.images.files_sha256(ids),
            "compute": {**asdict(self.compute), "difference": self.prior.difference},
            "environment": environment,
            "environments": environments,
            "runner": OmegaConf.to_container(self.config.runner, resolve=True),
            "wall_seconds": earlier.get("wall_seconds", 0.0),
        }
        if earlier.get("weights", self.prior.origin) != self.prior.origin:
            raise InputError(
                f"{self.folder} was begun with other weights ({earlier['weights']['sha256'][:12]}…)",
                "remove that folder, or choose another runner.results_dir",
            )
        files = provenance["files"]
        if changed := [name for name, digest in earlier.get("files", {}).items() if files.get(name, digest) != digest]:
            raise InputError(
                f"{self.folder} was begun with another image under the id '{changed[0]}'",
                "remove that folder, or give the other images a dataset.name of their own",
            )
        return provenance

    def _earlier(self) -> dict[str, Any]:
        """run.json of earlier starts, and of other processes on the same run; empty where it is damaged."""
        file = self.folder / "run.json"
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            print(f"{file} is damaged ({error}); written anew", file=sys.stderr)
            return {}

    def record(self, seconds: float = 0.0) -> None:
        """Write run.json, with `seconds` more of wall time than it says by now."""
        with self.store.alone():
            self.provenance = {**self.provenance, **self._provenance()}
            self.provenance["wall_seconds"] += seconds
            write_json(self.folder / "run.json", self.provenance)

    def batch(self, ids: list[str]) -> Batch:
        """Load and measure images; what an image's measurement is depends on the seed and its scene alone."""
        clean = torch.stack([self.images.load(image_id) for image_id in ids])
        scenes = [self.images.scene(image_id) for image_id in ids]
        operator = self.operator.for_images(scenes, self.seed)
        noise = ImageNoise(self.seed, scenes, "measurement").randn_like(operator.forward(clean))
        y = operator.measure(clean, self.noise_std, noise)
        return Batch(ids, clean.to(self.device), operator.to(self.device), y.to(self.device))

    def posterior(self, image_id: str) -> ExactPosterior:
        """The exact posterior of what is measured of an image, computed once a scene."""
        scene = self.images.scene(image_id)
        if scene not in self._posteriors:
            batch = self.batch([image_id])
            self._posteriors[scene] = self.metrics.posterior(batch.y, batch.operator, self.noise_std)
        return self._posteriors[scene]

    def run(self) -> Path:
        """Restore and score what is not done yet; returns the run's folder.

        Raises:
            InputError: something cannot be read or written; what is done stays done.
        """
        try:
            with self.store:
                with replacing(self.folder / "config.yaml") as partial:
                    partial.write_text(OmegaConf.to_yaml(self.config, resolve=True))
                self.record()
                with tracked(self.tracker, self.folder) as tracker:
                    self.restore_all(tracker)
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be written ({error})",
                "make room or give access; the same command then goes on with what is done",
            ) from error
        return self.folder

    def restore_all(self, tracker: Tracker) -> None:
        """Restore what is pending, and bring the run's files up to date however that ends."""
        began = time.monotonic()
        try:
            self.restore_pending(tracker)
        finally:
            self.store.merge()
            self.record(time.monotonic() - began)
        self.judge.conclude()

    def restore_pending(self, tracker: Tracker) -> None:
        """Restore, score and store batch after batch what neither is done nor is being done by another process."""
        size = self.config.runner.batch_size
        label = f"{self.config.task.name} σ_y={self.noise_std:g} · {self.config.method.name}"
        finished = self.store.finished(self.mine)
        self.judge.open()
        for image_id in self.judge.lost(finished):
            self.judge.prepare(self.batch([image_id]))
        with tqdm(total=len(self.mine), initial=len(finished), unit="img", desc=label) as bar:
            while claimed := self.store.claim(self.mine, size):
                try:
                    batch = self.batch(claimed)
                    self.judge.prepare(batch)
                    rows, features = self.restore(batch)
                except (RuntimeError, MemoryError) as error:
                    if not out_of_memory(error):
                        raise
                    size = self.smaller(len(claimed), error)
                    continue
                self.store.commit(rows, features)
                tracker.images_done(rows)
                bar.update(len(self.store.finished(self.mine)) - bar.n)
        if elsewhere := len(self.store.pending(self.mine)):
            print(f"{elsewhere} images of {self.folder} are being done by other processes", file=sys.stderr)

    def smaller(self, size: int, error: Exception) -> int:
        """Half the batch size that ran out of memory; run.json keeps what it came down to.

        Raises:
            InputError: one image alone does not fit.
        """
        if size == 1:
            raise InputError(
                f"one image under {self.config.method.name} does not fit into the memory of {self.device}",
                "set compute.gradient_checkpointing=true or compute.dtype=bfloat16, or use a larger GPU",
            ) from error
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.provenance["batch_size_after_out_of_memory"] = size // 2
        tqdm.write(f"out of memory at {size} images; going on with {size // 2}", file=sys.stderr)
        return size // 2

    def restore(self, batch: Batch) -> tuple[list[dict[str, Any]], Features]:
        """Restore and score one batch; returns its rows and its features."""
        denoiser, memory = Denoiser(self.judge.watched(self.prior)), PeakMemory(self.device)
        rng = ImageNoise(self.seed, batch.ids, "method")
        memory.start()
        began = time.monotonic()
        restored = self.method.restore(batch.y, batch.operator, self.noise_std, denoiser, rng)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds, peak = time.monotonic() - began, memory.peak()

        expected = self.noise_std * (batch.operator.singular_values > 0).flatten(-3).sum(dim=-1).sqrt()
        restoration = Restoration(restored, batch.operator.residual(restored, batch.y), expected)
        healthy = self.judge.healthy(batch, restoration)
        scores, features = self.judge.judge(batch, restoration, [i for i, good in enumerate(healthy) if good])
        rows = [
            {"image_id": image_id}
            | {name: value if good or isinstance(value, str) else float("nan") for name, value in scored.items()}
            | {"residual": float(residual), "nfe": denoiser.nfe, "vjp": denoiser.vjp}
            | {"seconds": seconds / len(batch.ids), "memory_mb": peak}
            | {"status": "ok" if good else "diverged"}
            for image_id, good, scored, residual in zip(batch.ids, healthy, scores, restoration.residual, strict=True)
        ]
        return rows, features


def run_cell(config: DictConfig) -> Path:
    """Check and run one cell; returns the run's folder."""
    return Cell(config).run()
