"""One cell of the benchmark: measure, restore, score and store every image of a data set under one task and method."""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from tqdm import tqdm

from vml_bench.data import ImageSet
from vml_bench.data.images import as_saved, save_png
from vml_bench.denoiser import Denoiser
from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.metrics import MetricSuite, Oracle
from vml_bench.noise import ImageNoise, image_generator
from vml_bench.operators.base import SpectralOperator
from vml_bench.priors.exact_posterior import ExactPosterior
from vml_bench.runner.compute import Compute, ComputedPrior
from vml_bench.runner.memory import PeakMemory
from vml_bench.runner.provenance import environment, run_name
from vml_bench.runner.resources import build, shared
from vml_bench.runner.store import FeatureFile, RunStore, write_json
from vml_bench.runner.trace import Trace
from vml_bench.runner.validation import choose_device, validate
from vml_bench.tracker import Tracker, tracked


@dataclass(frozen=True)
class Batch:
    """Images of one cell on their way through it.

    Attributes:
        ids: image ids.
        clean: (B, C, H, W) in [-1, 1], of the data set's dtype, as are operator and measurements.
        operator: the task's operator, with these images' own masks.
        y: measurements, (B, *measurement).
    """

    ids: list[str]
    clean: Tensor
    operator: SpectralOperator
    y: Tensor


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
        self.device = choose_device(config.runner.device)
        self.images: ImageSet = shared(
            "dataset", lambda: build(config.dataset.images, "dataset"), config.dataset.images
        )
        self.ids = self.images.ids[: config.runner.limit]
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
        self.store = RunStore(self.folder, self.images.ids)
        self.provenance = self._provenance()
        self.metrics: MetricSuite | Oracle = shared(
            "metrics", lambda: build(config.metrics, "metrics").to(self.device), config.metrics, self.device
        )
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

    def _provenance(self) -> dict[str, Any]:
        """What run.json says: of this start, and of the images and the time of earlier starts of the same run."""
        earlier = self._earlier()
        began_with = {*earlier.get("ids", ()), *self.ids}
        ids = tuple(image_id for image_id in self.images.ids if image_id in began_with)
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
            "environment": environment(self.device),
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
        file = self.folder / "run.json"
        return json.loads(file.read_text()) if file.is_file() else {}

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
        """Restore and score what is not done yet; returns the run's folder."""
        with replacing(self.folder / "config.yaml") as partial:
            partial.write_text(OmegaConf.to_yaml(self.config, resolve=True))
        write_json(self.folder / "run.json", self.provenance)
        with tracked(self.tracker, self.folder) as tracker:
            self.restore_pending(tracker)
            if self.metrics.exact:
                self.score_scenes()
            write_json(self.folder / "run.json", self.provenance)
        return self.folder

    def restore_pending(self, tracker: Tracker) -> None:
        """Restore, score and store batch after batch what is not done yet."""
        pending = self.store.pending(self.ids)
        size = self.config.runner.batch_size
        label = f"{self.config.task.name} σ_y={self.noise_std:g} · {self.config.method.name}"
        with tqdm(total=len(self.ids), initial=len(self.ids) - len(pending), unit="img", desc=label) as bar:
            while pending:
                began = time.monotonic()
                batch = self.batch(pending[:size])
                if not self.metrics.exact:
                    self.keep_inputs(batch)
                try:
                    rows = self.restore(batch)
                except torch.cuda.OutOfMemoryError as error:
                    size = self.smaller(len(batch.ids), error)
                    continue
                self.store.commit(rows)
                tracker.images_done(rows)
                pending = pending[size:]
                self.provenance["wall_seconds"] += time.monotonic() - began
                bar.update(len(batch.ids))

    def smaller(self, size: int, error: torch.cuda.OutOfMemoryError) -> int:
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
        torch.cuda.empty_cache()
        self.provenance["batch_size_after_out_of_memory"] = size // 2
        tqdm.write(f"out of memory at {size} images; going on with {size // 2}", file=sys.stderr)
        return size // 2

    def keep_inputs(self, batch: Batch) -> None:
        """Keep references (pictures and features) and measurements, each once for all methods."""
        references = self.results / "references" / self.config.dataset.name
        features = FeatureFile(references / "features.npz")
        new = [i for i, image_id in enumerate(batch.ids) if not features.has(image_id, self.metrics.feature_names)]
        if new:
            features.add([batch.ids[i] for i in new], self.metrics.features(as_saved(batch.clean[new])))
            features.write(self.images.ids)
        shown = batch.operator.picture(batch.y)
        measurements = self.task_folder / "measurements" / f"{self.noise_std:g}-{self.seed}"
        for i, image_id in enumerate(batch.ids):
            for file, image in ((references, batch.clean[i]), (measurements, shown[i])):
                if not (file / f"{image_id}.png").exists():
                    save_png(image, file / f"{image_id}.png")

    def restore(self, batch: Batch) -> list[dict[str, Any]]:
        """Restore one batch, save pictures and features, and return its rows.

        Pictures are scored as they are saved; against an exact posterior the raw restorations are, and no picture is
        saved, for their values are not confined to [-1, 1].
        """
        exact = self.metrics.exact
        trace = Trace(self.prior) if exact and self.metrics.trajectories else None
        denoiser, memory = Denoiser(trace or self.prior), PeakMemory(self.device)
        rng = ImageNoise(self.seed, batch.ids, "method")
        memory.start()
        began = time.monotonic()
        restored = self.method.restore(batch.y, batch.operator, self.noise_std, denoiser, rng)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds, peak = time.monotonic() - began, memory.peak()

        residual = batch.operator.residual(restored, batch.y)
        expected = self.expected_residual(batch)
        healthy = self.healthy(batch, restored, residual, expected)
        kept = [i for i in range(len(batch.ids)) if healthy[i]]
        if exact:
            judged = restored
            scores = self.metrics(restored, [self.posterior(image_id) for image_id in batch.ids])
            scores["residual_ratio"] = residual / torch.where(expected > 0, expected, torch.nan)
        else:
            judged = as_saved(restored.nan_to_num(0.0, 0.0, 0.0))
            scores = self.metrics(judged, as_saved(batch.clean))
        if kept:
            features = self.metrics.features(judged[kept]) | (trace.features(kept) if trace else {})
            self.store.features.add([batch.ids[i] for i in kept], features)
        rows = []
        for i, image_id in enumerate(batch.ids):
            if not exact and torch.isfinite(restored[i]).all():
                self.store.save_image(image_id, restored[i])
            rows.append(
                {"image_id": image_id}
                | ({"scene": self.images.scene(image_id)} if exact else {})
                | {name: float(values[i]) if healthy[i] else float("nan") for name, values in scores.items()}
                | {"residual": float(residual[i]), "nfe": denoiser.nfe, "vjp": denoiser.vjp}
                | {"seconds": seconds / len(batch.ids), "memory_mb": peak}
                | {"status": "ok" if healthy[i] else "diverged"}
            )
        return rows

    def expected_residual(self, batch: Batch) -> Tensor:
        """σ_y √rank(H), (B,) or (): the root mean square of ‖y − H x‖ for the true image and for posterior samples."""
        return self.noise_std * (batch.operator.singular_values > 0).flatten(-3).sum(dim=-1).sqrt()

    def healthy(self, batch: Batch, restored: Tensor, residual: Tensor, expected: Tensor) -> list[bool]:
        """Which images did not diverge: finite, and no further from the measurement than a grey image is.

        The bound on ‖y − H x‖ is ‖Uᵀy‖ plus the noise's `expected` share. Against an exact posterior there is none: its
        scores are medians and distances that a wrong answer shall count in, however wrong it is.
        """
        finite = restored.flatten(1).isfinite().all(dim=1)
        if self.metrics.exact:
            return finite.tolist()
        grey = batch.operator.residual(torch.zeros_like(restored), batch.y)
        return (finite & (residual <= grey + expected)).tolist()

    def score_scenes(self) -> None:
        """Bring the table of scenes up to date with the images that did not diverge, from what is on disk alone."""
        scenes: dict[str, list[str]] = {}
        for image_id in self.store.healthy():
            scenes.setdefault(self.images.scene(image_id), []).append(image_id)
        known = self.store.scenes()
        rows = []
        for scene, ids in scenes.items():
            row = known.get(scene)
            if row is None or row["repeats"] != len(ids):
                restored = torch.from_numpy(self.store.features.rows("restored", ids))
                generator = image_generator(self.seed, scene, "posterior")
                scores = self.metrics.scene(restored, self.posterior(ids[0]), generator)
                row = {"scene": scene, "repeats": len(ids), **scores}
            rows.append(row)
        self.store.commit_scenes(rows)
        if scenes and self.metrics.trajectories:
            posteriors = {scene: self.posterior(ids[0]) for scene, ids in scenes.items()}
            self.store.write_answers(self.metrics.answers(posteriors))


def run_cell(config: DictConfig) -> Path:
    """Check and run one cell; returns the run's folder."""
    return Cell(config).run()
