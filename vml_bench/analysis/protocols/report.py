"""The protocol report of one run: one row per convention, with its difference from the leaderboard's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vml_bench.analysis.leaderboard.intervals import bootstrap_interval
from vml_bench.analysis.protocols.blurs import PLAIN, SCRAMBLED, blurs_of, draw
from vml_bench.analysis.protocols.scores import DEFAULTS, SAVINGS, Scorer, score_pictures
from vml_bench.columns import DISTANCES
from vml_bench.data.images import read_picture
from vml_bench.errors import InputError
from vml_bench.identity import flat, in_words
from vml_bench.metrics.frechet import frechet_distance, frechet_interval
from vml_bench.metrics.suite import extractor
from vml_bench.store.features import Extract, complete_features
from vml_bench.store.layout import RunPlace
from vml_bench.store.runs import UNREADABLE, Problem, Run, read_run, select_runs

REPORT = (
    *("convention", "setting", "metric", "value", "low", "high", "n"),
    *("difference", "difference_low", "difference_high", "note"),
)
FRECHET = {column.name: column.features for column in DISTANCES if column.name.startswith(("fid", "fd_"))}
"""For each Fréchet distance of the leaderboard, the features it is computed on."""

SETTINGS = {
    "lpips_vgg": ("LPIPS network", "VGG16 instead of AlexNet", "lpips_alex"),
    "lpips_vgg_averaged": ("LPIPS network", "VGG16, pooling averaged (DAPS's eval.py)", "lpips_alex"),
    "lpips_alex_unit": ("LPIPS input", "[0, 1] where [-1, 1] is meant", "lpips_alex"),
    "psnr_luma": ("colour", "luma alone", "psnr"),
    "ssim_luma": ("colour", "luma alone", "ssim"),
    "ssim_uniform": ("SSIM window", "7×7 uniform (scikit-image) instead of 11×11 Gaussian", "ssim"),
}
"""For each score of another convention: what it changes, how, and the default that it stands against."""

SMALL, LARGE = 100, 1000
"""Sample sizes that papers report: 100 in VML-MAP and DAPS, 1,000 in DPS."""


@dataclass(frozen=True)
class Scored:
    """A run and all its scores.

    Attributes:
        run: the run.
        ids: its images that did not diverge, in the data set's order.
        scores: for each score (n,), in the order of ids.
        frechet: the Fréchet distance that is reported: fid, or fd_alex where Inception's weights are missing.
        features: for each way of saving, the features of restorations and ground truth, (n, d) each.
    """

    run: Run
    ids: list[str]
    scores: dict[str, np.ndarray]
    frechet: str
    features: dict[str, tuple[np.ndarray, np.ndarray]]


def rescore(folder: str | Path, device: torch.device) -> pd.DataFrame:
    """Rescore a run from its pictures under one convention after another.

    Args:
        folder: the run's folder, <results>/runs/<dataset>/<task>/<method>/<run>.
        device: where metric networks run.

    Returns:
        One row per convention and metric, columns `REPORT`: value with its 95 % interval over n images, and its
        difference from the leaderboard's convention, with the interval of the paired difference where the images
        are the same. `frame.attrs["run"]` names the run, `frame.attrs["synthetic"]` says if it is synthetic.

    Raises:
        InputError: the folder is no run, its pictures are not kept, it has no image that did not diverge, or a picture
            is missing.
    """
    run, ids = _read(folder)
    networks, missing = _networks(device)
    scored = _score(run, ids, networks, device)
    rows = [
        *_defaults(scored),
        *_conventions(scored),
        *_frechet_conventions(scored, networks, missing),
        *_savings(scored),
        *_sample_sizes(scored),
        *_noise_levels(scored),
        *_blurs(scored),
    ]
    frame = pd.DataFrame(rows, columns=list(REPORT))
    about = filter(None, (f"{run.dataset}, {run.label}", in_words(run.all_settings), run.prior))
    frame.attrs = {"run": " · ".join(about), "synthetic": run.synthetic}
    return frame


def draw_blurs(folder: str | Path, path: Path) -> list[Path]:
    """Draw what a run's blur makes of its first images beside what the scrambled one does.

    Args:
        folder: the run's folder.
        path: of the PNG.

    Returns:
        The path; none where the run's operator is no separable blur.

    Raises:
        InputError: as `rescore`, or its operator cannot be built.
    """
    run, ids = _read(folder)
    blurs = blurs_of(run, read_picture(run.original(ids[0])).shape)
    heading = f"{run.dataset} · {run.task} · measurements without noise, PSNR"
    return [draw(blurs, {i: run.original(i) for i in ids}, heading, path)] if blurs else []


def _read(folder: str | Path) -> tuple[Run, list[str]]:
    """A run, and its images that did not diverge, whose pictures are all there."""
    folder = Path(folder).resolve()
    try:
        run = read_run(RunPlace.of(folder).folder)
    except UNREADABLE as error:
        usage = "give <results>/runs/<dataset>/<task>/<method>/<run>"
        raise InputError(f"{folder} is no run ({error})", usage) from error
    if run.exact:
        raise InputError(f"{folder} is scored against an exact posterior and keeps no pictures", "choose another run")
    good = set(run.good["image_id"])
    ids = [image_id for image_id in run.asked if image_id in good]
    if not ids:
        raise InputError(f"{folder} has no image that did not diverge", "choose another run")
    pictures = [*map(run.picture, ids), *map(run.original, ids)]
    if gone := [file for file in pictures if not file.is_file()]:
        raise InputError(f"the picture {gone[0]} is missing", "run its cell again")
    return run, ids


def _networks(device: torch.device) -> tuple[dict[str, Extract], dict[str, str]]:
    """The feature networks by Fréchet distance, and why others are missing."""
    networks, missing = {}, {}
    for name, features in FRECHET.items():
        try:
            networks[name] = extractor(features, device)
        except InputError as error:
            missing[name] = str(error)
    return networks, missing


def _score(run: Run, ids: list[str], networks: dict[str, Extract], device: torch.device) -> Scored:
    name = "fid" if "fid" in networks else "fd_alex"
    scores, stretched = score_pictures(Scorer(networks[name], device), ids, run.picture, run.original)
    saved = _features(run, ids, FRECHET[name], networks[name])
    pairs = (saved, stretched, (stretched[0], saved[1]))
    return Scored(run, ids, scores, name, dict(zip(SAVINGS, pairs, strict=True)))


def _features(run: Run, ids: list[str], network: str, extract: Extract) -> tuple[np.ndarray, np.ndarray]:
    """Stored features of restorations and ground truth; missing ones are computed from the pictures."""
    restored = complete_features(run.folder, network, {i: run.picture(i) for i in ids}, extract)
    originals = complete_features(run.originals, network, {i: run.original(i) for i in ids}, extract)
    return restored.rows(network, ids), originals.rows(network, ids)


def _row(convention: str, setting: str, metric: str, value: float, bounds: tuple[float, float], n: int) -> dict:
    return {
        "convention": convention, "setting": setting, "metric": metric, "value": value,
        "low": bounds[0], "high": bounds[1], "n": n, "note": "",
    }  # fmt: skip


def _against(row: dict, default: float, paired: np.ndarray | None = None) -> dict:
    """Add a row's difference from the default; where the images are the same, with its interval."""
    low, high = (math.nan, math.nan) if paired is None else bootstrap_interval(paired)
    difference = row["value"] - default if paired is None else float(paired.mean())
    return row | {"difference": difference, "difference_low": low, "difference_high": high}


