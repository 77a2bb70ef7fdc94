import json
import sys

import numpy as np
import pandas as pd
import pytest
import wandb
from PIL import Image

import vml_bench.tracker
from tests.run_folders import write_reference, write_run
from tests.tracker.conftest import WHICH, OfflineRun, waiting
from vml_bench.analysis.leaderboard import build
from vml_bench.analysis.published import Claim, Published
from vml_bench.configuration import config_dir
from vml_bench.errors import InputError
from vml_bench.runner.tracking import tracked
from vml_bench.store import layout
from vml_bench.store.runs import Problem, open_run
from vml_bench.tracker.record import published
from vml_bench.tracker.wandb_tracker import WandbTracker, track

NOTHING = Published((), {})
ENDS = ("_low", "_high")


def claim(**changes):
    row = {"paper": "A paper", "method": "DPS", "methods": ("dps",), "dataset": "Toys", "task": "SR <b>", "value": 27.5}
    row |= {"metric": "PSNR", "source": "Table 1", "candidates": ("sr4", "sr4_bicubic"), "open": "σ_y"}
    return Claim(**row | changes)


def logged(results, claims=NOTHING, dataset=None, synthetic=False, every_claim=False, **settings):
    """How many runs `track` newly logs, and how many it leaves as they are."""
    told, _ = track(WandbTracker(**settings), results, claims, dataset, synthetic, every_claim)
    return sum(where is not None for where in told), sum(where is None for where in told)


def measured(run, frame, method):
    """Whether a W&B run's summary is a method's row of the leaderboard, number by number, but for what n forbids."""
    row = frame[frame["method"] == method].iloc[0].drop(list(WHICH)).dropna()
    kept = row[[name for name in row.index if not name.startswith(("fd_", "kd_")) and not name.endswith(ENDS)]]
    return {name: run.summary[name] for name in kept.index} == kept.to_dict()


@pytest.mark.usefixtures("offline")
def test_a_cell_is_a_run_with_configuration_progress_table_panel_and_the_leaderboards_numbers(tmp_path, capsys):
    rng = np.random.default_rng(0)
    folder = write_run(tmp_path, diverged=["b"], pictures=True, features=rng.normal(size=(3, 4)))
    write_reference(tmp_path, list("abc"), rng.normal(size=(3, 4)))
    table = pd.read_parquet(folder / layout.TABLE)
    table.iloc[:1].to_parquet(folder / layout.TABLE, index=False)
    with tracked(WandbTracker(panel=2, tag="mine"), folder) as handle:
        table.to_parquet(folder / layout.TABLE, index=False)
        handle.images_done(table.iloc[1:].to_dict("records"))
    (folder_of_wandb,) = waiting(tmp_path)
    assert capsys.readouterr().err == f"W&B: wandb sync {folder_of_wandb}\n"

    run = OfflineRun(folder_of_wandb)
    assert run.run["run_group"] == f"toy/sr4 σ_y=0.05 {open_run(folder).problem.name}"
    assert (run.run["job_type"], run.run["display_name"]) == ("pinv", "pinv · sr4 σ_y=0.05")
    assert set(run.run["tags"]) == {"no prior", "toy", "sr4", "mine"}
    assert run.config["configuration"]["task"] == {"name": "sr4", "noise_std": 0.05}
    assert [run.config[key] for key in ("dataset", "task", "noise_std", "method")] == ["toy", "sr4", 0.05, "pinv"]
    assert run.config["problem"] == run.config["provenance"]["problem"]["name"]
    steps = [entry for entry in run.history if "progress/images" in entry]
    assert [step["progress/images"] for step in steps] == [1, 2, 3]
    assert [step["progress/psnr"] for step in steps] == [20.0, 20.0, 22.0]
    assert steps[0]["progress/nfe_per_second"] == 80
    assert measured(run, build(tmp_path, "toy")[0], "pinv")
    rows = run.table()
    assert [(row["image_id"], row["status"], row["psnr"]) for row in rows] == [
        ("a", "ok", 20.0),
        ("b", "diverged", None),
        ("c", "ok", 24.0),
    ]
    (first,) = run.table("first_image")
    assert [first[key] for key in ("method", "image_id", "psnr", "nfe")] == ["pinv", "a", 20.0, 20]
    staged = [file.read_bytes() for file in (tmp_path / "wandb_own").rglob("staging/*")]  # W&B's own, with the pictures
    assert any(b'"restoration"' in content and b'"image-file"' in content for content in staged)
    logged(tmp_path, project="other", tag="mine")  # from disk: the same steps
    (other,) = [other for other in map(OfflineRun, waiting(tmp_path)) if other.run["project"] == "other"]
    told = [{name: value for name, value in step.items() if name[0] != "_"} for step in (*steps, *other.history[:3])]
    assert told[:3] == told[3:]
    panel = run.summary["panel"]
    assert panel["captions"][1] == "b: ground truth, measurement, restoration · diverged"
    with Image.open(folder_of_wandb / "files" / panel["filenames"][0]) as picture:
        assert picture.size == (24, 8)


