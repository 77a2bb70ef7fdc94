"""What is damaged under a finished run is named, and what is printed about it mends it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vml_bench.cli import main
from vml_bench.contract import ImageSet
from vml_bench.noise import ImageNoise
from vml_bench.runner.run import run_cell
from vml_bench.verify import mending, summary, verify
from vml_bench.verify.record import differing

PICTURES = ("task=sr4", "method=wiener", "runner.limit=3", "runner.batch_size=2")
EXACT = ("dataset=gmm_vector", "dataset.scenes=2", "dataset.repeats=3", "task=random_projection", "method=pinv")
IMAGES, SCENES, FEATURES, RECORD, CONFIG = "images.parquet", "oracle.parquet", "features.npz", "run.json", "config.yaml"


@dataclass(frozen=True)
class OffGrid(ImageSet):
    """Images whose values are on no 8-bit grid."""

    name: str = "off_grid"
    ids: tuple[str, ...] = ("a", "b", "c")
    image_shape: tuple[int, int, int] = (3, 32, 32)

    def load(self, image_id):
        return ImageNoise(0, [image_id], "image").randn_like(torch.zeros(1, *self.image_shape))[0].tanh()


def run(results, *overrides):
    """Run a cell as the command line does."""
    main(["run", *overrides, f"runner.results_dir={results}"])
    return results


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A results folder with one run whose pictures are kept and one against an exact posterior."""
    results = tmp_path_factory.mktemp("finished")
    for cell in (PICTURES, EXACT):
        run(results, *cell)
    return results


@pytest.fixture(scope="module")
def off_grid(tmp_path_factory):
    """A results folder with a run on all images of a data set that no PNG can hold."""
    images = ("dataset.name=off_grid", "dataset.images._target_=tests.test_verify.OffGrid", "~dataset.images.split")
    return run(tmp_path_factory.mktemp("off_grid"), "task=sr4", "method=pinv", *images)


@pytest.fixture
def results(finished, tmp_path):
    """A copy of it to damage."""
    return shutil.copytree(finished, tmp_path / "results")


def folder_of(results, dataset="photos64"):
    (folder,) = results.glob(f"runs/{dataset}/*/*/*")
    return folder


def snapshot(folder):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


def defects(results, dataset=None):
    return [defect for checked in verify(results, dataset) for defect in checked.defects]


def notes(results):
    return [f for checked in verify(results) for f in checked.findings if f not in checked.defects]