def _set_row(convention: str, setting: str, metric: str, pair: tuple[np.ndarray, np.ndarray]) -> dict:
    """A row of a Fréchet distance between two sets of features."""
    return _row(convention, setting, metric, frechet_distance(*pair), frechet_interval(*pair), len(pair[0]))


def _mean_row(convention: str, setting: str, metric: str, values: np.ndarray) -> dict:
    """A row of a mean over images."""
    return _row(convention, setting, metric, float(values.mean()), bootstrap_interval(values), len(values))


def _defaults(scored: Scored) -> Iterator[dict]:
    stored = scored.run.good.set_index("image_id").loc[scored.ids]
    for name in DEFAULTS:
        row = _mean_row("leaderboard", "", name, scored.scores[name])
        if name in stored and not np.allclose(stored[name], scored.scores[name], rtol=1e-4, atol=1e-3):
            row["note"] = f"the run itself recorded {stored[name].mean():.4f}: its pictures are not what it scored"
        yield row
    yield _set_row("leaderboard", "", scored.frechet, scored.features[SAVINGS[0]])


def _conventions(scored: Scored) -> Iterator[dict]:
    for name, (convention, setting, default) in SETTINGS.items():
        values, against = scored.scores[name], scored.scores[default]
        yield _against(_mean_row(convention, setting, name, values), float(against.mean()), values - against)
    squared = 4 / 10 ** (scored.scores["psnr"] / 10)
    pooled, high, low = (_decibel(value) for value in (squared.mean(), *bootstrap_interval(squared)))
    row = _row("PSNR average", "of the squared error over all images", "psnr", pooled, (low, high), len(squared))
    yield _against(row, float(scored.scores["psnr"].mean()))


def _decibel(squared_error: float) -> float:
    """PSNR of a mean squared error on [-1, 1]."""
    return 10 * math.log10(4 / squared_error) if squared_error else math.inf


