"""One cell of the benchmark, assembled: a data set, a task and a method, checked, named and ready to run.

`vml_bench.runner.run` runs it. Everything that can be wrong is found here, before any compute is spent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from vml_bench.contract import ImageSet, Method, Operator, Prior, lacking, needs_prior
from vml_bench.data.ids import check_ids
from vml_bench.errors import InputError
from vml_bench.identity import (
    Form,
    digests_of,
    form_of,
    form_of_object,
    images_name,
    name_of,
    prior_form,
    problem_form,
    run_form,
)
from vml_bench.metrics import MetricSuite, Oracle
from vml_bench.noise import ImageNoise
from vml_bench.priors.exact_posterior import ExactPosterior
from vml_bench.runner.compute import Compute, ComputedPrior, NoPrior
from vml_bench.runner.device import choose_device, use_threads
from vml_bench.runner.evaluators import Batch, Evaluator, ExactEvaluator, PictureEvaluator
from vml_bench.runner.resources import build, build_operator, shared
from vml_bench.runner.shard import shard_of
from vml_bench.runner.tracking import Tracker
from vml_bench.runner.validation import validate
from vml_bench.store import layout
from vml_bench.store.store import Store


@dataclass(frozen=True)
class Identity:
    """What a cell asks and computes, in canonical form (`vml_bench.identity`).

    Attributes:
        images: name of the set of images.
        digests: sha256 of each image's pixels, by id.
        problem: what is asked.
        method: the method and its settings.
        prior: the prior; None for a method that asks none.
        run: what is computed.
    """

    images: str
    digests: dict[str, str] = field(repr=False)
    problem: Form
    method: Form
    prior: Form | None
    run: Form


@dataclass(eq=False)
class Cell:
    """A data set, a task and a method, ready to run; `assemble` makes it of a configuration.

    Attributes:
        config: the composed configuration.
        command: what the command line said, for the record; see `vml_bench.runner.command`.
        device: where the network is computed.
        images, operator, method, prior, metrics, tracker: what the configuration builds.
        compute: how the network is computed.
        identity: what is asked and computed.
        ids: of the images that the run is asked for.
        mine: those of them that belong to this process's shard.
        place: where the run lies.
        store: what is finished of it.
        evaluator: scores it.
    """

    config: DictConfig
    command: dict[str, Any] | None
    device: torch.device
    images: ImageSet
    operator: Operator
    method: Method
    prior: Prior
    metrics: MetricSuite | Oracle
    tracker: Tracker
    compute: Compute
    identity: Identity
    ids: tuple[str, ...]
    mine: list[str]
    place: layout.RunPlace
    store: Store = field(init=False)
    evaluator: Evaluator = field(init=False)
    _posteriors: dict[str, ExactPosterior] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        required = self.metrics.feature_names if self.metrics.exact else ()
        self.store = Store(self.folder, self.images.ids, required)
        self.evaluator = self._evaluator()

    @property
    def seed(self) -> int:
        """Of masks, measurement noise and the method's own noise."""
        return self.config.seed

    @property
    def noise_std(self) -> float:
        """σ_y, images in [-1, 1]."""
        return float(self.config.task.noise_std)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.place.run

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.place.folder

    @property
    def label(self) -> str:
        """The cell in words."""
        return f"{self.config.task.name} σ_y={self.noise_std:g} · {self.config.method.name}"

    def batch(self, ids: list[str]) -> Batch:
        """Load and measure images; what an image's measurement is depends on the seed and its scene alone."""
        clean = torch.stack([self.images.load(image_id) for image_id in ids])
        scenes = [self.images.scene(image_id) for image_id in ids]
        operator = self.operator.for_images(scenes, self.seed)
        noise = ImageNoise(self.seed, scenes, "measurement").randn_like(operator.forward(clean))
        y = operator.measure(clean, self.noise_std, noise)
        return Batch(ids, clean.to(self.device), operator.to(self.device), y.to(self.device))

    def posterior(self, image_id: str) -> ExactPosterior:
        """The exact posterior of what is measured of an image, computed once for each scene."""
        scene = self.images.scene(image_id)
        if scene not in self._posteriors:
            batch = self.batch([image_id])
            self._posteriors[scene] = self.metrics.posterior(batch.y, batch.operator, self.noise_std)
        return self._posteriors[scene]

    def _evaluator(self) -> Evaluator:
        if self.metrics.exact:
            return ExactEvaluator(self.metrics, self.store, self.images, self.posterior, self.seed)
        results, dataset, task = self.place.results, self.place.dataset, self.place.task
        originals = Store(layout.originals(results, dataset, self.identity.images), self.images.ids, pictures=".")
        measured = layout.measurements(results, dataset, task, name_of(self.identity.problem))
        return PictureEvaluator(self.metrics, self.store, originals, measured, self.identity.digests)


