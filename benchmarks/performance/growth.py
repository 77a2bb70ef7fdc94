"""Growth: the leaderboard over up to 10,000 runs and 10 million image rows, and what an image costs on disk.

    python -m benchmarks.performance.growth

Runs are synthetic and marked so: tables of a few variants, copied. Each leaderboard is the command `vml-bench
leaderboard` in a process of its own.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from benchmarks.performance.record import Benchmark, Table, begin, options, write
from vml_bench.cards import cards
from vml_bench.configuration import named_options
from vml_bench.data.images import from_uint8, save_png
from vml_bench.data.photos import PHOTOS, read_photo
from vml_bench.files import write_json
from vml_bench.identity import name_of
from vml_bench.store import layout, parts
from vml_bench.store.store import Store

SIZES, IMAGES = (100, 1000, 10_000), 1000
FEATURE_RUNS, WIDTH = (4, 8), 2048
"""Numbers of runs with features, and how many numbers a feature vector has."""
VARIANTS, METHODS = 8, 16
IMAGE_SET = "1111111111"
TASKS = ("denoise", "inpaint_half", "inpaint_box", "inpaint_random", "sr4", "sr4_bicubic", "deblur_gauss",
         "deblur_aniso", "deblur_motion", "colorize")  # fmt: skip
LEVELS = (0.0, 0.05)
SIDES, PICTURES = (64, 256), 200
MERGED, BATCH = (5000, 50_000), 64
LARGE = {"images": 50_000, "cells": 100}
CHILD = """
import sys
from vml_bench.cli import main
main(sys.argv[1:])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["VmHWM"].split()[0], file=sys.stderr)
"""
"""The command line, and behind it the most memory that this process ever held, in KiB."""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds, and MB (10⁶ bytes) of memory at its peak."""

    seconds: float
    peak_mb: float


def leaderboard(results: Path, *arguments: str) -> Cost:
    """Run `vml-bench leaderboard` over a results folder in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    line = [sys.executable, "-c", CHILD, "leaderboard", "--synthetic", "--results", str(results), *arguments]
    start = time.perf_counter()
    done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"the leaderboard ended with {done.returncode}: {done.stderr[-500:]}")
    return Cost(seconds, int(done.stderr.split()[-1]) * 1024 / 1e6)


def rows_of(images: int, variant: int) -> pd.DataFrame:
    """Rows as a run of pictures has them."""
    rng = np.random.default_rng(variant)
    table = pd.DataFrame({"image_id": names(images), "psnr": rng.normal(25 + variant, 3, images)})
    table = table.assign(ssim=rng.beta(8, 2, images), lpips_alex=rng.gamma(4, 0.04, images))
    table = table.assign(lpips_vgg=rng.gamma(8, 0.04, images), residual=rng.gamma(50, 0.1, images))
    table = table.assign(nfe=100, vjp=100 * (variant % 2), seconds=rng.gamma(90, 0.02, images), memory_mb=3210.5)
    return table.assign(sha256=[rng.bytes(32).hex() for _ in range(images)], status="ok")


def names(images: int) -> list[str]:
    """Ids of images."""
    return [f"synthetic-{i:06d}" for i in range(images)]


def features_of(images: int, variant: int, width: int) -> parts.Vectors:
    """Features as Inception's, of some variant of the images."""
    vectors = np.random.default_rng(variant).gamma(0.5, 0.8, (images, width)).astype(np.float32)
    return {"inception": dict(zip(names(images), vectors, strict=True))}


def synthesise(results: Path, runs: int, images: int, width: int = 0) -> None:
    """Write runs of a data set "synthetic" over all tasks, methods and settings, with features where `width` is not 0.

    Args:
        results: the results folder.
        runs: how many.
        images: rows of each.
        width: numbers in a feature vector.
    """
    variants = [results / "variants" / str(variant) for variant in range(min(VARIANTS, runs))]
    for variant, folder in enumerate(variants):
        folder.mkdir(parents=True)
        parts.write_merged(folder, rows_of(images, variant), features_of(images, variant, width) if width else {})
    methods = list(cards((name, None) for name in named_options("method")))[:METHODS]
    cells = itertools.product(range(runs), methods, LEVELS, TASKS)
    for number, (setting, method, noise_std, task) in enumerate(itertools.islice(cells, runs)):
        place = layout.RunPlace(results, "synthetic", task, method, f"{number:010x}")
        shutil.copytree(variants[number % len(variants)], place.folder)
        write_json(place.folder / layout.RECORD, record(task, noise_std, method, setting, names(images)))
        config = yaml.safe_dump(configuration(task, noise_std, method, setting))
        (place.folder / layout.CONFIG).write_text(config)
    if width:
        originals = layout.originals(results, "synthetic", IMAGE_SET)
        originals.mkdir(parents=True)
        rows = rows_of(images, 0)[["image_id", "sha256"]]
        parts.write_merged(originals, rows, features_of(images, VARIANTS, width))
    shutil.rmtree(results / "variants")


