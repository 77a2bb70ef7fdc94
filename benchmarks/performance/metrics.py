"""Metrics, pictures and the leaderboard: images a second, and 1,000 images × 10 runs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.performance.cells import configured
from benchmarks.performance.paired import Work, interleave
from benchmarks.performance.record import Benchmark, Table, begin, options, write
from tests.run_folders import write_reference, write_run
from vml_bench import leaderboard
from vml_bench.data import PhotoCrops
from vml_bench.data.images import as_saved, save_png
from vml_bench.metrics import MetricSuite
from vml_bench.runner.resources import build

FEATURES = 256
"""Pooled activations of LPIPS's AlexNet."""


def suite_table(device: torch.device, sides: Sequence[int], images: int, budget: float, scratch: Path) -> Table:
    """Images a second of what a cell does with its restorations, by image size."""
    config = configured()
    suite: MetricSuite = build(config.metrics, "metrics").to(device)
    rows = []
    for side in sides:
        generator = torch.Generator().manual_seed(0)
        photographs = torch.nn.functional.interpolate(crops(images), side, mode="bicubic")
        clean = as_saved(photographs)

        def restored(generator=generator, photographs=photographs) -> tuple[Tensor]:  # anew, for scores are remembered
            return (as_saved(photographs + 0.05 * torch.randn(photographs.shape, generator=generator)),)

        single = {name: MetricSuite([name], [], device) for name in suite.names}
        scored = {f"{name} alone": one for name, one in single.items()} | {"all metrics": suite}
        works = {
            name: Work(lambda image, score=score, clean=clean: score(image, clean), restored)
            for name, score in scored.items()
        } | {
            "all features": Work(suite.features, restored),
            "all metrics, then features": Work(
                lambda image, clean=clean: (suite(image, clean), suite.features(image)), restored
            ),
            "PNG saving": Work(
                lambda image: [save_png(one, scratch / f"{i}.png") for i, one in enumerate(image)], restored
            ),
        }
        timings = interleave(works, device, budget=budget)
        for name in works:
            milliseconds = timings.interval(name, 1e3 / images)
            rows.append(
                {
                    "what": name,
                    "side": str(side),
                    "ms/image": milliseconds,
                    "images/s": 1e3 / milliseconds.median,
                }
            )
    return Table(f"A batch of {images} images", ["what", "side"], rows)


def crops(images: int) -> Tensor:
    """Photographs, (images, 3, 64, 64)."""
    photos = PhotoCrops("test")
    return torch.stack([photos.load(image_id) for image_id in photos.ids[:images]])


def leaderboard_table(device: torch.device, images: int, runs: int, scratch: Path, rounds: int) -> Table:
    """Seconds of the leaderboard's parts over made-up runs of a data set, features included."""
    rng = np.random.default_rng(0)
    ids = [f"{i:05d}" for i in range(images)]
    write_reference(scratch, ids, rng.normal(size=(images, FEATURES)).astype(np.float32))
    for i in range(runs):
        write_run(
            scratch, f"method_{i:02d}", f"{i:010d}", ids=ids, psnr=rng.normal(25, 3, images),
            lpips=rng.gamma(4, 0.05, images), features=rng.normal(size=(images, FEATURES)).astype(np.float32),
        )  # fmt: skip
    frame, _ = leaderboard.build(scratch, "toy")
    works = {
        "rows from runs that were seen before (cold: growth.md)": Work(lambda: leaderboard.build(scratch, "toy")),
        "writing csv, Markdown and LaTeX": Work(lambda: leaderboard.write(frame, scratch / "toy")),
    }
    timings = interleave(works, device, least=rounds, most=rounds)
    rows = [{"what": name, "seconds": timings.interval(name)} for name in works]
    return Table(f"Leaderboard, {images:,} images × {runs} runs", ["what"], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    arguments = options(__doc__).parse_args(argv)
    device = begin(arguments)
    sides, images, budget, size, rounds = ((64,), 2, 0.0, (50, 2), 1) if arguments.quick else (
        (64, 256), 16, 8.0, (1000, 10), 3)  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        tables = [
            suite_table(device, sides, images, budget, Path(scratch)),
            leaderboard_table(device, *size, Path(scratch) / "results", rounds),
        ]
    notes = (
        "Metrics: psnr, ssim, lpips_alex; features: alex. Network passes on the originals are remembered, as they are "
        "in a sweep.",
    )
    write(Benchmark("metrics", "Metrics, pictures, leaderboard", tables, {"images": images}, notes), device, arguments)


if __name__ == "__main__":
    main()
