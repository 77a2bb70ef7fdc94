"""Measurements as files, for programs that are not part of this one.

What is written is what methods see: the same y, to the last bit, that a run of the same configuration restores from.
"""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from tqdm import tqdm

from vml_bench.configuration import read_record
from vml_bench.contract import Operator
from vml_bench.data.images import save_png
from vml_bench.errors import InputError
from vml_bench.files import replacing, sha256, write_json
from vml_bench.identity import name_of
from vml_bench.runner.cell import Cell
from vml_bench.runner.external import of_others
from vml_bench.runner.provenance import environment

MANIFEST = "manifest.json"
FORMAT = 1
"""Of the manifest."""
MEASURED, PICTURES, TRUTH, OPERATOR = "y", "picture", "truth", "operator"
"""Folders of arrays and pictures, one file per image; a file `OPERATOR`.npz where all images share one operator."""
RANGE = (
    "images have values in [-1, 1]: x / 127.5 - 1 of 8-bit levels, RGB; y is what the operator makes of them, unclipped"
)


def export(
    folder: Path, config: DictConfig, overrides: Sequence[str], config_dir: Path | None = None, truth: bool = False
) -> Path:
    """Write the measurements of a problem, and what tells of them; returns the path of the manifest.

    Args:
        folder: where to; made if absent.
        config: the configuration of a cell whose problem it is; its method has no part in this.
        overrides, config_dir: what the configuration is composed of, for the manifest.
        truth: whether to write the ground truth, too.

    Raises:
        InputError: the folder holds measurements of another problem, or something in the configuration is wrong.
    """
    folder = Path(folder).expanduser()
    cell = Cell(of_others(config))
    problem = {"name": name_of(cell.identity.problem), "form": cell.identity.problem}
    _refuse_another(folder, problem["name"])
    size, images = cell.config.runner.batch_size, []
    with tqdm(total=len(cell.ids), unit="img", desc="measurements") as bar:
        for start in range(0, len(cell.ids), size):
            ids = list(cell.ids[start : start + size])
            images += _write(folder, cell, ids, truth)
            bar.update(len(ids))
    shown = cell.operator.for_images([cell.images.scene(cell.ids[0])], cell.seed)
    shared = not differs(cell.operator, shown)
    if shared:
        _write_npz(folder / f"{OPERATOR}.npz", arrays(shown, cell.images.dtype))
    what = ["vml-bench", "score", "FOLDER", "--measurements", str(folder), "--name", "NAME"]
    manifest = {
        "format": FORMAT,
        "dataset": cell.config.dataset.name,
        "task": cell.config.task.name,
        "noise_std": cell.noise_std,
        "seed": cell.seed,
        "image_shape": list(cell.images.image_shape),
        "range": RANGE,
        "operator": {
            "class": type(shown).__name__,
            "parameters": next(iter(cell.identity.problem["operator"].values())),
            "about": inspect.getdoc(type(shown)),
            "arrays": f"{OPERATOR}.npz" if shared else f"{OPERATOR}/<id>.npz",
        },
        "problem": problem,
        "overrides": list(overrides),
        "config_dir": config_dir and str(config_dir),
        "score": shlex.join(what),
        "images": images,
        "made_by": environment(torch.device("cpu")),
    }
    write_json(folder / MANIFEST, manifest)
    return folder / MANIFEST


def arrays(operator: Operator, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """The tensors that an operator consists of, by name; and of a linear one "impulse", H of an image that is 1 at its
    middle and 0 elsewhere.

    Of a mask `singular_values` is 1 where a pixel is seen; of a convolution the impulse is the kernel. A sparse matrix
    stands by rows: <name>_data, <name>_indices and <name>_indptr, which `scipy.sparse.csr_matrix` takes, and
    <name>_shape.

    Args:
        operator: for one image.
        dtype: of the data set's images.
    """
    own = {name: value for name, value in vars(operator).items() if torch.is_tensor(value) and name[0] != "_"}
    own = {name: value[0] if value.dim() == 4 and len(value) == 1 else value for name, value in own.items()}
    if operator.kind != "differentiable":
        channels, height, width = operator.image_shape
        impulse = torch.zeros(1, channels, height, width, dtype=dtype)
        impulse[..., height // 2, width // 2] = 1
        own["impulse"] = operator.forward(impulse)[0]
    return {key: array for name, value in own.items() for key, array in _plain(name, value).items()}


def _plain(name: str, value: torch.Tensor) -> dict[str, np.ndarray]:
    """A tensor as arrays by name: one, or those of a sparse matrix."""
    if value.layout != torch.sparse_csr:
        return {name: value.numpy()}
    parts = {"data": value.values(), "indices": value.col_indices(), "indptr": value.crow_indices()}
    return {f"{name}_{part}": of.numpy() for part, of in parts.items()} | {f"{name}_shape": np.array(value.shape)}


def differs(operator: Operator, bound: Operator) -> bool:
    """Whether an operator differs from image to image; `bound` is that of one image."""
    per_image = getattr(bound, "singular_values", None)
    return bound is not operator and (per_image is None or per_image.dim() == 4)


def asked(folder: Path) -> tuple[list[str], Path | None, str]:
    """What an export was asked for: overrides, folder of `--config-dir` or None, and the name of its problem.

    Raises:
        InputError: there is no manifest that can be read.
    """
    file = Path(folder).expanduser() / MANIFEST
    try:
        manifest = read_record(file)
        config_dir = manifest["config_dir"]
        return list(map(str, manifest["overrides"])), config_dir and Path(config_dir), str(manifest["problem"]["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} cannot be read ({error})", "give the folder that `vml-bench measurements --export` wrote"
        ) from error


def _write(folder: Path, cell: Cell, ids: list[str], truth: bool) -> list[dict[str, Any]]:
    """Write the files of a batch; returns what the manifest says of each image."""
    batch, said = cell.batch(ids), []
    pictures = batch.operator.picture(batch.y)
    for i, image_id in enumerate(ids):
        y, file = batch.y[i].cpu().numpy(), f"{MEASURED}/{image_id}.npy"
        with replacing(folder / file) as partial:
            np.save(partial, y)
        save_png(pictures[i], folder / PICTURES / f"{image_id}.png")
        if truth:
            save_png(batch.clean[i], folder / TRUTH / f"{image_id}.png")
        own = cell.operator.for_images([cell.images.scene(image_id)], cell.seed)
        if differs(cell.operator, own):
            _write_npz(folder / OPERATOR / f"{image_id}.npz", arrays(own, cell.images.dtype))
        said.append(
            {
                "id": image_id,
                "y": file,
                "shape": list(y.shape),
                "dtype": str(y.dtype),
                "range": [float(y.min()), float(y.max())],
                "sha256": sha256(folder / file),
            }
        )
    return said


def _write_npz(file: Path, content: dict[str, np.ndarray]) -> None:
    with replacing(file) as partial:
        np.savez_compressed(partial, **content)


def _refuse_another(folder: Path, problem: str) -> None:
    """Refuse a folder that holds something other than measurements of this problem.

    Raises:
        InputError: it does.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["problem"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != problem:
        held = f"measurements of another problem ({found})" if found else "something else"
        raise InputError(f"{folder} holds {held}", "give a new folder")
