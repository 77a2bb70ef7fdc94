"""One cell of the benchmark: a data set, a task and a method, checked, named and ready to run.

`vml_bench.runner.run` runs it. Everything that can be wrong is found here, before any compute is spent.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from vml_bench.configuration import named_options
from vml_bench.contract import (
    OPERATORS,
    Decoder,
    ImageSet,
    Kind,
    Method,
    Operator,
    Prior,
    needs_operator,
    needs_prior,
    takes,
    takes_noise,
)
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
    with_source,
)
from vml_bench.metrics import MetricSuite, Oracle
from vml_bench.noise import ImageNoise
from vml_bench.priors.exact_posterior import ExactPosterior
from vml_bench.runner.compute import AUTO, Compute, ComputedPrior, NoPrior, fastest, given_plainly
from vml_bench.runner.device import choose_device, use_threads
from vml_bench.runner.evaluators import Batch, Evaluator, ExactEvaluator, PictureEvaluator
from vml_bench.runner.latents import OnLatents
from vml_bench.runner.resources import build, build_operator, refuse_lacking, shared
from vml_bench.runner.shard import shard_of
from vml_bench.runner.tracking import Tracker
from vml_bench.runner.validation import validate
from vml_bench.store import layout
from vml_bench.store.store import Store

PATHS = ("runner.results_dir", "dataset.root", "prior.checkpoint", "prior.autoencoder", "task.operator.file")
"""Keys of paths that a user may give by `~`."""


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


class Cell:
    """A data set, a task and a method, ready to run: all that a configuration names, checked and built.

    Args:
        config: the composed Hydra configuration.
        command: what the command line said, for the record; see `vml_bench.runner.command`.

    Attributes:
        config, command: these.
        device: where the network is computed.
        images, operator, method, prior, metrics, tracker: what the configuration builds.
        compute: how the network is computed.
        starts: of the method on each image.
        identity: what is asked and computed.
        ids: of the images that the run is asked for.
        mine: those of them that belong to this process's shard.
        place: where the run lies.
        store: what is finished of it.
        evaluator: scores it.

    Raises:
        InputError: anything that the user has to mend.
    """

    def __init__(self, config: DictConfig, command: dict[str, Any] | None = None) -> None:
        validate(config)
        config = at_home(config)
        self.command = command
        self.tracker: Tracker = build(config.tracker, "tracker")
        use_threads(config.runner.threads)
        self.device = device = choose_device(config.runner.device)
        images, digests = _images(config)
        if images.dtype == torch.float64 and device.type == "mps":
            raise InputError(
                f"data set {images.name} is computed in float64, which {device} cannot do", "set runner.device=cpu"
            )
        self.images: ImageSet = images
        self.operator: Operator = build_operator(config.task.operator, images.image_shape, images.dtype)
        masked = self.operator
        if hasattr(masked, "for_images"):
            masked = masked.for_images(images.ids[:1], config.seed)
        kind = getattr(masked, "kind", "spectral")
        refuse_lacking(masked, OPERATORS.get(kind, Operator), "task.operator")
        self.method: Method = build(config.method.sampler, "method.sampler", Method)
        refuse_kind(config, self.method, kind, operator=masked)
        self.config = config = with_compute(config, device, self.method)
        self.compute = Compute(**config.compute)
        self.compute.apply_globally()
        self.prior, form = NoPrior(images.image_shape), None
        if needs_prior(self.method):
            self.prior, form = _prior(config, self.compute, device)
        if decoder := self.prior.decoder:
            kind = "differentiable"  # of A∘decoder, which the method is to see
            refuse_latents(config, self.method, decoder)
        shape = tuple((decoder or self.prior).image_shape)
        if shape != tuple(images.image_shape):
            raise InputError(
                f"prior {config.prior.name} knows images of shape {shape}, "
                f"data set {config.dataset.name} has {tuple(images.image_shape)}",
                "choose a prior of that size with prior=…, or train one",
            )
        self.metrics: MetricSuite | Oracle = shared(
            "metrics", lambda: build(config.metrics, "metrics").to(device), config.metrics, device
        )
        if hasattr(self.method, "check"):
            self.method.check(self.prior)
        if decoder:
            self.method = OnLatents(self.method, decoder, self.prior.image_shape)
        if self.metrics.exact and kind != "spectral":
            raise InputError(
                f"{config.metrics.name if 'name' in config.metrics else 'this metric'} needs the exact posterior, "
                f"which takes a spectral operator; task {config.task.name} has a {kind} one",
                "choose metrics=default, or another task",
            )
        self.starts = starts_of(config)
        if self.metrics.exact and self.starts > 1:
            raise InputError(
                f"starts={self.starts} leaves one answer of several, an exact posterior is held against all of them",
                "set starts=1; dataset.repeats says how many restorations there are of each scene",
            )
        self.identity = identify(config, images, digests, form)
        self.ids = tuple(images.ids[: config.runner.limit])
        self.mine = shard_of(self.ids, config.runner.shard)
        names = (config.dataset.name, config.task.name, config.method.name, name_of(self.identity.run))
        self.place = layout.RunPlace(Path(config.runner.results_dir), *names)
        self.store = Store(self.folder, images.ids, self.metrics.feature_names if self.metrics.exact else ())
        self.evaluator = self._evaluator()
        self._posteriors: dict[str, ExactPosterior] = {}

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


def refuse_latents(config: DictConfig, method: Method, decoder: Decoder | None) -> None:
    """Refuse a method on a prior of latents where it needs more than A∘decoder offers, which is differentiable.

    Raises:
        InputError: names the methods that do not.
    """
    if decoder:
        refuse_kind(config, method, "differentiable", f" through the decoder of prior {config.prior.name}")


def refuse_kind(config: DictConfig, method: Method, kind: Kind, through: str = "", operator: object = None) -> None:
    """Refuse a method that needs more of the operator than it offers, or does not know the noise of its measurements.

    Raises:
        InputError: names the methods that will do.
    """
    if takes(method, kind) and takes_noise(method, operator):
        return
    classes = {name: get_class(node["sampler"]["_target_"]) for name, node in named_options("method").items()}
    fit = [name for name, found in classes.items() if takes(found, kind) and takes_noise(found, operator)]
    name, task = config.method.name, config.task.name
    said = f"method {name} needs a {needs_operator(method)} operator, task {task} has a {kind} one{through}"
    if takes(method, kind):
        said = f"method {name} takes Gaussian noise, task {task} has {operator.noise} noise"
    raise InputError(said, f"choose among {', '.join(sorted(fit))}")


def plain(node: DictConfig) -> dict[str, Any]:
    """A configuration node as plain data, resolved."""
    return OmegaConf.to_container(node, resolve=True)


def starts_of(config: DictConfig) -> int:
    """How often a method starts on each image: once where a configuration, such as an old run's, does not say."""
    return int(config.get("starts", 1))


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
    method = with_source(form_of(plain(config.method.sampler)), config.method.get("source"))
    run = run_form(problem, method, prior, compute, starts_of(config))
    return Identity(named, digests, problem, method, prior, run)


