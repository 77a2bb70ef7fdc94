"""Runs of the earlier version get their names by content, once, and their rows stay as they are."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from vml_bench import migrate
from vml_bench.data import PhotoCrops
from vml_bench.runner.cell import assemble
from vml_bench.store import layout
from vml_bench.store.runs import open_run

CONFIG = """
seed: 0
compute: {dtype: float32, channels_last: false, compile: false, gradient_checkpointing: false, tf32: false}
runner: {batch_size: 16, limit: 2, device: auto, results_dir: results}
prior:
  name: photos64
  checkpoint: null
  model: {_target_: vml_bench.priors.unet.load_edm_prior, checkpoint: null}
dataset:
  name: photos64
  images: {_target_: vml_bench.data.PhotoCrops, split: test, name: photos64}
task:
  name: sr4
  noise_std: 0.05
  operator: {_target_: vml_bench.operators.BlockAverage, _partial_: true, factor: 4}
method:
  name: ddrm
  sampler:
    _target_: baselines.ddrm.DDRM
    eta: 0.5
    eta_b: 1.0
    schedule: {_target_: vml_bench.schedule.DDPMSchedule, levels: 20, spacing: leading}
metrics:
  _target_: vml_bench.metrics.MetricSuite
  names: [psnr, ssim, lpips_alex]
  features: [alex]
