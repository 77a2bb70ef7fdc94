"""Ways to damage the folder of a finished run, and what is to be said of each."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

IMAGES, SCENES, FEATURES, RECORD, CONFIG = "images.parquet", "oracle.parquet", "features.npz", "run.json", "config.yaml"


def cut(file, end=None):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2 if end is None else end])


def flip(file, at=b""):
    data = bytearray(file.read_bytes())
    data[data.index(at) if at else len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def swap(folder):
    first, second, *_ = sorted(folder.glob("*.png"))
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)


def picture(folder):
    return sorted((folder / "recon").glob("*.png"))[1]


def original(folder, index=0):
    return sorted(folder.parents[4].glob("originals/*/*/*.png"))[index]


def edit_table(folder, edit, name=IMAGES):
    """Write a table again as `edit` makes it, a frame -> a frame or None where it changed the one given."""
    rows = pd.read_parquet(folder / name)
    edited = edit(rows)
    (rows if edited is None else edited).to_parquet(folder / name, index=False)


def put(column, value):
    def edit(rows):
        rows.loc[1, column] = value

    return edit


def foreign(rows):
    return pd.concat([rows, rows.iloc[[0]].assign(image_id="stranger")])


def forget(file):
    file.unlink()
    edit_table(file.parent, lambda rows: rows[rows.image_id != file.stem])


def edit_features(folder, edit):
    with np.load(folder / FEATURES) as stored:
        arrays = dict(stored)
    edit(arrays)
    np.savez(folder / FEATURES, **arrays)


def drop_feature(arrays):
    arrays.update({name: array[1:] for name, array in arrays.items()})


def spoil_feature(arrays):
    arrays["alex"][0, 3] = np.nan


def edit_record(folder, **values):
    record = json.loads((folder / RECORD).read_text()) | values
    (folder / RECORD).write_text(json.dumps(record))


def edit_form(folder, which):
    """Change what a record says of the problem or of the run, and not its name."""
    record = json.loads((folder / RECORD).read_text())
    form = record["problem"]["form"] if which == "problem" else record["form"]["method"]["Wiener"]
    form["seed"] = 7
    (folder / RECORD).write_text(json.dumps(record))


def edit_config(folder, old, new):
    text = (folder / CONFIG).read_text()
    assert old in text
    (folder / CONFIG).write_text(text.replace(old, new))


def settings(old, new):
    return lambda folder: edit_config(folder, old, new)


DAMAGE = {
    "picture truncated": (lambda f: cut(picture(f)), "recon", "sha256 is another"),
    "picture with a flipped byte": (lambda f: flip(picture(f)), "recon", "sha256 is another"),
    "picture removed": (lambda f: picture(f).unlink(), "recon", "is missing"),
    "pictures swapped": (lambda f: swap(f / "recon"), "recon", "sha256 is another"),
    "rows truncated": (lambda f: cut(f / IMAGES), IMAGES, "cannot be read"),
    "rows with a flipped byte": (lambda f: flip(f / IMAGES, b"chelsea"), IMAGES, "cannot be read"),
    "rows removed": (lambda f: (f / IMAGES).unlink(), IMAGES, "unfinished: 0 of 3"),
    "row removed": (lambda f: edit_table(f, lambda t: t.drop(1)), IMAGES, "unfinished: 2 of 3, without chel"),
    "row twice": (lambda f: edit_table(f, lambda t: pd.concat([t, t[:1]])), IMAGES, "-192-064' twice"),
    "row of another image": (lambda f: edit_table(f, foreign), IMAGES, "'stranger', which the run was not"),
    "score not a number": (lambda f: edit_table(f, put("ssim", np.nan)), IMAGES, "is ok, but ssim is nan"),
    "score of a diverged image": (lambda f: edit_table(f, put("status", "diverged")), IMAGES, "but psnr is"),
    "unknown status": (lambda f: edit_table(f, put("status", "fine")), IMAGES, "status is 'fine'"),
    "effort not a number": (lambda f: edit_table(f, put("seconds", np.inf)), IMAGES, "seconds is inf"),
    "residual not a number": (lambda f: edit_table(f, put("residual", np.nan)), IMAGES, "residual is nan"),
    "score of another picture": (lambda f: edit_table(f, put("psnr", 31.0)), "recon", "its row says 31.000"),
    "score column lost": (lambda f: edit_table(f, lambda t: t.drop(columns="ssim")), IMAGES, "numbers 'ssim'"),
    "features truncated": (lambda f: cut(f / FEATURES), FEATURES, "cannot be read"),
    "features with a flipped byte": (lambda f: flip(f / FEATURES), FEATURES, "cannot be read"),
    "features removed": (lambda f: (f / FEATURES).unlink(), FEATURES, "has no 'alex' of astronaut"),
    "feature lost": (lambda f: edit_features(f, drop_feature), FEATURES, "has no 'alex' of astronaut-192-064"),
    "feature not a number": (lambda f: edit_features(f, spoil_feature), FEATURES, "no finite 'alex' of 'astron"),
    "noise level edited": (settings("noise_std: 0.05", "noise_std: 0.1"), CONFIG, "task.noise_std=0.1, the run is of"),
    "seed edited": (settings("seed: 0", "seed: 7"), CONFIG, "seed=7, the run is of 0"),
    "setting edited": (settings("signal_std: 0.7", "signal_std: 0.6"), CONFIG, "method.sampler.signal_std=0.6"),
    "method edited": (settings("wiener.Wiener", "pinv.Pinv"), CONFIG, "_target_=baselines.pinv.Pinv, the run is of W"),
    "operator edited": (settings("factor: 4", "factor: 2"), CONFIG, "task.operator.factor=2, the run is of 4"),
    "compute edited": (settings("dtype: float32", "dtype: bfloat16"), CONFIG, "compute.dtype=bfloat16"),
    "configuration of another task": (
        settings("name: sr4", "name: sr8"),
        CONFIG,
        "says task.name=sr8, the run is of sr4",
    ),
    "configuration without a name": (settings("name: sr4", "nome: sr4"), CONFIG, "lacks the key 'name'"),
    "configuration no YAML": (lambda f: (f / CONFIG).write_text("{"), CONFIG, "cannot be read"),
    "configuration removed": (lambda f: (f / CONFIG).unlink(), CONFIG, "is missing"),
    "record of another run": (lambda f: edit_record(f, run="0" * 10), RECORD, "says run=0000000000, the run is of"),
    "record of another seed": (lambda f: edit_record(f, seed=7), RECORD, "says seed=7, the run is of 0"),
    "record of another task": (lambda f: edit_record(f, task="sr8"), RECORD, "says task=sr8, the run is of sr4"),
    "record of other settings": (lambda f: edit_record(f, settings={"signal_std": 2}), RECORD, "settings.signal_std=2"),
    "record of another problem": (lambda f: edit_form(f, "problem"), RECORD, "says problem.name="),
    "record of another method": (lambda f: edit_form(f, "method"), RECORD, "says form="),
    "record lists an image twice": (lambda f: edit_record(f, ids=["astronaut-192-064"] * 2), RECORD, "an image twice"),
    "original truncated": (lambda f: cut(original(f)), "originals/photos64", "sha256 is another"),
    "originals swapped": (lambda f: swap(original(f).parent), "originals/photos64", "sha256 is another"),
    "original removed": (lambda f: original(f).unlink(), "originals/photos64", "is missing"),
    "original forgotten": (lambda f: forget(original(f)), "originals/photos64", "lacks astronaut-192-064"),
    "originals' hashes truncated": (lambda f: cut(original(f).parent / IMAGES), IMAGES, "be read"),
    "originals' pixels not hashed": (
        lambda f: edit_table(original(f).parent, lambda t: t.drop(columns="pixels")),
        IMAGES,
        "no hash of the pixels of astronaut",
    ),
    "originals' features truncated": (lambda f: cut(original(f).parent / FEATURES), "originals", "be read"),
    "originals' feature lost": (
        lambda f: edit_features(original(f).parent, drop_feature),
        "originals",
        "has no 'alex'",
    ),
    "originals' feature not a number": (
        lambda f: edit_features(original(f).parent, spoil_feature),
        "originals",
        "no finite 'alex' of 'astron",
    ),
    "measurement truncated": (lambda f: cut(next(f.parents[4].glob("measurements/*/*/*/*.png"))), "measurements", ""),
}
