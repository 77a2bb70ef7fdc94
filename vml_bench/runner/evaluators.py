"""Evaluators score restorations: as saved pictures against the ground truth, or against an exact posterior."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vml_bench.columns import BY_NAME
from vml_bench.contract import ImageSet, Operator, Prior
from vml_bench.data.images import as_saved, read_picture, save_png
from vml_bench.files import replacing
from vml_bench.metrics import MetricSuite, Oracle
from vml_bench.noise import image_generator
from vml_bench.priors.exact_posterior import ExactPosterior
from vml_bench.runner.trace import Trace
from vml_bench.store.layout import OK, POSTERIOR, picture
from vml_bench.store.store import Store

COMPLETED = 64
"""Rows to complete with further scores before they are written."""
PNG_END = b"IEND\xaeB`\x82"
"""The name and the checksum of the last chunk of every PNG."""


@dataclass(frozen=True)
class Batch:
    """A batch of one cell's images.

    Attributes:
        ids: image ids.
        clean: (B, C, H, W) in [-1, 1], in the data set's dtype, as are operator and measurements.
        operator: the task's operator, with these images' own masks.
        y: measurements, (B, *measurement).
    """

    ids: list[str]
    clean: Tensor
    operator: Operator
    y: Tensor


@dataclass(frozen=True)
class Restoration:
    """What a method made of a batch.

    Attributes:
        images: (B, C, H, W), finite or not.
        residual: ‖y − H x‖, (B,).
        expected: σ_y √rank(H), (B,) or (): the root mean square of ‖y − H x‖ for the ground truth and for posterior
            samples.
    """

    images: Tensor
    residual: Tensor
    expected: Tensor


Features = dict[str, dict[str, np.ndarray]]
"""Features (d,) by network and image id."""


def by_image(features: dict[str, np.ndarray], image_ids: Sequence[str]) -> Features:
    """Features (B, d) by network, as features (d,) by network and image id."""
    return {network: dict(zip(image_ids, vectors, strict=True)) for network, vectors in features.items()}


def is_whole(png: Path) -> bool:
    """Whether a PNG is there and ends as a PNG does."""
    try:
        with open(png, "rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:  # it is missing, or shorter than that
        return False


class Evaluator(Protocol):
    """Scores what a method restored, and keeps what is scored. What a subclass does not define does nothing."""

    def open(self) -> None:
        """See what is kept already: a run starts or goes on."""

    def lost(self, image_ids: Sequence[str]) -> list[str]:
        """Those of the given, finished images for which something that `prepare` kept is missing or broken."""
        return []

    def prepare(self, batch: Batch) -> None:
        """Keep what is shared by all methods on these images."""

    def watched(self, prior: Prior) -> Prior:
        """The prior as the method is to see it in this batch."""
        return prior

    def healthy(self, batch: Batch, restoration: Restoration) -> list[bool]:
        """Which images did not diverge."""

    def score(self, batch: Batch, restoration: Restoration, kept: list[int]) -> tuple[list[dict[str, Any]], Features]:
        """Score a batch: columns for each image, and features of the images `kept`, which did not diverge."""

    def score_starts(self, batch: Batch, starts: Sequence[Restoration]) -> list[dict[str, Any]]:
        """Of several starts of the method: columns of `vml_bench.columns.STARTS` for each image."""
        return [{} for _ in batch.ids]

    def complete(self, image_ids: Sequence[str]) -> None:
        """Add the scores and features that the rows of finished images lack, from what was kept of them."""

    def conclude(self) -> None:
        """Do what needs all images of the run, which are merged by now."""


class PictureEvaluator(Evaluator):
    """Scores saved restorations against the ground truth, and keeps pictures of both and of the measurements.

    Args:
        metrics: the scores.
        store: the run's.
        originals: store of the data set's ground truth.
        measurements: folder of the problem's measurements.
        digests: sha256 of each ground truth's pixels, kept beside it.
    """

    def __init__(
        self, metrics: MetricSuite, store: Store, originals: Store, measurements: Path, digests: Mapping[str, str]
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._originals = originals
        self._measurements = measurements
        self._digests = digests

    def open(self) -> None:
        """See which ground truth is kept already."""
        self._originals.open()

    def lost(self, image_ids: Sequence[str]) -> list[str]:
        """Those whose ground truth, its features or measurement is missing."""
        originals = set(self._originals.pending(image_ids, self._metrics.feature_names))
        return [image_id for image_id in image_ids if image_id in originals or not self._measured(image_id)]

    def _measured(self, image_id: str) -> bool:
        return is_whole(picture(self._measurements, image_id))

    def prepare(self, batch: Batch) -> None:
        """Keep the ground truth (pictures and features) and measurements, once for all methods."""
        shown = batch.operator.picture(batch.y)
        for image_id, image in zip(batch.ids, shown, strict=True):
            if not self._measured(image_id):
                save_png(image, picture(self._measurements, image_id))
        if new := self._originals.pending(batch.ids, self._metrics.feature_names):
            clean = batch.clean[[batch.ids.index(image_id) for image_id in new]]
            for image_id, image in zip(new, clean, strict=True):
                self._originals.save_image(image_id, image)
            features = by_image(self._metrics.features(as_saved(clean)), new)
            rows = [{"image_id": image_id, "pixels": self._digests[image_id]} for image_id in new]
            self._originals.commit(rows, features)

    def healthy(self, batch: Batch, restoration: Restoration) -> list[bool]:
        """Which images are finite and no further from the measurement than a grey image.

        The bound on ‖y − H x‖ is ‖Uᵀy‖ plus the noise's expected share.
        """
        finite = restoration.images.flatten(1).isfinite().all(dim=1)
        grey = batch.operator.residual(torch.zeros_like(restoration.images), batch.y)
        return (finite & (restoration.residual <= grey + restoration.expected)).tolist()

    def score(self, batch: Batch, restoration: Restoration, kept: list[int]) -> tuple[list[dict[str, Any]], Features]:
        """Save finite pictures and score the batch as it is saved."""
        for image_id, image in zip(batch.ids, restoration.images, strict=True):
            if torch.isfinite(image).all():
                self._store.save_image(image_id, image)
        saved = as_saved(restoration.images.nan_to_num(0.0, 0.0, 0.0))
        scores = self._metrics(saved, as_saved(batch.clean))
        features = self._metrics.features(saved[kept]) if kept else {}
        return _columns(scores, len(batch.ids)), by_image(features, [batch.ids[i] for i in kept])

    def score_starts(self, batch: Batch, starts: Sequence[Restoration]) -> list[dict[str, Any]]:
        """Mean and best score of the starts that did not diverge, each score by itself; NaN where all did."""
        healthy = torch.tensor([self.healthy(batch, start) for start in starts])
        clean, names = as_saved(batch.clean), [name for name in self._metrics.names if f"{name}_best" in BY_NAME]
        scored = [self._metrics(as_saved(start.images.nan_to_num(0.0, 0.0, 0.0)), clean, names) for start in starts]
        columns = {}
        for name in names:
            values = torch.stack([scores[name] for scores in scored])
            better = BY_NAME[name].better
            best = better * torch.where(healthy, better * values, -math.inf).amax(dim=0)
            columns[f"{name}_mean"] = torch.where(healthy, values, torch.nan).nanmean(dim=0)
            columns[f"{name}_best"] = torch.where(healthy.any(dim=0), best, torch.nan)
        return _columns(columns, len(batch.ids))

    def complete(self, image_ids: Sequence[str]) -> None:
        """Score saved pictures with the metrics and networks that were not asked for when the run was made."""
        wanted = set(image_ids)
        rows = [row for row in self._store.rows() if row["image_id"] in wanted and row.get("status") == OK]
        featured = set(self._store.finished(image_ids, self._metrics.feature_names))
        lacking = {
            row["image_id"]: [name for name in self._metrics.names if row.get(name) is None or row[name] != row[name]]
            for row in rows
        }
        todo = [row for row in rows if lacking[row["image_id"]] or row["image_id"] not in featured]
        for start in range(0, len(todo), COMPLETED):
            added, features = [], Features()
            for row in todo[start : start + COMPLETED]:
                image_id = row["image_id"]
                saved, original = (read_picture(of.picture(image_id))[None] for of in (self._store, self._originals))
                scores = self._metrics(saved, original, lacking[image_id])
                added.append({**row, **{name: float(value) for name, value in scores.items()}})
                if image_id not in featured:
                    for network, vectors in self._metrics.features(saved).items():
                        features.setdefault(network, {})[image_id] = vectors[0]
            self._store.commit(added, features)
        self._store.merge()

    def conclude(self) -> None:
        """Merge what was added to the ground truth."""
        self._originals.merge()


class ExactEvaluator(Evaluator):
    """Scores raw restorations against exact posteriors; they are not pictures, as values are not confined to [-1, 1].

    Nothing is kept or completed: images are drawn in closed form, and every row has all scores.

    Args:
        metrics: the scores.
        store: of the run.
        images: the data set, several images per scene.
        posterior: gives the exact posterior for an image's measurement.
        seed: of the exact samples that restorations are compared with.
    """

    def __init__(
        self, metrics: Oracle, store: Store, images: ImageSet, posterior: Callable[[str], ExactPosterior], seed: int
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._images = images
        self._posterior = posterior
        self._seed = seed
        self._trace: Trace | None = None

    def watched(self, prior: Prior) -> Prior:
        """The prior, or one that records its calls if trajectories are kept."""
        self._trace = Trace(prior) if self._metrics.trajectories else None
        return self._trace or prior

    def healthy(self, batch: Batch, restoration: Restoration) -> list[bool]:
        """Which images are finite; a finite wrong answer must count in the scores."""
        return restoration.images.flatten(1).isfinite().all(dim=1).tolist()

    def score(self, batch: Batch, restoration: Restoration, kept: list[int]) -> tuple[list[dict[str, Any]], Features]:
        """Score a batch against its posteriors."""
        scores = self._metrics(restoration.images, [self._posterior(image_id) for image_id in batch.ids])
        expected = restoration.expected
        scores["residual_ratio"] = restoration.residual / torch.where(expected > 0, expected, torch.nan)
        rows = [
            {"scene": self._images.scene(image_id), **row}
            for image_id, row in zip(batch.ids, _columns(scores, len(batch.ids)), strict=True)
        ]
        features = self._metrics.features(restoration.images[kept]) if kept else {}
        if kept and self._trace:
            features |= self._trace.features(kept)
        return rows, by_image(features, [batch.ids[i] for i in kept])

    def conclude(self) -> None:
        """Update the table of scenes with the images that did not diverge, only from what is on disk."""
        scenes: dict[str, list[str]] = {}
        for row in self._store.rows():
            if row.get("status") == OK:
                scenes.setdefault(self._images.scene(row["image_id"]), []).append(row["image_id"])
        known = {row["scene"]: row for row in self._store.scenes()}
        vectors = self._store.features("restored")
        rows = []
        for scene, ids in scenes.items():
            row = known.get(scene)
            if row is None or row["repeats"] != len(ids):
                restored = torch.from_numpy(np.stack([vectors[image_id] for image_id in ids]))
                generator = image_generator(self._seed, scene, "posterior")
                scores = self._metrics.scene(restored, self._posterior(ids[0]), generator)
                row = {"scene": scene, "repeats": len(ids), **scores}
            rows.append(row)
        self._store.write_scenes(rows)
        if scenes and self._metrics.trajectories:
            posteriors = {scene: self._posterior(ids[0]) for scene, ids in scenes.items()}
            with replacing(self._store.folder / POSTERIOR) as partial:
                np.savez(partial, **self._metrics.answers(posteriors))


def _columns(scores: dict[str, Tensor], size: int) -> list[dict[str, float]]:
    """Scores (B,) by name, as one dictionary per image."""
    return [{name: float(values[i]) for name, values in scores.items()} for i in range(size)]