@pytest.mark.usefixtures("offline")
def test_what_is_on_disk_is_logged_once_and_again_only_where_it_changed(tmp_path):
    folder = write_run(tmp_path, method="pinv")
    write_run(tmp_path, method="ddrm")
    claims = Published((claim(),), {"Toys": ("toy",)})
    assert logged(tmp_path, claims) == (4, 0)  # the claim under two candidate tasks
    before = waiting(tmp_path)
    assert logged(tmp_path, claims) == (0, 4)
    with tracked(WandbTracker(), folder):
        pass  # a finished run that is started again
    assert waiting(tmp_path) == before

    config = json.loads((folder / layout.CONFIG).read_text())
    (folder / layout.CONFIG).write_text(json.dumps(config | {"runner": {"batch_size": 3}, "tracker": {"tag": "x"}}))
    assert logged(tmp_path, claims) == (0, 4)  # how it was made does not count

    table = pd.read_parquet(folder / layout.TABLE)
    table.loc[0, "psnr"] = 21.5
    table.to_parquet(folder / layout.TABLE, index=False)
    assert logged(tmp_path, claims) == (1, 3)
    after = waiting(tmp_path)
    assert len(after) == 4
    (new,) = set(after) - set(before)
    (old,) = set(before) - set(after)
    # the same W&B run; two folders of one second are told apart by a suffix
    assert new.name.split("-", 3)[3].removesuffix("-1") == old.name.split("-", 3)[3]
    assert measured(OfflineRun(new), build(tmp_path, "toy")[0], "pinv")

    assert logged(tmp_path, claims, project="other") == (4, 0)
    assert len(waiting(tmp_path)) == 8


@pytest.mark.usefixtures("offline")
def test_tags_fit_wandb(tmp_path):
    write_run(tmp_path, "m" * 80, task="t" * 80, dataset="t" * 80, synthetic=True)
    logged(tmp_path, synthetic=True, tag="u" * 80)
    assert {"t" * 64, "u" * 64, "synthetic"} <= set(OfflineRun(waiting(tmp_path)[0]).run["tags"])


@pytest.mark.usefixtures("offline")
def test_a_metric_of_ones_own_is_logged_as_any_other(tmp_path):
    own = {"name": "sharp", "title": "sharpness", "better": 1, "digits": 2, "unit": ""}
    folder = write_run(tmp_path, record={"columns": [own]})
    table = pd.read_parquet(folder / layout.TABLE).assign(sharp=[1.0, 2.0, 6.0])
    table.to_parquet(folder / layout.TABLE, index=False)
    logged(tmp_path)
    run = OfflineRun(waiting(tmp_path)[0])
    assert run.summary["sharp"] == 3.0
    assert [step["progress/sharp"] for step in run.history if "progress/sharp" in step] == [1.0, 1.5, 3.0]
    assert [row["sharp"] for row in run.table()] == [1.0, 2.0, 6.0]


@pytest.mark.usefixtures("offline")
def test_names_from_files_are_text(tmp_path):
    method, image = "<script>alert(1)<!--", "<img src=x onerror=alert(1)>"
    folder = write_run(tmp_path, method=method, task="**sr4**", ids=(image,), psnr=(20.0,), lpips=(0.3,), pictures=True)
    logged(tmp_path)
    run = OfflineRun(waiting(tmp_path)[0])
    assert run.run["job_type"] == method
    assert run.run["run_group"] == f"toy/**sr4** σ_y=0.05 {open_run(folder).problem.name}"
    assert run.table()[0]["image_id"] == image
    assert run.summary["panel"]["captions"][0].startswith(f"{image}: ")
    assert "notes" not in run.run  # the one place that W&B renders as Markdown


@pytest.mark.usefixtures("offline")
def test_published_rows_are_runs_of_their_own(tmp_path):
    folder = write_run(tmp_path)
    claims = Published((claim(noise_std=0.05, images=100, candidates=("sr4",)),), {"Toys": ("toy",)})
    logged(tmp_path, claims)
    (run,) = [run for run in map(OfflineRun, waiting(tmp_path)) if run.run["job_type"] == "published"]
    assert run.run["run_group"] == f"toy/sr4 σ_y=0.05 {open_run(folder).problem.name}"
    assert (run.config["method"], run.config["family"]) == ("DPS", "guidance")
    assert set(run.run["tags"]) == {"guidance", "toy", "sr4", "claim"}
    assert run.config["published"]["PSNR"]["source"] == "Table 1"
    assert run.config["published"]["PSNR"]["open"] == "σ_y"
    assert (run.summary["psnr"], run.summary["n"]) == (27.5, 100)
    assert "ssim" not in run.summary


