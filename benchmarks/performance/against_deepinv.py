"""Against DeepInverse: DDRM, DPS and DiffPIR with the same weights, operator, measurements, NFE and batch.

    pip install 'vml-bench[bench]'

DeepInverse (`deepinv`) works on images in [0, 1]; its denoiser here is this project's network behind that change of
range. Where it has the operator itself (`Inpainting`, `Downsampling`), that is used after it is found equal to ours;
its DDRM takes only operators with a singular value decomposition, and super-resolution has none there, so that it is
given ours.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from baselines.ddrm import DDRM
from baselines.diffpir import DiffPIR, QuadraticSchedule
from baselines.dps import DPS
from benchmarks.performance.cells import configured
from benchmarks.performance.paired import Interval, Work, interleave
from benchmarks.performance.record import Benchmark, Table, begin, options, write
from vml_bench.data import PhotoCrops
from vml_bench.data.images import as_saved
from vml_bench.denoiser import Denoiser
from vml_bench.metrics import MetricSuite
from vml_bench.noise import ImageNoise
from vml_bench.operators import BlockAverage, InpaintBox, InpaintRandom, SpectralOperator
from vml_bench.priors.unet import EDMPrior, load_edm_prior
from vml_bench.runner.resources import build
from vml_bench.schedule import DDPMSchedule

try:
    import deepinv
except ImportError as error:
    raise SystemExit("deepinv is not installed: pip install 'vml-bench[bench]'") from error

TASKS = {"inpaint_box": InpaintBox, "sr4": BlockAverage}
LEVELS = {"ddrm": 20, "dps": 50, "diffpir": 50}
"""NFE of the quality comparison: DDRM's own, and this project's defaults."""
TIMED = {"ddrm": 20, "dps": 5, "diffpir": 20}
"""NFE of the time comparison."""
DPS_WEIGHTS = (30.0, 100.0, 300.0, 1000.0)
"""Tried for DeepInverse's DPS on tuning crops: its guidance grows with σ² − σ_next², so no weight of ours is its."""


class TheirDenoiser(deepinv.models.Denoiser):
    """Our network as DeepInverse's denoiser: images and σ on [0, 1]; counts its evaluations.

    σ above what the network knows, which DiffPIR's schedule has, is asked for at σ_max with x scaled to it, where
    images are nothing beside the noise.
    """

    def __init__(self, prior: EDMPrior) -> None:
        super().__init__()
        self.prior = prior
        self.nfe = 0

    def forward(self, x: Tensor, sigma: float | Tensor, **_: Any) -> Tensor:
        """D(x, σ): (B, C, H, W) -> (B, C, H, W)."""
        self.nfe += 1
        sigma = 2 * torch.as_tensor(sigma, dtype=x.dtype, device=x.device).flatten()
        known = (self.prior.sigma_max / sigma).clamp(max=1)
        scale = known.reshape(-1, 1, 1, 1) if known.numel() > 1 else known
        return (self.prior(scale * (2 * x - 1), (known * sigma).expand(x.shape[0])) + 1) / 2


@dataclass(frozen=True)
class Problem:
    """Measured images.

    Attributes:
        clean: (B, C, H, W) in [-1, 1].
        y: ours, on [-1, 1].
        operator: ours.
        noise_std: σ_y on [-1, 1].
        y_theirs: of the images on [0, 1].
        physics: the operator as DeepInverse has it.
        svd: the operator as DeepInverse's DDRM takes it.
    """

    clean: Tensor
    y: Tensor
    operator: SpectralOperator
    noise_std: float
    y_theirs: Tensor
    physics: deepinv.physics.LinearPhysics
    svd: deepinv.physics.DecomposablePhysics