"""
TODAY = (
    "task=sr4",
    "method=ddrm",
    "method.sampler.eta=0.5",
    "method.sampler.eta_b=1",
    "method.sampler.schedule.levels=20",
)
WEIGHTS = "999cd0834f2c36bd13a151434d4760fb07b61011580290e599dea135a56276b7"
PINV = {"name": "pinv", "sampler": {"_target_": "baselines.pinv.PseudoInverse"}}


def earlier_run(results: Path, name: str = "395ea50de2", n: int = 2, **changes: Any) -> Path:
    """Write a run as the earlier version did; `changes` replace parts of its config.yaml."""
    config = yaml.safe_load(CONFIG)
    for group, part in changes.items():
        config[group] = {**config[group], **part} if isinstance(part, dict) else part
    images = PhotoCrops("test")
    ids = list(images.ids[:n])
    pixels = {image_id: images.load(image_id).numpy().tobytes() for image_id in ids}
    machine = {"git": "b0c30a85e0149758f6acafc889133a8009dac1ce", "threads": 1}
    record = {
        "run": name,
        "dataset": "photos64",
        "prior": "photos64",
        "weights": {"file": "photos64.safetensors", "sha256": WEIGHTS},
        "seed": 0,
        "synthetic": False,
        "ids": ids,
        "manifest": hashlib.sha256(b"".join(i.encode() + b"\0" + pixels[i] for i in ids)).hexdigest(),
        "files": {i: hashlib.sha256(pixels[i]).hexdigest() for i in ids},
        "compute": {**config["compute"], "difference": {}},
        "environment": machine,
        "runner": config["runner"],
        "wall_seconds": 60.8,
    }
    folder = layout.RunPlace(results, "photos64", config["task"]["name"], config["method"]["name"], name).folder
    folder.mkdir(parents=True)
    (folder / layout.CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / layout.RECORD).write_text(json.dumps(record, indent=2))
    pd.DataFrame({"image_id": ids, "psnr": 25.0, "status": "ok"}).to_parquet(folder / layout.TABLE)
    return folder


def only_run(results: Path) -> Path:
    """The one run of a results folder."""
    (folder,) = layout.run_folders(results)
    return folder


def test_a_run_gets_the_name_that_its_cell_has_today(tmp_path, cell_config):
    earlier = earlier_run(tmp_path)
    config, rows = (earlier / layout.CONFIG).read_bytes(), (earlier / layout.TABLE).read_bytes()
    assert migrate.main([str(tmp_path)]) == 0
    folder, cell = only_run(tmp_path), assemble(cell_config(*TODAY))
    assert folder == cell.folder
    assert ((folder / layout.CONFIG).read_bytes(), (folder / layout.TABLE).read_bytes()) == (config, rows)
    run = open_run(folder)
    assert (run.method, run.dataset, run.task) == ("ddrm", "photos64", "sr4")
    assert (run.problem.form, run.form) == (cell.identity.problem, cell.identity.run)
    assert run.settings == {"eta": 0.5, "schedule.levels": 20}
    assert len(run.images) == 2


def test_what_was_recorded_stays_and_hashes_of_files_go(tmp_path):
    earlier = json.loads((earlier_run(tmp_path) / layout.RECORD).read_text())
    migrate.migrate(tmp_path)
    record = open_run(only_run(tmp_path)).record
    kept = ("ids", "weights", "compute", "environment", "runner", "wall_seconds", "seed")
    assert {key: record[key] for key in kept} == {key: earlier[key] for key in kept}
    assert record["environments"] == [earlier["environment"]]
    assert record["date"] is None
    assert not {"manifest", "files"} & set(record)


def test_the_command_it_records_makes_the_same_run(tmp_path, cell_config):
    earlier_run(tmp_path, compute={"dtype": "bfloat16"}, task={"noise_std": 0})
    migrate.migrate(tmp_path)
    folder = only_run(tmp_path)
    overrides = open_run(folder).record["command"]["overrides"]
    assert set(overrides) == {
        *("dataset=photos64", "task=sr4", "method=ddrm", "task.noise_std=0", "compute.dtype=bfloat16"),
        *("method.sampler.eta=0.5", "method.sampler.schedule.levels=20"),
    }
    assert assemble(cell_config(*overrides)).folder == folder


def test_a_setting_that_the_code_no_longer_knows_names_a_run_of_its_own_without_a_command(tmp_path):
    sampler = {**yaml.safe_load(CONFIG)["method"]["sampler"], "forgotten": True}
    earlier_run(tmp_path, "0000000001")
    earlier_run(tmp_path, "0000000002", method={"sampler": sampler})
    outcome = migrate.migrate(tmp_path)
    records = [open_run(folder).record for folder in layout.run_folders(tmp_path)]
    assert (outcome.moved, len(records)) == (2, 2)
    assert [record["command"] is None for record in records if "forgotten" in record["settings"]] == [True]


def test_a_method_that_asks_no_prior_has_none(tmp_path, cell_config):
    earlier_run(tmp_path, method=PINV)
    migrate.migrate(tmp_path)
    assert open_run(only_run(tmp_path)).prior == ""
    assert only_run(tmp_path) == assemble(cell_config("task=sr4", "method=pinv")).folder


def test_a_second_start_does_nothing(tmp_path):
    earlier_run(tmp_path)
    migrate.migrate(tmp_path)
    before = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in tmp_path.rglob("*")}
    outcome = migrate.migrate(tmp_path)
    assert (outcome.moved, outcome.before, outcome.alone, outcome.lines) == (0, 1, 0, [])
    assert {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in tmp_path.rglob("*")} == before


def test_a_start_that_was_stopped_is_finished_by_the_next(tmp_path, monkeypatch):
    earlier_run(tmp_path)
    with monkeypatch.context() as stopped:
        stopped.setattr(migrate, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            migrate.migrate(tmp_path)
    assert migrate.migrate(tmp_path).moved == 1
    assert open_run(only_run(tmp_path)).name == only_run(tmp_path).name


def test_a_run_of_other_pictures_is_refused(tmp_path, capsys):
    folder = earlier_run(tmp_path)
    record = json.loads((folder / layout.RECORD).read_text())
    (folder / layout.RECORD).write_text(json.dumps({**record, "manifest": "0" * 64}))
    assert migrate.main([str(tmp_path)]) == 1
    assert only_run(tmp_path) == folder
    assert json.loads((folder / layout.RECORD).read_text())["run"] == "395ea50de2"
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "photos64/sr4/ddrm/395ea50de2 left alone: its data set has other images" in printed.err
    assert "0 runs renamed, 0 done before, 1 left alone" in printed.out


def test_a_run_whose_images_are_not_there_is_left_alone(tmp_path):
    node = {"_target_": "vml_bench.data.ImageFolder", "root": str(tmp_path / "none"), "image_shape": None, "name": "a"}
    folder = earlier_run(tmp_path, dataset={"images": node})
    outcome = migrate.migrate(tmp_path)
    assert (outcome.moved, outcome.alone, len(outcome.lines)) == (0, 1, 1)
    assert folder.is_dir()


def test_a_command_is_found_for_a_data_set_and_metrics_that_no_configuration_has(tmp_path):
    images = {**yaml.safe_load(CONFIG)["dataset"]["images"], "name": "mine"}
    earlier_run(tmp_path, metrics={"names": ["psnr"], "features": []}, dataset={"name": "mine", "images": images})
    migrate.migrate(tmp_path)
    overrides = open_run(only_run(tmp_path)).record["command"]["overrides"]
    assert {"dataset=photos64", "dataset.name=mine", "metrics.names=[psnr]", "metrics.features=[]"} <= set(overrides)


@pytest.mark.parametrize(
    "target", ["os.system", "vml_bench.data.photos.importlib.import_module", "vml_bench.files.write_json"]
)
def test_a_folder_that_was_handed_around_has_nothing_called_but_data_sets(tmp_path, target):
    earlier_run(tmp_path, dataset={"images": {"_target_": target}})
    outcome = migrate.migrate(tmp_path)
    assert outcome.alone == 1
    assert "not of this package" in outcome.lines[0]


def test_of_two_runs_that_are_one_the_one_with_more_images_stays(tmp_path):
    earlier_run(tmp_path, "0000000001", n=2, task={"noise_std": 0})
    more = earlier_run(tmp_path, "0000000002", n=3, task={"noise_std": 0.0}).joinpath(layout.TABLE).read_bytes()
    earlier_run(tmp_path, "0000000003", n=1, task={"noise_std": -0.0})
    outcome = migrate.migrate(tmp_path)
    assert (only_run(tmp_path) / layout.TABLE).read_bytes() == more
    assert len(open_run(only_run(tmp_path)).asked) == 3
    assert ["kept" in line and "3 images" in line for line in outcome.lines] == [True, True]


def test_originals_and_measurements_move_to_their_problem(tmp_path):
    task = earlier_run(tmp_path).parents[1]
    for earlier in (tmp_path / migrate.REFERENCES / "photos64", task / layout.MEASUREMENTS / "0.05-0"):
        earlier.mkdir(parents=True)
        (earlier / "a.png").write_bytes(b"a picture")
    assert migrate.migrate(tmp_path).lines == []
    run = open_run(only_run(tmp_path))
    assert run.original("a").read_bytes() == run.measurement("a").read_bytes() == b"a picture"
    assert not (tmp_path / migrate.REFERENCES).exists()
    assert not (task / layout.MEASUREMENTS).exists()


def test_measurements_of_which_it_cannot_be_told_whose_they_are_stay(tmp_path):
    operator = {"_target_": "vml_bench.operators.BlockAverage", "_partial_": True, "factor": 2}
    earlier_run(tmp_path, "0000000001")
    shared = (
        earlier_run(tmp_path, "0000000002", task={"operator": operator}).parents[1] / layout.MEASUREMENTS / "0.05-0"
    )
    shared.mkdir(parents=True)
    (line,) = migrate.migrate(tmp_path).lines
    assert shared.is_dir()
    assert str(shared) in line


@pytest.mark.parametrize("prefix", ["", "./", "runs/"])
def test_an_archive_is_written_anew_in_its_own_order(tmp_path, prefix):
    rows = (earlier_run(tmp_path / "results") / layout.TABLE).read_bytes()
    file = tmp_path / "runs.tar.xz"
    migrate.pack(tmp_path / "results" / layout.RUNS, file, prefix)
    assert migrate.main([str(file)]) == 0
    with tarfile.open(file) as archive:
        members = archive.getmembers()
        assert [member.name.rsplit("/", 1)[1] for member in members] == [layout.CONFIG, layout.TABLE, layout.RECORD]
        assert all(member.name.startswith(f"{prefix}photos64/sr4/ddrm/") for member in members)
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
        assert archive.extractfile(members[1]).read() == rows
    once = file.read_bytes()
    assert migrate.main([str(file)]) == 0
    assert file.read_bytes() == once


@pytest.mark.parametrize("name", ["../../../../a/b", "photos64/sr4/images.parquet", "/a/b/c/d/e"])
def test_an_archive_of_anything_else_is_refused(tmp_path, name, capsys):
    file = tmp_path / "runs.tar.xz"
    with tarfile.open(file, "w:xz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    assert migrate.main([str(file)]) == 2
    assert "is no archive of runs" in capsys.readouterr().err