def assemble(config: DictConfig, command: dict[str, Any] | None = None) -> Cell:
    """Check a configuration and build what it names.

    Args:
        config: the composed Hydra configuration.
        command: what the command line said, for the record.

    Raises:
        InputError: anything that the user has to mend.
    """
    validate(config)
    tracker: Tracker = build(config.tracker, "tracker")
    use_threads(config.runner.threads)
    device = choose_device(config.runner.device)
    images, digests = _images(config)
    if images.dtype == torch.float64 and device.type == "mps":
        raise InputError(
            f"data set {images.name} is computed in float64, which {device} cannot do", "set runner.device=cpu"
        )
    operator: Operator = build_operator(config.task.operator, images.image_shape, images.dtype)
    masked = operator.for_images(images.ids[:1], config.seed) if hasattr(operator, "for_images") else operator
    refuse_lacking(masked, Operator, "task.operator")
    method = _method(config)
    compute = Compute(**config.compute)
    compute.apply_globally()
    prior, of_prior = _prior(config, compute, device) if needs_prior(method) else (NoPrior(images.image_shape), None)
    if tuple(prior.image_shape) != tuple(images.image_shape):
        raise InputError(
            f"prior {config.prior.name} knows images of shape {tuple(prior.image_shape)}, "
            f"data set {config.dataset.name} has {tuple(images.image_shape)}",
            "choose a prior of that size with prior=…, or train one",
        )
    metrics: MetricSuite | Oracle = shared(
        "metrics", lambda: build(config.metrics, "metrics").to(device), config.metrics, device
    )
    identity = identify(config, images, digests, of_prior)
    ids = tuple(images.ids[: config.runner.limit])
    names = (config.dataset.name, config.task.name, config.method.name, name_of(identity.run))
    return Cell(
        config=config,
        command=command,
        device=device,
        images=images,
        operator=operator,
        method=method,
        prior=prior,
        metrics=metrics,
        tracker=tracker,
        compute=compute,
        identity=identity,
        ids=ids,
        mine=shard_of(ids, config.runner.shard),
        place=layout.RunPlace(Path(config.runner.results_dir), *names),
    )


def plain(node: DictConfig) -> dict[str, Any]:
    """A configuration node as plain data, resolved."""
    return OmegaConf.to_container(node, resolve=True)


def identify(config: DictConfig, images: ImageSet, digests: dict[str, str], prior: Form | None) -> Identity:
    """What a configuration asks and computes.

    Args:
        config: the composed configuration, or a run's own.
        images: its data set.
        digests: `digests_of` it.
        prior: `prior_form`; None for a method that asks none.
    """
    compute = form_of_object(Compute(**plain(config.compute)))["Compute"]
    metrics = plain(config.metrics)
    reference = form_of(metrics) if get_class(metrics["_target_"]).exact else None
    named = images_name(images, digests)
    problem = problem_form(
        named, plain(config.task.operator), float(config.task.noise_std), int(config.seed), reference
    )
    method = form_of(plain(config.method.sampler))
    return Identity(named, digests, problem, method, prior, run_form(problem, method, prior, compute))


def _images(config: DictConfig) -> tuple[ImageSet, dict[str, str]]:
    """The data set, checked whole, and the hashes of its pixels; once for all cells that share it."""

    def checked() -> tuple[ImageSet, dict[str, str]]:
        images: ImageSet = build(config.dataset.images, "dataset")
        refuse_lacking(images, ImageSet, "dataset.images")
        check_ids(images.name, images.ids)
        images.check()
        return images, digests_of(images)

    return shared("dataset", checked, config.dataset.images)


def _method(config: DictConfig) -> Method:
    method = build(config.method.sampler, "method")
    refuse_lacking(method, Method, "method.sampler")
    return method


def _prior(config: DictConfig, compute: Compute, device: torch.device) -> tuple[ComputedPrior, Form]:
    """The prior on its device, computed as `compute` says, and its form; once for all cells that share both."""

    def computed() -> tuple[ComputedPrior, Form]:
        prior = build(config.prior.model, "prior")
        refuse_lacking(prior, Prior, "prior.model")
        form = prior_form(plain(config.prior.model), prior)
        if hasattr(prior, "to"):
            prior = prior.to(device)
        return ComputedPrior(prior, compute, device), form

    return shared("prior", computed, config.prior.model, config.compute, device)


def refuse_lacking(part: object, contract: type, where: str) -> None:
    """Refuse what a configuration built where it has not all that its place asks for.

    Raises:
        InputError: names the missing members.
    """
    if missing := lacking(part, contract):
        raise InputError(
            f"{where}: {type(part).__name__} has no {', '.join(missing)}",
            f"give it what vml_bench.contract.{contract.__name__} lists",
        )