def problem(task: str, split: str, images: int, device: torch.device) -> Problem:
    """Measure photographs by our operator, for both.

    Raises:
        RuntimeError: their operator is not ours to 1e-5.
    """
    photos = PhotoCrops(split)
    ids = photos.ids[:images]
    clean = torch.stack([photos.load(image_id) for image_id in ids]).to(device)
    config = configured(f"task={task}")
    operator = build(config.task.operator, "task")(image_shape=photos.image_shape).to(device)
    noise = ImageNoise(0, ids, "measurement").randn_like(operator.forward(clean))
    y, noise_std = operator.measure(clean, config.task.noise_std, noise), config.task.noise_std
    gaussian = deepinv.physics.GaussianNoise(noise_std / 2)
    svd = as_decomposable(operator, gaussian)
    physics = theirs(operator, gaussian, device)
    unit = (clean + 1) / 2
    for name, candidate in (("A", physics), ("U diag(s) Vᵀ", svd)):
        error = float((candidate.A(unit) - operator.forward(unit)).abs().max())
        if error > 1e-5:
            raise RuntimeError(f"{name} of deepinv differs from {task} by {error:.2g}")
    return Problem(clean, y, operator, noise_std, y / 2 + operator.forward(torch.ones_like(clean)) / 2, physics, svd)


def theirs(
    operator: SpectralOperator, noise: deepinv.physics.NoiseModel, device: torch.device
) -> deepinv.physics.LinearPhysics:
    """DeepInverse's own operator of the same task."""
    shape = operator.image_shape
    if isinstance(operator, BlockAverage):
        factor = 4
        kernel = torch.zeros(1, 1, 2 * factor - 1, 2 * factor - 1, device=device)
        kernel[..., :factor, :factor] = 1 / factor**2  # so that a block begins where a sample is taken
        return deepinv.physics.Downsampling(
            img_size=shape, filter=kernel, factor=factor, padding="circular", device=device, noise_model=noise
        )
    return deepinv.physics.Inpainting(img_size=shape, mask=operator.singular_values, device=device, noise_model=noise)


def as_decomposable(
    operator: SpectralOperator, noise: deepinv.physics.NoiseModel
) -> deepinv.physics.DecomposablePhysics:
    """Our transform and singular values in DeepInverse's class; of a batch with its own masks, those too."""
    s = operator.singular_values
    return deepinv.physics.DecomposablePhysics(
        U=operator.spectrum_to_measurement,
        U_adjoint=operator.measurement_to_spectrum,
        V=operator.from_spectrum,
        V_adjoint=operator.to_spectrum,
        mask=s if s.dim() == 4 else s[None],
        noise_model=noise,
    )


@dataclass(frozen=True)
class Pair:
    """One method, ours and theirs, each a function of a problem to images in [-1, 1]."""

    ours: Callable[[Problem, Denoiser], Tensor]
    theirs: Callable[[Problem, TheirDenoiser], Tensor]


def pair(method: str, levels: int, weight: float = 100.0) -> Pair:
    """A method of ours and of DeepInverse with so many evaluations.

    DDRM and DPS visit the same levels. DiffPIR's are built in: theirs begin above, ours within the network's range.

    Args:
        method: ddrm, dps or diffpir.
        levels: NFE.
        weight: of DeepInverse's DPS.
    """
    spacing = "leading" if method == "ddrm" else "linspace"
    schedule = DDPMSchedule(levels=levels, spacing=spacing)
    if method == "ddrm":
        sampler, restore = DDRM(schedule=schedule), lambda problem, net: their_ddrm(problem, net, schedule)
    elif method == "dps":
        scale = 10.0 * 50 / levels
        sampler, restore = DPS(scale=scale, schedule=schedule), lambda p, net: their_dps(p, net, schedule, weight)
    else:
        sampler = DiffPIR(schedule=QuadraticSchedule(levels))
        restore = lambda problem, net: their_diffpir(problem, net, sampler, levels)  # noqa: E731

    def ours(problem: Problem, denoiser: Denoiser) -> Tensor:
        noise = ImageNoise(0, [str(i) for i in range(len(problem.clean))], "method")
        return sampler.restore(problem.y, problem.operator, problem.noise_std, denoiser, noise)

    return Pair(ours, lambda problem, denoiser: 2 * restore(problem, denoiser).float() - 1)


