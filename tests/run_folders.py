"""Run folders as the runner leaves them, small and made up, for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image


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
) -> Path:
    """Write one run folder and return it; diverged images have NaN scores and no features."""
    folder = results / "runs" / dataset / task / method / run
    folder.mkdir(parents=True)
    config = {"seed": 0, "dataset": {"name": dataset}, "task": {"name": task, "noise_std": noise_std}}
    (folder / "config.yaml").write_text(json.dumps({**config, "method": {"name": method}}))
    (folder / "run.json").write_text(json.dumps({"ids": list(ids), "synthetic": synthetic, "manifest": "0"}))
    lost = np.isin(list(ids), list(diverged))
    table = pd.DataFrame({"image_id": list(ids), "psnr": psnr, "ssim": 0.5, "lpips_alex": lpips})
    table.loc[lost, ["psnr", "ssim", "lpips_alex"]] = np.nan
    table = table.assign(residual=1.0, nfe=20, vjp=0, seconds=0.25, memory_mb=100.0)
    table["status"] = np.where(lost, "diverged", "ok")
    table.to_parquet(folder / "images.parquet", index=False)
    if features is not None:
        np.savez(folder / "features.npz", ids=np.array(ids)[~lost], alex=features[~lost])
    if pictures:
        for i, image_id in enumerate(ids):
            write_picture(folder / "recon" / f"{image_id}.png", 40 * i + 60)
            write_picture(results / "references" / dataset / f"{image_id}.png", 40 * i + 50)
            measured = results / "runs" / dataset / task / "measurements" / f"{noise_std:g}-0"
            write_picture(measured / f"{image_id}.png", 40 * i + 80)
    return folder


def write_reference(results: Path, ids: Sequence[str], features: np.ndarray, dataset: str = "toy") -> None:
    """Write the features of the originals."""
    folder = results / "references" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "features.npz", ids=np.array(ids), alex=features)


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
) -> Path:
    """Write the folder of a run against an exact posterior: a list of gaps a scene, one an image."""
    ids = [f"p{p:03d}-r{r:02d}" for p, scene in enumerate(gaps) for r in range(len(scene))]
    lost = np.isin(ids, list(diverged))
    folder = write_run(results, method, run, dataset=dataset, task=task, noise_std=noise_std)
    record = json.loads((folder / "run.json").read_text()) | {"ids": ids}
    (folder / "run.json").write_text(json.dumps(record))
    table = pd.DataFrame(
        {"image_id": ids, "scene": [image_id[:4] for image_id in ids], "map_gap": np.concatenate(gaps)}
    )
    table = table.assign(map_distance=0.5, residual_ratio=1.1 if noise_std else np.nan, residual=0.25)
    table.loc[lost, ["map_gap", "map_distance", "residual_ratio"]] = np.nan
    table = table.assign(nfe=nfe, vjp=0, seconds=0.01, memory_mb=10.0, status=np.where(lost, "diverged", "ok"))
    table.to_parquet(folder / "images.parquet", index=False)
    repeats = table[~lost].groupby("scene").size()
    scenes = pd.DataFrame({"scene": repeats.index, "repeats": repeats.to_numpy(), "sw2": sw2[: len(repeats)]})
    scenes.assign(sw2_floor=0.1, mean_error=0.3, mean_error_floor=0.2).to_parquet(
        folder / "oracle.parquet", index=False
    )
    if ways:
        _write_ways(folder, ids, len(gaps))
    return folder


def _write_ways(folder: Path, ids: Sequence[str], scenes: int) -> None:
    """Answers and ways in the plane, and posteriors of two components, the more divided the later the scene."""
    rng = np.random.default_rng(0)
    denoised = rng.normal(size=(len(ids), 2 * 5))
    np.savez(folder / "features.npz", ids=np.array(ids), restored=denoised[:, -2:], denoised=denoised)
    first = np.linspace(0.95, 0.5, scenes)
    weights, means = np.stack([first, 1 - first], axis=1), np.array([[-1.0, 0.0], [1.0, 0.5]])
    np.savez(
        folder / "posterior.npz",
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
