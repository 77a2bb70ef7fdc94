"""What is damaged under a finished run is named, and what is printed about it mends it."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from vml_bench.cli import main
from vml_bench.runner.cell import run_cell
from vml_bench.runner.provenance import run_name
from vml_bench.verify import mending, summary, verify
from vml_bench.verify.command import command, composed
from vml_bench.verify.folder import Originals, RunFolder

PICTURES = ("task=sr4", "method=pinv", "runner.limit=3", "runner.batch_size=2")
EXACT = ("dataset=gmm_vector", "dataset.problems=2", "dataset.repeats=3", "task=random_projection", "method=pinv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A results folder with one run whose pictures are kept and one against an exact posterior."""
    results = tmp_path_factory.mktemp("finished")
    for cell in (PICTURES, EXACT):
        run_cell(composed([*cell, f"runner.results_dir={results}"]))
    return results


@pytest.fixture
def results(finished, tmp_path):
    """A copy of it to damage."""
    return shutil.copytree(finished, tmp_path / "results")


def folder_of(results, dataset="photos64"):
    (folder,) = (file.parent for file in results.glob(f"runs/{dataset}/*/*/*/config.yaml"))
    return folder


def snapshot(folder):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


def problems(results, dataset=None):
    return [problem for checked in verify(results, dataset) for problem in checked.problems]


def notes(results):
    return [f for checked in verify(results) for f in checked.findings if f not in checked.problems]


def printed(capsys, results, *arguments):
    """What the command says of a folder with problems."""
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--results", str(results), *arguments])
    assert ended.value.code == 1
    return capsys.readouterr().out


def mend(text):
    """Do what is printed, line by line."""
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith(("rm ", "vml-bench run "))]
    for words in commands:
        if words[0] == "vml-bench":
            run_cell(composed(words[2:]))
        elif words[1] == "-r":
            shutil.rmtree(words[-1])
        else:
            Path(words[-1]).unlink()
    assert commands


def cut(file, end=None):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2 if end is None else end])


def flip(file, where=0.5):
    data = bytearray(file.read_bytes())
    data[int(len(data) * where)] ^= 0xFF
    file.write_bytes(data)


def swap(folder):
    first, second, *_ = sorted(folder.glob("*.png"))
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)


def picture(folder):
    return sorted((folder / "recon").glob("*.png"))[1]


def reference(folder, index=0):
    return sorted((folder.parents[4] / "references" / "photos64").glob("*.png"))[index]


def edit_table(folder, edit, name="images.parquet"):
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
    with np.load(folder / "features.npz") as stored:
        arrays = dict(stored)
    edit(arrays)
    np.savez(folder / "features.npz", **arrays)


def drop_feature(arrays):
    arrays.update({name: array[1:] for name, array in arrays.items()})


def spoil_feature(arrays):
    arrays["alex"][0, 3] = np.nan


def edit_json(folder, **values):
    record = json.loads((folder / "run.json").read_text()) | values
    (folder / "run.json").write_text(json.dumps(record))


def edit_config(folder, old, new):
    text = (folder / "config.yaml").read_text()
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, new))


