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
