"""The floor: what a pass of the photos64 network costs, computed in several ways, and what each way changes.

Forward passes and passes with the Jacobian product, in float32 and bfloat16, with channels last, compiled; and the
product by other means than reverse mode: forward mode (Jv in the place of Jᵀv, equal for an exact denoiser) and finite
differences.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.performance.cells import configured
from benchmarks.performance.paired import Timings, Work, interleave
from benchmarks.performance.record import Benchmark, Table, begin, options, write
from vml_bench.contract import Prior
from vml_bench.data import PhotoCrops
from vml_bench.denoiser import Denoiser
from vml_bench.methods.loop import preconditioned_direction
from vml_bench.noise import ImageNoise
from vml_bench.priors.synthetic import synthetic_prior
from vml_bench.priors.unet import load_edm_prior
from vml_bench.runner.compute import Compute, ComputedPrior, relative
from vml_bench.runner.resources import build

EAGER = {
    "float32": Compute(),
    "float32, channels last": Compute(channels_last=True),
    "bfloat16": Compute(dtype="bfloat16"),
    "bfloat16, channels last": Compute(dtype="bfloat16", channels_last=True),
}
COMPILED = {
    "float32": Compute(),
    "float32, compiled": Compute(compile=True),
    "bfloat16": Compute(dtype="bfloat16"),
    "bfloat16, compiled": Compute(dtype="bfloat16", compile=True),
}
SHAPE = (3, 64, 64)
SIGMAS = (0.05, 0.5, 5.0)
STEPS = (1e-1, 1e-2, 1e-3)
"""ε of a finite difference over σ, v scaled to a root mean square of 1."""


def with_product(denoiser: Denoiser, x: Tensor, v: Tensor, sigma: float = 1.0) -> Tensor:
    """Jᵀv by reverse mode, as methods take it."""
    _, pull_back = denoiser.vjp(x, sigma)
    return pull_back(v)


def forward_mode(prior: Prior, x: Tensor, v: Tensor, sigma: float = 1.0) -> Tensor:
    """Jv by forward mode; attention in its plain form, for the fused one has no forward derivative."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        return forward_ad.unpack_dual(prior(forward_ad.make_dual(x, v), sigma)).tangent


def finite_difference(denoiser: Denoiser, x: Tensor, v: Tensor, sigma: float = 1.0, step: float = 1e-2) -> Tensor:
    """[D(x + εv) − D(x)] / ε with ε = `step` σ / rms(v): two evaluations, one of them D(x), which a method has."""
    epsilon = step * sigma / v.flatten(1).square().mean(dim=1).sqrt()[:, None, None, None]
    return (denoiser(x + epsilon * v, sigma) - denoiser(x, sigma)) / epsilon


def cost_table(ways: dict[str, Compute], batches: Sequence[int], device: torch.device, budget: float) -> Table:
    """Milliseconds an image and ratios to float32, for forward passes and passes with the Jacobian product."""
    priors, built, failed = {}, {}, []
    for name, compute in ways.items():
        began = time.monotonic()
        try:
            priors[name] = ComputedPrior(load_edm_prior().to(device), compute, device)
        except RuntimeError as error:  # no compiler, or one that fails
            failed.append({"network": name, "failed": " ".join(str(error).split())[:100]})
        built[name] = time.monotonic() - began
    rows: list[dict[str, Any]] = []
    for batch in batches:
        x = torch.randn(batch, *SHAPE, device=device)
        forward = {name: Work(partial(Denoiser(prior), x, 1.0)) for name, prior in priors.items()}
        product = {name: Work(partial(with_product, Denoiser(prior), x, x)) for name, prior in priors.items()}
        for name in priors:
            if ways[name].compile:  # for each size of a batch anew
                began = time.monotonic()
                forward[name].run()
                product[name].run()
                built[name] += time.monotonic() - began
        plain, reverse = (interleave(works, device, budget=budget) for works in (forward, product))
        for name, prior in priors.items():
            difference = prior.difference.values()
            rows.append(
                {
                    "network": name,
                    "batch": str(batch),
                    "threads": str(torch.get_num_threads()),
                    "forward ms/image": plain.interval(name, 1e3 / batch),
                    "forward / float32": plain.ratio(name, "float32"),
                    "with product ms/image": reverse.interval(name, 1e3 / batch),
                    "with product / float32": reverse.ratio(name, "float32"),
                    "change of D": max((d["denoised"] for d in difference), default=0.0),
                    "change of Jᵀv": max((d["vjp"] for d in difference), default=0.0),
                }
                | (worth(name, ways, built[name], plain, reverse) if ways[name].compile else {})
            )
    return Table("", ["network", "batch", "threads"], [*rows, *failed])