def at_home(config: DictConfig) -> DictConfig:
    """A configuration with `~` in its paths as a shell would have it."""
    paths = {key: str(OmegaConf.select(config, key)) for key in PATHS}
    found = {key: path for key, path in paths.items() if path.startswith("~")}
    config = copy.deepcopy(config) if found else config
    for key, path in found.items():
        OmegaConf.update(config, key, str(Path(path).expanduser()))
    return config


def with_compute(config: DictConfig, device: torch.device, method: Method) -> DictConfig:
    """A configuration with values of `compute` where it says "auto": what is fastest here, measured once a process."""
    values = plain(config.compute)
    if AUTO not in values.values():
        return config

    def measured() -> dict[str, Any]:
        prior = build(config.prior.model, "prior.model", Prior)
        refuse_latents(config, method, getattr(prior, "decoder", None))
        chosen = fastest(prior.to(device) if hasattr(prior, "to") else prior, values, device)
        said = " ".join(f"compute.{key}={chosen[key]}".lower() for key, value in values.items() if value == AUTO)
        print(f"fastest here, and in the run's name: {said}", file=sys.stderr, flush=True)
        return chosen

    same = (config.prior.model, config.compute, device)
    chosen = shared("fastest compute", measured, *same) if needs_prior(method) else given_plainly(values)
    config = copy.deepcopy(config)
    config.compute = chosen
    return config


def _images(config: DictConfig) -> tuple[ImageSet, dict[str, str]]:
    """The data set, checked whole, and the hashes of its pixels; once for all cells that share it."""

    def checked() -> tuple[ImageSet, dict[str, str]]:
        images: ImageSet = build(config.dataset.images, "dataset.images", ImageSet)
        check_ids(images.name, images.ids)
        images.check()
        return images, digests_of(images)

    return shared("dataset", checked, config.dataset.images)


def _prior(config: DictConfig, compute: Compute, device: torch.device) -> tuple[ComputedPrior, Form]:
    """The prior on its device, computed as `compute` says, and its form; once for all cells that share both."""

    def computed() -> tuple[ComputedPrior, Form]:
        prior = build(config.prior.model, "prior.model", Prior)
        form = prior_form(plain(config.prior.model), prior)
        if hasattr(prior, "to"):
            prior = prior.to(device)
        return ComputedPrior(prior, compute, device), form

    return shared("prior", computed, config.prior.model, config.compute, device)
