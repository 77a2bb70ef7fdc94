"""Run folders as the runner leaves them, small and made up, for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vml_bench.files import write_json
from vml_bench.identity import name_of
from vml_bench.store import layout


def write_run(
    results: Path,
    method: str = "pinv",
    run: str = "0123456789",
    *,
    dataset: str = "toy",
    task: str = "sr4",
    noise_std: float = 0.05,
    ids: Sequence[str] = ("a", "b", "c"),
    psnr: Sequence[float] = (20.0, 22.0, 24.0),
    lpips: Sequence[float] = (0.3, 0.2, 0.1),
    diverged: Sequence[str] = (),
    features: np.ndarray | None = None,
    synthetic: bool = False,
    pictures: bool = False,
    asked: Mapping[str, object] | None = None,
    record: Mapping[str, object] | None = None,
) -> Path:
    """Write one run folder and return it; diverged images have NaN scores and no features.

    Args:
        asked: what of the problem is otherwise than `problem_form` says.
        record: what run.json says otherwise.
    """
    form = problem_form(noise_std, asked)
    place = layout.RunPlace(results, dataset, task, method, run)
    place.folder.mkdir(parents=True)
    config = {"seed": 0, "dataset": {"name": dataset}, "task": {"name": task, "noise_std": noise_std}}
    (place.folder / layout.CONFIG).write_text(json.dumps({**config, "method": {"name": method}}))
    told = {
        **{"format": 2, "run": run, "dataset": dataset, "task": task, "noise_std": noise_std, "method": method},
        **{"seed": 0, "settings": {}, "problem": {"name": name_of(form), "form": form}},
        "prior": {"name": "shipped", "hash": "0f1e2d3c4b", "form": {}},
        "form": {"problem": name_of(form), "method": {method: {}}, "prior": "0f1e2d3c4b", "compute": {}},
        **{"about": {}, "columns": [], "synthetic": synthetic, "ids": list(ids), "command": None, "date": None},
    }
    write_json(place.folder / layout.RECORD, {**told, **(record or {})})
    lost = np.isin(list(ids), list(diverged))
    table = pd.DataFrame({"image_id": list(ids), "psnr": psnr, "ssim": 0.5, "lpips_alex": lpips})
    table.loc[lost, ["psnr", "ssim", "lpips_alex"]] = np.nan
    table = table.assign(residual=1.0, nfe=20, vjp=0, seconds=0.25, memory_mb=100.0)
    table["status"] = np.where(lost, layout.DIVERGED, layout.OK)
    table.to_parquet(place.folder / layout.TABLE, index=False)
    if features is not None:
        np.savez(place.folder / layout.FEATURES, ids=np.array(ids)[~lost], alex=features[~lost])
    if pictures:
        measured = layout.measurements(results, dataset, task, name_of(form))
        for i, image_id in enumerate(ids):
            write_picture(layout.picture(place.folder / layout.PICTURES, image_id), 40 * i + 60)
            write_picture(layout.picture(originals(results, dataset, form["images"]), image_id), 40 * i + 50)
            write_picture(layout.picture(measured, image_id), 40 * i + 80)
    return place.folder


def problem_form(noise_std: float = 0.05, asked: Mapping[str, object] | None = None) -> dict[str, object]:
    """The problem of the run folders of `write_run`."""
    form = {
        "images": "1111111111",
        "operator": {"BlockAverage": {"factor": 4}},
        "noise_std": float(noise_std),
        "seed": 0,
    }
    return {**form, **(asked or {})}


def originals(results: Path, dataset: str = "toy", images: str = "1111111111") -> Path:
    """The folder of their originals."""
    return layout.originals(results, dataset, images)


def write_reference(results: Path, ids: Sequence[str], features: np.ndarray, dataset: str = "toy") -> None:
    """Write the features of the originals."""
    folder = originals(results, dataset)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / layout.FEATURES, ids=np.array(ids), alex=features)


def write_picture(file: Path, level: int, side: int = 8) -> None:
    """Write a grey picture whose left half is `level` and whose right half is darker by 30."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((side, side, 3), level, np.uint8)
    pixels[:, side // 2 :] -= 30
    Image.fromarray(pixels).save(file)


def write_oracle_run(
    results: Path,
    method: str = "ddrm",
    run: str = "0123456789",
    *,
    dataset: str = "plane",
    task: str = "random_projection",
    noise_std: float = 0.05,
    gaps: Sequence[Sequence[float]] = ((1.0, 2.0), (3.0, 50.0)),
    sw2: Sequence[float] = (0.2, 0.4),
    nfe: int = 20,
    diverged: Sequence[str] = (),
    ways: bool = False,
    record: Mapping[str, object] | None = None,
) -> Path:
    """Write the folder of a run against an exact posterior: a list of gaps for each scene, one for each image."""
    ids = [f"p{p:03d}-r{r:02d}" for p, scene in enumerate(gaps) for r in range(len(scene))]
    lost = np.isin(ids, list(diverged))
    exact = {"reference": {"Oracle": {"samples": 256}}}
    told = {
        "dataset": dataset,
        "task": task,
        "noise_std": noise_std,
        "asked": exact,
        "record": {"ids": ids, **(record or {})},
    }
    folder = write_run(results, method, run, **told)
    table = pd.DataFrame(
        {"image_id": ids, "scene": [image_id[:4] for image_id in ids], "map_gap": np.concatenate(gaps)}
    )
    table = table.assign(map_distance=0.5, residual_ratio=1.1 if noise_std else np.nan, residual=0.25)
    table.loc[lost, ["map_gap", "map_distance", "residual_ratio"]] = np.nan
    table = table.assign(
        nfe=nfe, vjp=0, seconds=0.01, memory_mb=10.0, status=np.where(lost, layout.DIVERGED, layout.OK)
    )
    table.to_parquet(folder / layout.TABLE, index=False)
    repeats = table[~lost].groupby("scene").size()
    scenes = pd.DataFrame({"scene": repeats.index, "repeats": repeats.to_numpy(), "sw2": sw2[: len(repeats)]})
    scenes.assign(sw2_floor=0.1, mean_error=0.3, mean_error_floor=0.2).to_parquet(folder / layout.SCENES, index=False)
    if ways:
        _write_ways(folder, ids, len(gaps))
    return folder


def _write_ways(folder: Path, ids: Sequence[str], scenes: int) -> None:
    """Answers and ways in the plane, and posteriors of two components, the more divided the later the scene."""
    rng = np.random.default_rng(0)
    denoised = rng.normal(size=(len(ids), 2 * 5))
    np.savez(folder / layout.FEATURES, ids=np.array(ids), restored=denoised[:, -2:], denoised=denoised)
    first = np.linspace(0.95, 0.5, scenes)
    weights, means = np.stack([first, 1 - first], axis=1), np.array([[-1.0, 0.0], [1.0, 0.5]])
    np.savez(
        folder / layout.POSTERIOR,
        scenes=np.array([f"p{p:03d}" for p in range(scenes)]),
        weights=weights,
        means=np.tile(means, (scenes, 1, 1)),
        covariances=np.tile(0.05 * np.eye(2), (scenes, 2, 1, 1)),
        mode=np.tile(means[0], (scenes, 1)),
        mean=weights @ means,
        prior_weights=np.array([0.5, 0.5]),
        prior_means=means,
        prior_covariances=np.tile(0.2 * np.eye(2), (2, 1, 1)),
    )