DAMAGE = {
    "picture truncated": (lambda f: cut(picture(f)), "recon", "sha256 is another"),
    "picture with a flipped byte": (lambda f: flip(picture(f)), "recon", "sha256 is another"),
    "picture removed": (lambda f: picture(f).unlink(), "recon", "is missing"),
    "pictures swapped": (lambda f: swap(f / "recon"), "recon", "sha256 is another"),
    "rows truncated": (lambda f: cut(f / "images.parquet"), "images.parquet", "cannot be read"),
    "rows with a flipped byte": (lambda f: flip(f / "images.parquet", 0.03), "images.parquet", "cannot be read"),
    "rows removed": (lambda f: (f / "images.parquet").unlink(), "images.parquet", "unfinished: 0 of 3"),
    "row removed": (lambda f: edit_table(f, lambda t: t.drop(1)), "images.parquet", "unfinished: 2 of 3, without chel"),
    "row twice": (lambda f: edit_table(f, lambda t: pd.concat([t, t[:1]])), "images.parquet", "-192-064' twice"),
    "row of another image": (lambda f: edit_table(f, foreign), "images.parquet", "'stranger', which the run was not"),
    "score not a number": (lambda f: edit_table(f, put("ssim", np.nan)), "images.parquet", "is ok, but ssim is nan"),
    "score of a diverged image": (lambda f: edit_table(f, put("status", "diverged")), "images.parquet", "but psnr is"),
    "unknown status": (lambda f: edit_table(f, put("status", "fine")), "images.parquet", "status is 'fine'"),
    "effort not a number": (lambda f: edit_table(f, put("seconds", np.inf)), "images.parquet", "seconds is inf"),
    "score of another picture": (lambda f: edit_table(f, put("psnr", 31.0)), "recon", "its row says 31.000"),
    "score column lost": (
        lambda f: edit_table(f, lambda t: t.drop(columns="ssim")),
        "images.parquet",
        "numbers 'ssim'",
    ),
    "features truncated": (lambda f: cut(f / "features.npz"), "features.npz", "cannot be read"),
    "features with a flipped byte": (lambda f: flip(f / "features.npz"), "features.npz", "cannot be read"),
    "features removed": (lambda f: (f / "features.npz").unlink(), "features.npz", "has no 'alex' of astronaut"),
    "feature lost": (lambda f: edit_features(f, drop_feature), "features.npz", "has no 'alex' of astronaut-192-064"),
    "feature not a number": (lambda f: edit_features(f, spoil_feature), "features.npz", "no finite 'alex' of 'astron"),
    "configuration changed": (lambda f: edit_config(f, "noise_std: 0.05", "noise_std: 0.1"), "config.yaml", "named by"),
    "configuration of another task": (
        lambda f: edit_config(f, "name: sr4", "name: sr8"),
        "config.yaml",
        "task.name=sr8",
    ),
    "configuration no YAML": (lambda f: (f / "config.yaml").write_text("{"), "config.yaml", "cannot be read"),
    "configuration removed": (lambda f: (f / "config.yaml").unlink(), "config.yaml", "is missing"),
    "record truncated": (lambda f: cut(f / "run.json"), "run.json", "cannot be read"),
    "record removed": (lambda f: (f / "run.json").unlink(), "run.json", "is missing"),
    "record of another run": (lambda f: edit_json(f, run="0" * 10), "run.json", "says run=0000000000"),
    "record of another seed": (lambda f: edit_json(f, seed=7), "run.json", "says seed=7, the run is of 0"),
    "original truncated": (lambda f: cut(reference(f)), "references/photos64", "sha256 is another"),
    "originals swapped": (lambda f: swap(reference(f).parent), "references/photos64", "sha256 is another"),
    "original removed": (lambda f: reference(f).unlink(), "references/photos64", "is missing"),
    "original forgotten": (lambda f: forget(reference(f)), "references/photos64", "lacks astronaut-192-064"),
    "originals' hashes truncated": (lambda f: cut(reference(f).parent / "images.parquet"), "images.parquet", "be read"),
    "originals' features truncated": (lambda f: cut(reference(f).parent / "features.npz"), "references", "be read"),
    "measurement truncated": (lambda f: cut(next(f.parents[1].glob("measurements/*/*.png"))), "measurements", ""),
}