def their_ddrm(problem: Problem, denoiser: TheirDenoiser, schedule: DDPMSchedule) -> Tensor:
    """DeepInverse's DDRM on the levels of ours."""
    sigmas = [sigma / 2 for sigma in schedule(denoiser.prior)]
    return deepinv.sampling.DDRM(denoiser, sigmas=sigmas, eta=0.85, etab=1.0)(problem.y_theirs.clone(), problem.svd)


def their_dps(problem: Problem, denoiser: TheirDenoiser, schedule: DDPMSchedule, weight: float) -> Tensor:
    """DeepInverse's DPS (norm guidance, DDPM solver, variance preserving) on the levels of ours."""
    device = problem.clean.device
    log_scale = torch.tensor([math.log1p(sigma**2) for sigma in schedule(denoiser.prior)], dtype=torch.float64)
    low, high = 0.1, 20.0  # β of its diffusion, ∫β = low t + (high − low) t²/2 = log(1 + σ²)
    times = ((low**2 + 2 * (high - low) * log_scale).sqrt() - low) / (high - low)
    times = torch.cat([times, torch.zeros(1, dtype=torch.float64)]).to(device)
    solver = deepinv.sampling.DDPMSolver(timesteps=times)
    model = deepinv.sampling.DPS(denoiser, solver=solver, weight=weight, device=device)
    return model(problem.y_theirs, problem.physics)


def their_diffpir(problem: Problem, denoiser: TheirDenoiser, ours: DiffPIR, levels: int) -> Tensor:
    """DeepInverse's DiffPIR with the ρ and ζ of ours: it counts σ_y on [0, 1], and its data step doubles its λ."""
    model = deepinv.sampling.DiffPIR(
        denoiser,
        deepinv.optim.data_fidelity.L2(),
        sigma=problem.noise_std / 2,
        max_iter=levels,
        zeta=ours.zeta,
        lambda_=4 * ours.weight / 2,
        device=problem.clean.device,
    )
    return model(problem.y_theirs, problem.physics)


def best_weight(task: str, prior: EDMPrior, images: int, levels: int, suite: MetricSuite) -> float:
    """The weight of DeepInverse's DPS with the lowest LPIPS on tuning crops."""
    device = next(prior.parameters()).device
    tuning = problem(task, "tune", images, device)

    def lpips(weight: float) -> float:
        restored = pair("dps", levels, weight).theirs(tuning, TheirDenoiser(prior))
        return float(suite(as_saved(restored.nan_to_num()), as_saved(tuning.clean))["lpips_alex"].mean())

    return min(DPS_WEIGHTS, key=lpips)