def worth(name: str, ways: dict[str, Compute], built: float, plain: Timings, reverse: Timings) -> dict[str, Any]:
    """Seconds that compiling took, first passes among them, and how many passes of a batch save as much.

    The way to compare with is the same without compiling, if it is among `ways`.
    """
    row: dict[str, Any] = {"set up s": built}
    for eager, compute in ways.items():
        if compute == replace(ways[name], compile=False):
            for kind, timings in (("forward", plain), ("with product", reverse)):
                saved = float(np.median(timings.seconds[eager] - timings.seconds[name]))
                row[f"{kind}: pays after batches"] = math.ceil(built / saved) if saved > 0 else "never"
    return row


def product_costs(network: str, prior: Prior, batch: int, device: torch.device, least: int, budget: float) -> Table:
    """D and a Jacobian product, by each means, over a forward pass alone."""
    denoiser, x = Denoiser(prior), torch.randn(batch, *prior.image_shape, device=device)
    works = {
        "forward pass alone": Work(lambda: denoiser(x, 1.0)),
        "reverse mode": Work(lambda: with_product(denoiser, x, x)),
        "forward mode": Work(lambda: forward_mode(prior, x, x)),
        "finite difference": Work(lambda: finite_difference(denoiser, x, x)),
    }
    timings = interleave(works, device, least=least, budget=budget)
    rows = [
        {"D and product by": name, "over a forward pass": timings.ratio(name, "forward pass alone")} for name in works
    ]
    title = f"The Jacobian product by other means, {network}, batch {batch}, float32"
    return Table(title, ["D and product by"], rows)


def product_differences(device: torch.device, images: int) -> Table:
    """How far the other means are from Jᵀv on photographs, for noise and for the direction that VML-MAP takes."""
    prior, photos = load_edm_prior().to(device), PhotoCrops("test")
    ids = photos.ids[:images]
    clean = torch.stack([photos.load(image_id) for image_id in ids]).to(device)
    config = configured("task=sr4")
    operator = build(config.task.operator, "task")(image_shape=photos.image_shape).to(device)
    noise, noise_std = ImageNoise(0, ids, "benchmark"), float(config.task.noise_std)
    y = operator.measure(clean, noise_std, noise.randn_like(operator.forward(clean)))
    denoiser, rows = Denoiser(prior), []
    for sigma in SIGMAS:
        x = clean + sigma * noise.randn_like(clean)
        direction = preconditioned_direction(x, denoiser(x, sigma), y, operator, noise_std, sigma)
        for name, v in (("white noise", noise.randn_like(x)), ("VML-MAP's direction, sr4", direction)):
            reverse, forward = with_product(denoiser, x, v, sigma), forward_mode(prior, x, v, sigma)
            row: dict[str, Any] = {"σ": f"{sigma:g}", "v": name, "Jv against Jᵀv": relative(forward, reverse)}
            cosine = torch.nn.functional.cosine_similarity(forward.flatten(1), reverse.flatten(1))
            row["cosine of Jv and Jᵀv"] = float(cosine.mean())
            for step in STEPS:
                difference = finite_difference(denoiser, x, v, sigma, step)
                row[f"difference, ε = {step:g} σ, against Jv"] = relative(difference, forward)
            rows.append(row | {"Jᵀv against v": float((reverse.flatten(1) * v.flatten(1)).sum() / v.square().sum())})
    return Table(f"Their distance from Jᵀv, relative L2, {images} test crops", ["σ", "v"], rows)


def at_threads(threads: int, make: Callable[[], Table]) -> Table:
    """A table made with another number of threads."""
    usual = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return make()
    finally:
        torch.set_num_threads(usual)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = options(__doc__)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 16, 64], help="default: %(default)s")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too: minutes, and needs a compiler")
    arguments = parser.parse_args(argv)
    device = begin(arguments)
    batches, budget, images = ([1, 2], 0.0, 2) if arguments.quick else (arguments.batches, 8.0, 8)
    middle = 16 if 16 in batches else batches[-1]
    tables = {"The network's cost": cost_table(EAGER, batches, device, budget)}
    if device.type == "cpu" and torch.get_num_threads() > 1:
        one = at_threads(1, lambda: cost_table(EAGER, [middle], device, budget))
        tables["The network's cost on one thread"] = one
    if arguments.compile:
        tables["The network's cost, compiled"] = cost_table(COMPILED, [middle], device, budget)
    named = [Table(title, table.keys, table.rows) for title, table in tables.items()]
    products = [product_costs("photos64", load_edm_prior().to(device), middle, device, 3, budget)]
    if not arguments.quick:
        ffhq = synthetic_prior("ffhq256").to(device)
        products.append(product_costs("FFHQ's ADM network, 256×256", ffhq, 1, device, 2, 0.0))
    products.append(product_differences(device, images))
    settings = {"network": "photos64, 64×64, if none is named", "budget s": budget}
    write(Benchmark("floor", "The floor: one network pass", [*named, *products], settings, _notes()), device, arguments)


def _notes() -> tuple[str, ...]:
    return (
        "“change”: the largest relative L2 change of D and of Jᵀv against plain float32 over σ = 0.05, 0.5, 5 "
        "(`vml_bench.runner.compute`).",
    )


if __name__ == "__main__":
    main()