def test_a_claim_stands_beside_every_cell_that_it_could_be_about():
    lpips = claim(metric="LPIPS", value=0.2)
    claims = Published((claim(), lpips, claim(task="else", noise_std=0.1)), {"Toys": ("toy", "toy_1k")})
    problems = [
        Problem("toy", task, name, {"noise_std": noise_std})
        for task, noise_std, name in (("sr4", 0.0, "p"), ("sr4", 0.05, "q"), ("sr4", 0.05, "r"), ("denoise", 0.2, "s"))
    ]
    found = list(published(claims, ["toy"], problems))
    run = ["toy/sr4 σ_y=0 p", "toy/sr4 σ_y=0.05 q", "toy/sr4 σ_y=0.05 r"]
    expected = [*run, "toy/sr4_bicubic", "toy/sr4 σ_y=0.1", "toy/sr4_bicubic σ_y=0.1"]
    assert [subject.group for subject in found] == expected
    assert found[0].scores == {"psnr": 27.5, "lpips_alex": 0.2, "lpips_vgg": 0.2}
    assert len({subject.key for subject in found}) == len(found)
    assert list(published(claims, ["photos64"], problems)) == []


@pytest.mark.usefixtures("offline")
def test_claims_about_data_sets_that_were_not_run_are_left_out(tmp_path):
    write_run(tmp_path)
    claims = Published((claim(dataset="Others"), claim(candidates=("sr4",))), {"Toys": ("toy",), "Others": ("other",)})
    assert logged(tmp_path, claims) == (2, 0)
    with pytest.raises(InputError, match="no run of 'other'"):
        logged(tmp_path, claims, dataset="other")
    assert logged(tmp_path, claims, dataset="other", every_claim=True) == (2, 0)
    assert logged(tmp_path, claims, every_claim=True) == (0, 4)


def test_where_nothing_was_run_claims_are_logged_if_asked_for(tmp_path, offline):
    claims = Published((claim(),), {"Toys": ("toy",)})
    with pytest.raises(InputError, match="no run under"):
        logged(tmp_path, claims)
    told, notes = track(WandbTracker(), tmp_path, claims, every_claim=True)
    assert (len(told), len(notes)) == (2, 1)


def test_synthetic_runs_are_left_out_unless_asked_for(tmp_path, offline):
    write_run(tmp_path, synthetic=True)
    with pytest.raises(InputError, match="--synthetic"):
        logged(tmp_path)
    logged(tmp_path, synthetic=True)
    assert "synthetic" in OfflineRun(waiting(tmp_path)[0]).run["tags"]


def test_without_the_package_a_run_is_refused_before_it_starts(monkeypatch, cell_config):
    from vml_bench.runner.resources import build as instantiated

    monkeypatch.delitem(sys.modules, WandbTracker.__module__)
    monkeypatch.delattr(vml_bench.tracker, "wandb_tracker")
    monkeypatch.setitem(sys.modules, "wandb.errors", None)
    with pytest.raises(InputError, match=r"pip install 'vml-bench\[wandb\]'"):
        instantiated(cell_config("tracker=wandb").tracker, "tracker")