def printed(capsys, results, *arguments):
    """What the command says of a folder with defects."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--results", str(results), *arguments])
    assert ended.value.code == 1
    return capsys.readouterr().out


def mend(text):
    """Do what is printed, line by line."""
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith(("rm ", "vml-bench run "))]
    for words in commands:
        if words[0] == "vml-bench":
            main(words[1:])
        elif words[1] == "-r":
            shutil.rmtree(words[-1])
        else:
            Path(words[-1]).unlink()
    assert commands


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


def test_nothing_is_said_of_what_is_sound_and_nothing_is_written(results, capsys):
    for file in [results, *results.rglob("*")]:
        file.chmod(0o555 if file.is_dir() else 0o444)
    before = snapshot(results)
    main(["verify", "--results", str(results)])
    assert capsys.readouterr().out.strip() == "2 runs, 9 images, 3 originals checked: no defects, no notes"
    assert snapshot(results) == before


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_what_is_printed_mends_it(results, name, capsys):
    damage, where, says = DAMAGE[name]
    damage(folder_of(results))
    before = snapshot(results)
    text = printed(capsys, results, "--dataset", "photos64")
    lines = text.split("\n\n")[0].splitlines()
    assert any(where in line.split(": ")[0] and says in line for line in lines), text
    assert snapshot(results) == before
    mend(text)
    assert defects(results) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / SCENES).unlink(), "is missing"),
        (lambda f: cut(f / SCENES), "cannot be read"),
        (lambda f: edit_table(f, put("repeats", 9), SCENES), "scenes and repeats of the rows"),
        (lambda f: edit_table(f, lambda t: t.drop(0), SCENES), "scenes and repeats of the rows"),
        (lambda f: edit_table(f, put("sw2", np.nan), SCENES), "scores that are no numbers"),
        (lambda f: edit_table(f, put("map_gap", np.nan)), "is ok, but map_gap is nan"),
        (lambda f: edit_features(f, drop_feature), "has no 'restored' of p000-r00"),
    ],
)
def test_damage_under_an_exact_posterior_is_named_and_mended(results, damage, says, capsys):
    damage(folder_of(results, "gmm_vector"))
    text = printed(capsys, results, "--dataset", "gmm_vector")
    assert says in text.splitlines()[0]
    mend(text)
    assert defects(results) == []


def test_older_rows_without_hashes_are_held_to_their_pictures_and_scores(results, capsys):
    folder = folder_of(results)
    edit_table(folder, lambda rows: rows.drop(columns="sha256"))
    assert defects(results) == []
    swap(folder / "recon")
    cut(sorted((folder / "recon").glob("*.png"))[2])
    whats = [defect.what for defect in defects(results)]
    assert len(whats) == 3
    assert sum("against its original, its row says" in what for what in whats) == 2
    assert any("cannot be read" in what or "no whole PNG" in what for what in whats)
    mend(printed(capsys, results))
    assert defects(results) == []


def test_a_data_set_off_the_8_bit_grid_verifies(off_grid, capsys):
    main(["verify", "--results", str(off_grid)])
    assert capsys.readouterr().out.strip() == "1 run, 3 images, 3 originals checked: no defects, no notes"


def test_originals_of_other_images_than_they_are_named_by_are_found(off_grid, tmp_path, capsys):
    results = shutil.copytree(off_grid, tmp_path / "results")
    folder = original(folder_of(results, "off_grid")).parent
    edit_table(folder, put("pixels", "0" * 64))
    text = printed(capsys, results)
    assert f"originals/off_grid/{folder.name}: holds other images than it is named by" in text
    assert f"rm -r {folder}" in text
    mend(text)
    assert defects(results) == []


def test_an_id_that_leads_out_of_the_folder_is_refused_by_name(results, capsys):
    folder = folder_of(results)
    edit_table(folder, put("image_id", "../../../escape\n"))
    edit_table(original(folder).parent, put("image_id", "../escape"))
    text = printed(capsys, results)
    assert "'../../../escape\\n', which names no file" in text
    assert "'../escape', which names no file" in text
    removed = [shlex.split(line)[-1] for line in text.splitlines() if line.startswith("rm ")]
    assert removed == [str(folder / IMAGES), str(original(folder).parent / IMAGES)]
    mend(text)
    assert defects(results) == []


def test_what_harms_nothing_is_a_note(results):
    folder = folder_of(results)
    (folder / "recon" / "extra.png").write_bytes(picture(folder).read_bytes())
    (folder / "recon" / ".a.123.partial.png").write_bytes(b"half")
    (folder / "images.parquet.damaged").write_bytes(b"broken")
    np.savez(folder / "features_inception.npz", ids=np.array(["astronaut-192-064"]), inception=np.zeros((1, 4)))
    assert defects(results) == []
    said = " / ".join(note.what for note in notes(results))
    for text in ("1 without a row (extra)", "stopped processes", "set aside as damaged", "lacks 2 images"):
        assert text in said


def test_features_completed_later_are_completed_again_where_they_are_damaged(results):
    file = folder_of(results) / "features_inception.npz"
    file.write_bytes(b"no archive")
    (checked,) = (found for found in verify(results) if found.defects)
    assert mending(checked, results)[1:] == [
        shlex.join(["rm", str(file)]),
        f"vml-bench leaderboard --features inception --results {results} --dataset photos64",
    ]


def test_runs_of_which_only_tables_are_archived_are_checked_for_the_rest(results):
    folder = folder_of(results)
    shutil.rmtree(results / "originals")
    shutil.rmtree(folder / "recon")
    (folder / FEATURES).unlink()
    (note,) = notes(results)
    assert "1 runs without pictures" in note.what
    edit_table(folder, put("ssim", np.nan))
    (defect,) = defects(results)
    assert "ssim is nan" in defect.what


def test_parts_not_merged_yet_are_rows_too(results):
    folder = folder_of(results)
    rows = pd.read_parquet(folder / IMAGES)
    with np.load(folder / FEATURES) as stored:
        rows["features/alex"] = list(stored["alex"])
    (folder / "parts").mkdir(exist_ok=True)
    rows.to_parquet(folder / "parts" / "000000-aa.parquet", index=False)
    for name in (IMAGES, FEATURES):
        (folder / name).unlink()
    assert defects(results) == []
    cut(folder / "parts" / "000000-aa.parquet")
    (defect,) = defects(results, "photos64")
    assert defect.file.name == "000000-aa.parquet"
    assert "cannot be read" in defect.what


def test_without_a_run_there_is_nothing_to_verify(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--results", str(tmp_path)])
    assert ended.value.code == 2
    assert "no run under" in capsys.readouterr().err


def test_what_is_summed_up(results):
    cut(picture(folder_of(results)))
    assert summary(verify(results)) == "2 runs, 9 images, 3 originals checked: 1 defect, no notes"


def test_the_command_is_the_one_that_was_given_with_as_many_images_and_these_results(results):
    picture(folder_of(results)).unlink()
    (folder_of(results, "gmm_vector") / SCENES).unlink()
    lines = [mending(checked, results)[-1] for checked in verify(results) if checked.defects]
    assert lines == [
        shlex.join(["vml-bench", "run", *EXACT, f"runner.results_dir={results}"]),
        shlex.join(["vml-bench", "run", *PICTURES[:2], "runner.limit=3", f"runner.results_dir={results}"]),
    ]


def test_what_is_printed_mends_a_run_of_a_configuration_folder_of_ones_own(tmp_path):
    """In a shell, as it is printed: a method that only `--config-dir` knows, in a results folder with a space."""
    own = tmp_path / "conf of mine" / "method"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("name: mine\nsampler: {_target_: baselines.wiener.Wiener, signal_std: 0.5}\n")
    results = tmp_path / "my results"
    main(["run", "--config-dir", str(own.parent), "method=mine", *PICTURES[2:], f"runner.results_dir='{results}'"])
    damaged = picture(folder_of(results))
    damaged.unlink()
    (checked,) = (checked for checked in verify(results) if checked.defects)
    script = "\n".join(mending(checked, results))
    assert f"--config-dir '{own.parent}'" in script
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", "-ec", script], check=True, cwd=tmp_path, env={**os.environ, "PATH": path})
    assert damaged.is_file()
    assert defects(results) == []


@pytest.mark.parametrize(
    "damage",
    [lambda f: cut(f / RECORD), lambda f: (f / RECORD).unlink(), lambda f: edit_record(f, command=None, run="0")],
    ids=["truncated", "removed", "without a command"],
)
def test_a_record_without_a_command_is_named_and_giving_the_command_again_mends_it(results, damage, capsys):
    damage(folder_of(results))
    text = printed(capsys, results, "--dataset", "photos64")
    assert RECORD in text.splitlines()[0]
    assert "# run.json records no command" in text
    assert "vml-bench run" not in text
    run(results, *PICTURES)
    assert defects(results) == []


def test_a_run_that_no_command_line_began_has_no_command(tmp_path, cell_config):
    (run_cell(cell_config(*PICTURES)) / CONFIG).unlink()
    (checked,) = (checked for checked in verify(tmp_path) if checked.defects)
    assert checked.rerun is None
    assert "records no command" in mending(checked, tmp_path)[-1]


@pytest.mark.parametrize("name", ["../../../elsewhere", "..", "a/b", "a\\b", ""])
def test_a_record_that_leads_out_of_the_results_is_not_followed(results, name):
    folder = folder_of(results)
    record = json.loads((folder / RECORD).read_text())
    record["problem"]["form"]["images"] = name
    edit_record(folder, problem=record["problem"])
    (defect,) = defects(results, "photos64")
    assert "names a folder" in defect.what
    assert defect.remove is None


def test_a_record_of_an_older_version_is_named(results):
    folder = folder_of(results)
    (folder / RECORD).write_text(json.dumps({"run": folder.name, "ids": []}))
    (defect,) = defects(results, "photos64")
    assert "older version" in defect.what


@pytest.mark.parametrize(
    ("config", "told", "keys"),
    [
        ({"a": 0}, {"a": 0.0}, []),
        ({"a": float("nan")}, {"a": float("nan")}, []),
        ({"a": float("inf"), "b": "x"}, {"a": float("inf"), "c": 1}, []),
        ({"a": [1, {"_target_": "m.C", "x": 1}]}, {"a": [1.0, {"C": {"x": 1.0, "y": 2}}]}, []),
        ({"a": [1, {"_target_": "m.C", "x": 1}]}, {"a": [1.0, {"C": {"x": 2}}]}, ["a.1.x"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"a": None}, {"a": {"C": {}}}, ["a"]),
        ({"a": {"_target_": "m.C"}}, {"a": None}, ["a._target_"]),
        ({"a": {"_target_": "m.C"}}, {"a": {"D": {}}}, ["a._target_"]),
        ({"a": {"_target_": "m.load"}}, {"a": {"load": {}, "weights": "1"}}, []),
        ({"a": {"x": "1"}}, {"a": {"x": 1}}, ["a.x"]),
        (3, {"a": 1}, [""]),
    ],
)
def test_a_configuration_is_held_against_a_record_by_value(config, told, keys):
    assert [key for key, _, _ in differing(config, told)] == keys