def compared(task: str, prior: EDMPrior, suite: MetricSuite, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one task: a method each, time ratio and quality of both."""
    device = next(prior.parameters()).device
    given = problem(task, "test", arguments.batch, device)
    rows = []
    for method in LEVELS:
        levels = min(LEVELS[method], arguments.most_levels)
        weight = best_weight(task, prior, arguments.tuning, levels, suite) if method == "dps" else 0.0
        quality, timed = pair(method, levels, weight), pair(method, min(TIMED[method], arguments.most_levels), weight)
        ours, others = Denoiser(prior), TheirDenoiser(prior)
        results = {"ours": quality.ours(given, ours), "theirs": quality.theirs(given, others)}
        if others.nfe != ours.nfe:
            raise RuntimeError(f"{method}: {ours.nfe} evaluations of ours, {others.nfe} of theirs")
        works = {
            "ours": Work(lambda pair=timed: pair.ours(given, Denoiser(prior))),
            "theirs": Work(lambda pair=timed: pair.theirs(given, TheirDenoiser(prior))),
        }
        timings = interleave(works, device, least=3, budget=arguments.budget)
        row = {"task": task, "method": method, "NFE": str(ours.nfe), "VJP": str(ours.vjps)}
        row["time, ours / theirs"] = timings.ratio("ours", "theirs")
        scores = {who: suite(as_saved(x.nan_to_num()), as_saved(given.clean)) for who, x in results.items()}
        for metric, label in (("psnr", "PSNR"), ("lpips_alex", "LPIPS")):
            row |= {f"{label} {who}": float(scored[metric].mean()) for who, scored in scores.items()}
            row[f"{label}, ours − theirs"] = mean_interval(scores["ours"][metric] - scores["theirs"][metric])
        rows.append(row | {"weight theirs": f"{weight:g}" if method == "dps" else ""})
    return rows


def mean_interval(values: Tensor) -> Interval:
    """A mean over images with its 95 % normal interval."""
    mean, half = float(values.mean()), 1.96 * float(values.std()) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def limits(prior: EDMPrior, device: torch.device) -> list[dict[str, Any]]:
    """What was tried and what came of it: a batch whose images have masks of their own."""
    photos = PhotoCrops("test")
    ids = photos.ids[:2]
    clean = torch.stack([photos.load(image_id) for image_id in ids]).to(device)
    operator = InpaintRandom(photos.image_shape).for_images(ids, 0).to(device)
    gaussian = deepinv.physics.GaussianNoise(0.025)
    given = problem("inpaint_box", "test", 2, device)
    y = operator.forward(clean)
    physics = deepinv.physics.Inpainting(
        img_size=photos.image_shape, mask=operator.singular_values, device=device, noise_model=gaussian
    )
    given = replace(
        given, clean=clean, y=y, operator=operator, y_theirs=operator.forward((clean + 1) / 2), physics=physics,
        svd=as_decomposable(operator, gaussian),
    )  # fmt: skip
    rows = []
    for method in LEVELS:
        both = pair(method, 2)
        for who, run in (("ours", lambda: both.ours(given, Denoiser(prior))),  # noqa: B023
                         ("theirs", lambda: both.theirs(given, TheirDenoiser(prior)))):  # fmt: skip  # noqa: B023
            try:
                run()
                said = "takes it"
            except (RuntimeError, IndexError, ValueError) as error:
                said = f"fails: {str(error).splitlines()[0][:90]}"
            rows.append({"method": method, "whose": who, "a batch of images with masks of their own": said})
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = options(__doc__)
    parser.add_argument("--batch", type=int, default=16, help="test crops, all in one batch; default: %(default)s")
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS], default=[*TASKS], help="default: %(default)s")
    arguments = parser.parse_args(argv)
    arguments.most_levels, arguments.tuning, arguments.budget = 1000, 4, 12.0
    if arguments.quick:
        arguments.batch, arguments.most_levels, arguments.tuning, arguments.budget = 2, 2, 1, 0.0
    device = begin(arguments)
    prior = load_edm_prior().to(device)
    suite = MetricSuite(["psnr", "lpips_alex"], [], device)
    rows = [row for task in arguments.tasks for row in compared(task, prior, suite, arguments)]
    tables = [
        Table(f"photos64, batch {arguments.batch}, σ_y = 0.05, float32", ["task", "method", "NFE", "VJP"], rows),
        Table("What each takes", ["method", "whose"], limits(prior, device)),
    ]
    settings = {"NFE timed": TIMED, "crops that tuned their DPS": arguments.tuning}
    write(Benchmark("against_deepinv", "Against DeepInverse", tables, settings, NOTES), device, arguments)


NOTES = (
    "Times: ours over theirs on the same problem, with the same NFE as each other (see below). Goal: at most 1.00, and "
    "quality not below theirs. Differences are paired means over the images, with 95 % normal intervals.",
    "Settings: DDRM η = 0.85, η_b = 1 and the same levels; DiffPIR the same ρ, ζ and number of levels; DPS the same "
    "levels, ours with ζ = 10 as in conf/method/dps.yaml, theirs with the weight that did best on tuning crops.",
)

if __name__ == "__main__":
    main()