def _frechet_conventions(scored: Scored, networks: dict[str, Extract], missing: dict[str, str]) -> Iterator[dict]:
    default = frechet_distance(*scored.features[SAVINGS[0]])
    for name, features in FRECHET.items():
        if name == scored.frechet:
            continue
        if name in missing:
            nothing = (math.nan, math.nan)
            yield _row("FID variant", features, name, math.nan, nothing, len(scored.ids)) | {"note": missing[name]}
            continue
        pair = _features(scored.run, scored.ids, features, networks[name])
        if name == "fd_alex":
            yield _set_row("other features", features, name, pair)
        else:
            yield _against(_set_row("FID variant", features, name, pair), default)


def _savings(scored: Scored) -> Iterator[dict]:
    note = "applied to the saved pictures; what clipping cut off beyond [-1, 1] is not on disk"
    for saving in SAVINGS[1:]:
        setting = "min-max (DPS)" if saving == SAVINGS[1] else saving
        for name in DEFAULTS:
            values, against = scored.scores[f"{name}, {saving}"], scored.scores[name]
            row = _mean_row("saving", setting, name, values)
            yield _against(row, float(against.mean()), values - against) | {"note": note}
        row = _set_row("saving", setting, scored.frechet, scored.features[saving])
        yield _against(row, frechet_distance(*scored.features[SAVINGS[0]])) | {"note": note}


def _sample_sizes(scored: Scored) -> Iterator[dict]:
    n = len(scored.ids)
    sizes = [size for size in (SMALL, LARGE) if size < n] or [n // 2]
    for size in sizes:
        if size < 1:
            continue
        for name in DEFAULTS:
            row = _mean_row("sample", f"first {size} of {n}", name, scored.scores[name][:size])
            yield _against(row, float(scored.scores[name].mean()))
        restored, originals = scored.features[SAVINGS[0]]
        row = _set_row("sample", f"first {size} of {n}", scored.frechet, (restored[:size], originals[:size]))
        yield _against(row, frechet_distance(restored, originals))


def _noise_levels(scored: Scored) -> Iterator[dict]:
    run, where = scored.run, {image_id: i for i, image_id in enumerate(scored.ids)}
    siblings = [
        other
        for other in select_runs(run.results, run.dataset, synthetic=True)[0]
        if _kind(other) == _kind(run) and other.noise_std != run.noise_std
    ]
    for other in siblings:
        table = other.good.set_index("image_id")
        common = [image_id for image_id in scored.ids if image_id in table.index]
        for name in (name for name in DEFAULTS if name in table and common):
            values, against = (
                table.loc[common, name].to_numpy(np.float64),
                scored.scores[name][[where[i] for i in common]],
            )
            row = _mean_row("noise level", f"σ_y = {other.noise_std:g} (run {other.name})", name, values)
            yield _against(row, float(against.mean()), values - against) | {"note": _unlike(run, other)}
    if not siblings:
        other = 2 * run.noise_std or 0.05
        row = _row("noise level", f"other than σ_y = {run.noise_std:g}", "", math.nan, (math.nan, math.nan), 0)
        yield row | {"note": f"none on disk; run the cell again with task.noise_std={other:g}"}


def _blurs(scored: Scored) -> Iterator[dict]:
    run, convention = scored.run, "blur"
    originals = {image_id: run.original(image_id) for image_id in scored.ids}
    try:
        blurs = blurs_of(run, read_picture(originals[scored.ids[0]]).shape)
    except InputError as error:
        yield _row(convention, SCRAMBLED, "", math.nan, (math.nan, math.nan), 0) | {"note": str(error)}
        return
    if blurs is None:
        return
    note = {"note": "what operators make of the ground truth, without a method: docs/published.md"}
    found = blurs.scores(originals)
    other = {PLAIN: SCRAMBLED, SCRAMBLED: PLAIN}[blurs.own]
    for what in dict.fromkeys(what for what, name in found if name):
        against, values = found[what, blurs.own], found[what, other]
        yield _mean_row(convention, f"{what}, {blurs.own} (this run)", "psnr", against) | note
        with np.errstate(invalid="ignore"):  # both may be exact, ∞ dB
            row = _mean_row(convention, f"{what}, {other}", "psnr", values)
            yield _against(row, float(against.mean()), values - against) | note
    yield _mean_row(convention, "one measurement against the other", "psnr", found["each other", ""]) | note


def _kind(run: Run) -> tuple[object, ...]:
    """What runs at different noise levels share: the rest of the problem, method, settings and prior."""
    return run.task, _asked(run.problem), run.method, dict(run.settings), run.prior, run.synthetic


def _asked(problem: Problem) -> dict[str, object]:
    """A problem's canonical form without its noise level."""
    return {key: value for key, value in problem.form.items() if key != "noise_std"}


def _unlike(run: Run, other: Run) -> str:
    """What besides the noise level differs between the canonical forms of two runs of one kind."""
    first, second = (flat({**r.form, "compute": {"": r.form.get("compute", {})}}) for r in (run, other))
    keys = [key for key in sorted({**first, **second}) if first.get(key) != second.get(key) and key != "problem"]
    return f"differs in {', '.join(keys)} too" if keys else ""
