"""What a run's record says is held against its run, and the command in it mends the run; what is summed up."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.verify.conftest import EXACT, PICTURES, defects, folder_of, printed, run
from tests.verify.spoiling import CONFIG, RECORD, SCENES, cut, edit_record, picture
from vml_bench.cli import main
from vml_bench.runner.run import run_cell
from vml_bench.verify import mending, summary, verify
from vml_bench.verify.record import differing


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