def test_nothing_is_said_of_what_is_sound_and_nothing_is_written(results, capsys):
    for file in [results, *results.rglob("*")]:
        file.chmod(0o555 if file.is_dir() else 0o444)
    before = snapshot(results)
    main(["verify", "--results", str(results)])
    assert capsys.readouterr().out.strip() == "2 runs, 9 images, 3 originals checked: no problems, no notes"
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
    assert problems(results) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "oracle.parquet").unlink(), "is missing"),
        (lambda f: cut(f / "oracle.parquet"), "cannot be read"),
        (lambda f: edit_table(f, put("repeats", 9), "oracle.parquet"), "scenes and repeats of the rows"),
        (lambda f: edit_table(f, lambda t: t.drop(0), "oracle.parquet"), "scenes and repeats of the rows"),
        (lambda f: edit_table(f, put("sw2", np.nan), "oracle.parquet"), "scores that are no numbers"),
        (lambda f: edit_table(f, put("map_gap", np.nan)), "is ok, but map_gap is nan"),
        (lambda f: edit_features(f, drop_feature), "has no 'restored' of p000-r00"),
    ],
)
def test_damage_under_an_exact_posterior_is_named_and_mended(results, damage, says, capsys):
    damage(folder_of(results, "gmm_vector"))
    text = printed(capsys, results, "--dataset", "gmm_vector")
    assert says in text.splitlines()[0]
    mend(text)
    assert problems(results) == []


def test_older_rows_without_hashes_are_held_to_their_pictures_and_scores(results, capsys):
    folder = folder_of(results)
    edit_table(folder, lambda rows: rows.drop(columns="sha256"))
    assert problems(results) == []
    swap(folder / "recon")
    cut(sorted((folder / "recon").glob("*.png"))[2])
    whats = [problem.what for problem in problems(results)]
    assert len(whats) == 3
    assert sum("against its original, its row says" in what for what in whats) == 2
    assert any("cannot be read" in what or "no whole PNG" in what for what in whats)
    mend(printed(capsys, results))
    assert problems(results) == []


def test_originals_of_other_images_than_the_runs_are_named(results):
    folder = folder_of(results)
    made = json.loads((folder / "run.json").read_text())
    files = made["files"] | {made["ids"][2]: "0" * 64}
    edit_json(folder, manifest="0" * 64, files=files)
    (problem,) = problems(results)
    assert problem.file.stem == made["ids"][2]
    assert "is not the image that photos64/sr4/pinv" in problem.what
    edit_json(folder, manifest="0" * 64, files=dict.fromkeys(files, "1" * 64))
    (problem,) = problems(results)
    assert "other images than" in problem.what


def test_an_id_that_leads_out_of_the_folder_is_refused_by_name(results, capsys):
    folder = folder_of(results)
    edit_table(folder, put("image_id", "../../../escape\n"))
    edit_table(reference(folder).parent, put("image_id", "../escape"))
    text = printed(capsys, results)
    assert "'../../../escape\\n', which names no file" in text
    assert "'../escape', which names no file" in text
    removed = [shlex.split(line)[-1] for line in text.splitlines() if line.startswith("rm ")]
    assert removed == [str(folder / "images.parquet"), str(reference(folder).parent / "images.parquet")]
    mend(text)
    assert problems(results) == []


def test_what_harms_nothing_is_a_note(results):
    folder = folder_of(results)
    (folder / "recon" / "extra.png").write_bytes(picture(folder).read_bytes())
    (folder / "recon" / ".a.123.partial.png").write_bytes(b"half")
    (folder / "images.parquet.damaged").write_bytes(b"broken")
    np.savez(folder / "features_inception.npz", ids=np.array(["astronaut-192-064"]), inception=np.zeros((1, 4)))
    assert problems(results) == []
    said = " / ".join(note.what for note in notes(results))
    for text in ("1 without a row (extra)", "stopped processes", "set aside as damaged", "lacks 2 images"):
        assert text in said


def test_features_completed_later_are_completed_again_where_they_are_damaged(results):
    file = folder_of(results) / "features_inception.npz"
    file.write_bytes(b"no archive")
    (checked,) = (found for found in verify(results) if found.problems)
    assert mending(checked, results)[1:] == [
        shlex.join(["rm", str(file)]),
        f"vml-bench leaderboard --features inception --results {results} --dataset photos64",
    ]


def test_runs_of_which_only_tables_are_archived_are_checked_for_the_rest(results):
    folder = folder_of(results)
    shutil.rmtree(results / "references")
    shutil.rmtree(folder / "recon")
    (folder / "features.npz").unlink()
    (note,) = notes(results)
    assert "1 runs without recon/" in note.what
    edit_table(folder, put("ssim", np.nan))
    (problem,) = problems(results)
    assert "ssim is nan" in problem.what