@pytest.fixture
def dead_server(offline, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(WandbTracker, "gave_up", False)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.usefixtures("dead_server")
def test_a_server_that_does_not_answer_stops_nothing_and_keeps_only_one_cell_waiting(tmp_path, capsys):
    for method in ("pinv", "ddrm"):
        folder = write_run(tmp_path, method=method)
        table = pd.read_parquet(folder / layout.TABLE)
        table.iloc[:1].to_parquet(folder / layout.TABLE, index=False)
        with tracked(WandbTracker(timeout=1), folder) as handle:
            handle.images_done(table.iloc[1:].to_dict("records"))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert "tracker=wandb stopped" in line
    assert "`vml-bench track`" in line


@pytest.mark.usefixtures("dead_server")
def test_track_says_that_the_server_does_not_answer(tmp_path):
    write_run(tmp_path)
    with pytest.raises(InputError, match="WANDB_MODE=offline"):
        logged(tmp_path, timeout=1)


def test_a_run_that_cannot_be_read_ends_its_wandb_run(tmp_path, online, capsys):
    folder = write_run(tmp_path)
    table = pd.read_parquet(folder / layout.TABLE)
    (folder / layout.TABLE).unlink()
    with tracked(WandbTracker(), folder) as handle:
        handle.images_done(table.to_dict("records"))
    assert f"{layout.TABLE} is missing" in capsys.readouterr().err
    assert online[0].exit_code == 1
    assert not WandbTracker.gave_up


class StandIn:
    """An online W&B run that holds the first two images of an earlier start."""

    resumed = True
    url = "https://wandb.invalid/run"
    offline = disabled = False

    def __init__(self, results, arguments):
        self.arguments, self.logged, self.summary = arguments, [], {"progress/images": 2}
        self.id = arguments["id"]
        folder = results / "wandb" / f"run-1-{self.id}" / "files"
        folder.mkdir(parents=True, exist_ok=True)
        self.dir = str(folder)

    def define_metric(self, *_, **__):
        pass

    def log(self, entry):
        self.logged.append(entry)

    def finish(self, exit_code):
        self.exit_code = exit_code


@pytest.fixture
def online(tmp_path, offline, monkeypatch):
    """W&B with a key and a server that answers; lists the runs that were opened."""
    opened = []

    def init(**arguments):
        opened.append(StandIn(tmp_path, arguments))
        return opened[-1]

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(wandb, "init", init)
    wandb.teardown()
    yield opened
    wandb.teardown()


def test_online_a_resumed_run_is_not_told_again_what_it_knows(tmp_path, online):
    write_run(tmp_path)
    assert track(WandbTracker(), tmp_path, NOTHING)[0] == [StandIn.url]
    assert logged(tmp_path) == (0, 1)
    (run,) = online
    assert [entry["progress/images"] for entry in run.logged[:-1]] == [3]
    assert run.logged[-1]["psnr"] == 22.0
    assert (run.arguments["resume"], run.exit_code) == ("allow", 0)


def test_what_waits_offline_is_logged_once_there_is_a_key(tmp_path, offline, request):
    write_run(tmp_path)
    logged(tmp_path)
    (first,) = waiting(tmp_path)
    opened = request.getfixturevalue("online")
    assert logged(tmp_path) == (1, 0)
    assert first.name.endswith(opened[0].arguments["id"])
    assert waiting(tmp_path) == []  # its contents are online now


@pytest.mark.usefixtures("offline")
def test_a_sweeps_agent_names_the_run(tmp_path, monkeypatch, capfd):
    folder = write_run(tmp_path)
    logged(tmp_path)
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_RUN_ID", "of-the-agent")
    wandb.teardown()
    capfd.readouterr()
    with tracked(WandbTracker(), folder):
        pass  # finished and logged before, but the agent waits for its numbers
    (run,) = [run for run in map(OfflineRun, waiting(tmp_path)) if run.run["run_id"] == "of-the-agent"]
    assert run.summary["psnr"] == 22.0
    assert capfd.readouterr().err == f"W&B: wandb sync {run.folder}\n"


def test_where_wandb_is_switched_off_nothing_is_written(tmp_path, offline, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()
    write_run(tmp_path)
    assert logged(tmp_path) == (1, 0)
    assert not (tmp_path / "wandb").exists()


def test_a_stopped_run_counts_as_failed_and_is_logged_later(tmp_path, online):
    folder = write_run(tmp_path)
    record = json.loads((folder / layout.RECORD).read_text())
    (folder / layout.RECORD).write_text(json.dumps(record | {"ids": list("abcd")}))
    with pytest.raises(KeyboardInterrupt), tracked(WandbTracker(), folder):
        raise KeyboardInterrupt
    assert online[0].exit_code == 1
    assert logged(tmp_path) == (1, 0)


def test_the_sweep_file_asks_for_cells_that_there_are(cell_config):
    from wandb.sdk.launch.sweeps import utils

    sweep = utils.load_sweep_config(str(config_dir().parent / "sweeps" / "dps.yaml"))
    assert sweep["metric"] == {"name": "lpips_alex", "goal": "minimize"}
    chosen = {"method.sampler.scale": {"value": 3.5}, "method.sampler.schedule.levels": {"value": 50}}
    assert chosen.keys() == sweep["parameters"].keys()
    _, program, run, *overrides, last = utils.create_sweep_command(sweep["command"])
    assert (program, run, last) == ("${program}", "run", "${args_no_hyphens}")
    arguments = utils.create_sweep_command_args({"args": chosen})["args_no_hyphens"]
    config = cell_config(*overrides, *arguments)
    assert (config.dataset.name, config.method.sampler.scale) == ("photos64_tune", 3.5)
    assert config.method.sampler.schedule.levels == 50
