"""What is damaged under a finished run is named, and what is printed about it mends it."""

from __future__ import annotations

import shlex
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.verify.conftest import defects, folder_of, mend, notes, printed, snapshot
from tests.verify.spoiling import (
    DAMAGE,
    FEATURES,
    IMAGES,
    SCENES,
    cut,
    drop_feature,
    edit_features,
    edit_table,
    original,
    picture,
    put,
    swap,
)
from vml_bench.cli import main
from vml_bench.verify import mending, verify


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