def test_parts_not_merged_yet_are_rows_too(results):
    folder = folder_of(results)
    rows = pd.read_parquet(folder / "images.parquet")
    with np.load(folder / "features.npz") as stored:
        rows["features/alex"] = list(stored["alex"])
    (folder / "parts").mkdir(exist_ok=True)
    rows.to_parquet(folder / "parts" / "000000-aa.parquet", index=False)
    for name in ("images.parquet", "features.npz"):
        (folder / name).unlink()
    assert problems(results) == []
    cut(folder / "parts" / "000000-aa.parquet")
    assert {problem.file.name for problem in problems(results)} >= {"000000-aa.parquet", "images.parquet"}


def test_without_a_run_there_is_nothing_to_verify(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--results", str(tmp_path)])
    assert ended.value.code == 2
    assert "no run under" in capsys.readouterr().err


def test_what_is_summed_up(results):
    cut(picture(folder_of(results)))
    assert summary(verify(results)) == "2 runs, 9 images, 3 originals checked: 1 problem, no notes"


def begun(tmp_path, *overrides):
    """The folder of a run with nothing but its configuration in it."""
    config = composed(overrides)
    path = tmp_path / "runs" / config.dataset.name / config.task.name / config.method.name / run_name(config)
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    return RunFolder(tmp_path, path, Originals(tmp_path / "references" / config.dataset.name))


@pytest.mark.parametrize(
    ("overrides", "keeps"),
    [
        (["task=inpaint_random", "method=dps", "method.sampler.scale=6", "seed=3", "compute.dtype=bfloat16"], "seed=3"),
        (["task.noise_std=0"], "task.noise_std=0"),
        (["task.noise_std=0.0"], "task.noise_std=0.0"),
        (["dataset=folder", "dataset.root='/some where/it\\'s'", "dataset.name=mine"], "it\\'s"),
        (["dataset=ffhq256_1k", "dataset.root=/images", "metrics=fid"], "dataset.root=/images"),
        (["dataset=gmm_2d", "task=random_projection", "task.operator.measurements=1"], "task.operator.measurements=1"),
        (["dataset=gmm", "metrics.samples=32", "prior.model.seed=4"], "prior.model.seed=4"),
        (["metrics=full", "prior.checkpoint='/a b/{x}.safetensors'"], "metrics=full"),
        (
            ["method=ddrm", "method.sampler.schedule._target_=my.Schedule", "+method.sampler.schedule.rho=5"],
            "+method.sampler",
        ),
        (["method=ddrm", "~method.sampler.schedule.spacing"], "~method.sampler.schedule.spacing"),
        (["+method.sampler.extra={a: [1, 2.5, null, 'true'], b: 'x\\\\'}"], "+method.sampler.extra"),
        (["experiment=oracle_2d", "method=ddrm"], "dataset=gmm_2d"),
        (["runner.limit=7", "method=tv"], "method=tv"),
    ],
)
def test_a_runs_command_composes_to_its_name(tmp_path, overrides, keeps):
    run = begun(tmp_path, *overrides)
    line = command(run)
    words = shlex.split(line)
    assert words[:2] == ["vml-bench", "run"]
    again = composed(words[2:])
    assert run_name(again) == run.path.name
    assert again.runner.results_dir == str(tmp_path)
    assert any(keeps in word for word in words)
    if "root" in again.dataset:
        assert again.dataset.root == run.config.dataset.root
    assert len(words) <= len(overrides) + 7, line


def test_what_no_command_makes_is_said(tmp_path):
    run = begun(tmp_path, "seed=5", "method=tv")
    text = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(text.replace("seed: 5", "seed: 6"))
    assert command(replace(run)) is None
    (checked, *_) = verify(tmp_path)
    assert "no command of this version" in mending(checked, tmp_path)[-1]