def record(task: str, noise_std: float, method: str, setting: int, ids: list[str]) -> dict[str, Any]:
    """What a run's run.json says of it, as far as tables ask."""
    problem = {"images": IMAGE_SET, "operator": {task: {}}, "noise_std": noise_std, "seed": 0}
    form = {"problem": name_of(problem), "method": {method: {"steps": setting}}, "prior": "0123456789", "compute": {}}
    return {
        **{"dataset": "synthetic", "task": task, "noise_std": noise_std, "method": method, "seed": 0},
        "settings": {"steps": setting} if setting else {},
        "problem": {"name": name_of(problem), "form": problem},
        "prior": {"name": "synthetic", "hash": "0123456789", "form": {}},
        **{"form": form, "about": {}, "columns": [], "synthetic": True, "ids": ids},
    }


def configuration(task: str, noise_std: float, method: str, setting: int) -> dict[str, Any]:
    """A run's configuration, about as long as a real one."""
    compute = {"dtype": "float32", "channels_last": False, "compile": False, "gradient_checkpointing": False}
    schedule = {"_target_": "vml_bench.schedule.EDMSchedule", "levels": 20, "sigma_min": None, "sigma_max": None}
    return {
        "seed": 0,
        "compute": compute,
        "runner": {"batch_size": 16, "limit": None, "device": "auto", "shard": None, "results_dir": "results"},
        "prior": {"name": "synthetic", "checkpoint": None, "model": {"_target_": "vml_bench.priors.synthetic"}},
        "dataset": {"name": "synthetic", "images": {"_target_": "vml_bench.data.ImageFolder", "root": "images"}},
        "task": {"name": task, "noise_std": noise_std, "operator": {"_target_": "vml_bench.operators.BlockAverage"}},
        "method": {"name": method, "sampler": {"_target_": "baselines", "steps": setting, "schedule": schedule}},
    }


def growth(sizes: Sequence[int], images: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The leaderboard at each size: nothing kept, rows kept, and with its figures; and the exponents of growth."""
    rows = []
    for runs in sizes:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder)
            synthesise(results, runs, images)
            about = {"runs": runs, "image rows": runs * images}
            for state, arguments in (("cold", ["--no-figures"]), ("warm", ["--no-figures"]), ("warm, figures", [])):
                cost = leaderboard(results, *arguments)
                rows.append({**about, "rows kept": state, "seconds": cost.seconds, "peak MB": cost.peak_mb})
    return rows, [exponents(rows, state) for state in dict.fromkeys(row["rows kept"] for row in rows)]


def exponents(rows: Sequence[dict[str, Any]], state: str) -> dict[str, Any]:
    """Slopes of log cost against log size: over all sizes, and between the two largest."""
    mine = [row for row in rows if row["rows kept"] == state]
    size = np.log([row["runs"] for row in mine])
    found: dict[str, Any] = {"rows kept": state}
    for name in ("seconds", "peak MB"):
        cost = np.log([row[name] for row in mine])
        found[f"{name}, all sizes"] = float(np.polyfit(size, cost, 1)[0])
        found[f"{name}, the two largest"] = float(np.polyfit(size[-2:], cost[-2:], 1)[0])
    return found


def with_features(sizes: Sequence[int], images: int, width: int) -> list[dict[str, Any]]:
    """The same with features, whose distances (FID, KID) are the dear part."""
    rows = []
    for runs in sizes:
        with tempfile.TemporaryDirectory() as folder:
            synthesise(Path(folder), runs, images, width)
            for state in ("cold", "warm"):
                cost = leaderboard(Path(folder), "--no-figures")
                rows.append({"runs": runs, "image rows": runs * images, "features": width, "rows kept": state})
                rows[-1] |= {"seconds": cost.seconds, "peak MB": cost.peak_mb}
    return rows


def bytes_per_image(sides: Sequence[int], pictures: int, images: int) -> list[dict[str, Any]]:
    """What one image of a run leaves on disk: its picture (here photographs' crops), its row and its features."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        widths = {width: Path(folder, str(width)) for width in (256, WIDTH)}
        for width, where in widths.items():
            where.mkdir()
            parts.write_merged(where, rows_of(images, 0), features_of(images, 0, width))
        row = parts.table(widths[256]).stat().st_size / images
        vectors = {width: parts.features_file(where).stat().st_size / images for width, where in widths.items()}
        for side in sides:
            clean, noisy = (png_bytes(side, pictures, noise, Path(folder, "crop.png")) for noise in (0.0, 0.05))
            total = clean + row + vectors[256]
            about = {"picture": f"{side}×{side}", "PNG": clean, "PNG of a measurement, σ_y = 0.05": noisy, "row": row}
            about |= {"features, 256": vectors[256], f"features, {WIDTH}": vectors[WIDTH]}
            rows.append({**about, "in all, 256 features": total, f"in all, {WIDTH} more": total + vectors[WIDTH]})
    return rows


def png_bytes(side: int, pictures: int, noise_std: float, file: Path) -> float:
    """Mean bytes of PNGs of random crops of the photographs that scientific packages install."""
    rng, sizes = np.random.default_rng(0), []
    photographs = [read_photo(photo, reduced=side <= 64) for photo in PHOTOS]
    photographs = [photograph for photograph in photographs if min(photograph.shape[:2]) >= side]
    for _ in range(pictures):
        photograph = photographs[rng.integers(len(photographs))]
        top, left = (int(rng.integers(length - side + 1)) for length in photograph.shape[:2])
        crop = from_uint8(photograph[top : top + side, left : left + side])
        noise = noise_std * torch.from_numpy(rng.standard_normal(crop.shape, dtype=np.float32))
        save_png(crop + noise, file)
        sizes.append(file.stat().st_size)
    return float(np.mean(sizes))


def at_large(per_image: Sequence[dict[str, Any]], images: int, cells: int, tasks: int) -> list[dict[str, Any]]:
    """What many images and cells come to: pictures of every cell, measurements of every task, the originals."""
    rows = []
    for row in per_image:
        pictures = images * (cells + tasks + 1)
        shared = images * (row["PNG"] + tasks * row["PNG of a measurement, σ_y = 0.05"])
        for features, name in ((256, "in all, 256 features"), (256 + WIDTH, f"in all, {WIDTH} more")):
            about = {"picture": row["picture"], "features": features, "cells": cells, "images each": images}
            about |= {"files": f"{pictures + 5 * cells:,}", "largest folder": f"{images:,}"}
            rows.append({**about, "TB": (images * cells * row[name] + shared) / 1e12})
    return rows


def merging(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Seconds that parts take to be merged, which is done once at the end of a start, with 256 features an image."""
    rows = []
    for images in sizes:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder), names(images))
            table, vectors = rows_of(images, 0), features_of(images, 0, 256)["inception"]
            records = table.to_dict("records")
            start = time.perf_counter()
            for first in range(0, images, BATCH):
                batch = records[first : first + BATCH]
                store.commit(batch, {"alex": {row["image_id"]: vectors[row["image_id"]] for row in batch}})
            committed = time.perf_counter()
            store.merge()
            merged = time.perf_counter()
        batches = -(-images // BATCH)
        row = {"images": images, "parts": batches, "a part (s)": (committed - start) / batches}
        rows.append({**row, "merge (s)": merged - committed})
    return rows


def run(arguments: Any, device: torch.device) -> Benchmark:
    """Measure all of it."""
    quick = arguments.quick
    sizes, images = ((10, 30, 100), 100) if quick else (SIZES, IMAGES)
    costs, slopes = growth(sizes, images)
    featured = with_features((1, 2) if quick else FEATURE_RUNS, images, WIDTH)
    per_image = bytes_per_image(SIDES, 20 if quick else PICTURES, IMAGES)
    tables = [
        Table("Leaderboard, without features", ["runs", "image rows", "rows kept"], costs),
        Table("Exponent of growth", ["rows kept"], slopes),
        Table("Leaderboard with features", ["runs", "image rows", "features", "rows kept"], featured),
        Table("Bytes on disk of one image of a run", ["picture"], per_image),
        Table(
            f"{LARGE['images']:,} images × {LARGE['cells']} cells, ten tasks",
            ["picture", "features", "cells", "images each", "files", "largest folder"],
            at_large(per_image, **LARGE, tasks=len(TASKS)),
        ),
        Table("Merging", ["images", "parts"], merging([500, 5000] if quick else MERGED)),
    ]
    notes = (
        "Seconds and peak resident memory of `vml-bench leaderboard --synthetic` in a process of its own, its start "
        "and imports among them. Runs are synthetic: rows of eight made-up variants, every file a copy of its own, "
        "read from the page cache. Cold: no row is kept. Warm: the second start, every file hashed and every row "
        "found under its hash. Figures: the trade-off figures of all runs; there are no pictures to draw.",
        "An exponent is the slope of log cost against log runs. The start is a constant, so that the exponent over "
        "all sizes is lower than that between the two largest.",
        "PNGs are of random crops of the photographs that scientific packages install, reduced as in photos64 for "
        "64×64 and at their own size for 256×256, written as a run writes them; a restoration that keeps noise "
        "needs more, a smooth one less. A row holds the hash of its picture, which cannot be compressed. Rows and "
        "features are those of merged files of 1,000 images.",
        "Besides a picture for each image of each cell there is one of each measurement for every task and noise "
        "level, and one of each original; and five files a run. Until the end of a start every batch is a part.",
    )
    settings = {"images_a_run": images, "variants": VARIANTS, "batch": BATCH}
    return Benchmark("growth", "Growth", tables, settings, notes)


def main() -> None:
    """Command line."""
    arguments = options(__doc__).parse_args()
    device = begin(arguments)
    write(run(arguments, device), device, arguments)


if __name__ == "__main__":
    main()
