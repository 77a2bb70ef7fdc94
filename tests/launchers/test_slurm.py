"""launcher=slurm without a cluster: what it submits, and that the submitted script does the cells."""

import re

import pytest
from hydra import compose, initialize_config_dir

from tests.launchers.sweeping import runs, sweep
from vml_bench.cli.sweeps import plan
from vml_bench.configuration import config_dir

SBATCH = """#!/bin/bash
grep -q partition=closed "$1" && { echo "sbatch: error: invalid partition specified: closed" >&2; exit 1; }
# Keeps the script, which its sender removes, and starts what SLURM would: the tasks of its array, in the background.
cp "$1" submitted.sh
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
for task in $(seq 0 "$last"); do
    SLURM_JOB_ID=$((100 + task)) SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task bash submitted.sh &> "task$task.log" &
done
echo "Submitted batch job 7"
"""
SRUN = """#!/bin/bash
while true; do
    case "$1" in
        --unbuffered) shift ;;
        --output | --error) shift 2 ;;
        *) exec "$@" ;;
    esac
done
"""
SACCT = """#!/bin/bash
echo "JobID|State"
"""
CELL = ("dataset=gmm_2d", "method=pinv", "runner.limit=2", "runner.results_dir=results", "hydra/launcher=slurm")
IMPOSSIBLE = "measurements=12 of 2 numbers; give task.operator.measurements from 1 to 2"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Commands in SLURM's place."""
    folder = tmp_path_factory.mktemp("cluster")
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def flags(script):
    """The #SBATCH lines of a script, name: value ("" where there is none)."""
    return {name: value or "" for name, value in re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", script, re.MULTILINE)}


def test_a_sweep_is_an_array_with_a_gpu_a_job_that_slurm_may_start_again(cluster, tmp_path):
    own = ("partition=lab", "account=theirs", "qos=low", "array_parallelism=1", "timeout_min=90", "cpus_per_task=3")
    overrides = [f"hydra.launcher.{item}" for item in own]
    tasks = "task=random_projection,denoise"
    code, output = sweep(*CELL, tasks, *overrides, folder=tmp_path, path=cluster)
    assert (code, output.splitlines()[-1]) == (2, f"vml-bench: {IMPOSSIBLE}")  # of one cell; the other is done
    assert "Traceback" not in output
    assert len(runs(tmp_path / "results")) == 1
    logs = "".join(file.read_text() for file in tmp_path.glob("task*.log"))
    assert IMPOSSIBLE in logs
    assert "results in results/runs/gmm_2d/denoise/pinv/" in logs

    given = flags((tmp_path / "submitted.sh").read_text())
    expected = {
        "array": "0-1%1",
        "gpus-per-node": "1",
        "nodes": "1",
        "ntasks-per-node": "1",
        "cpus-per-task": "3",
        "mem": "32GB",
        "time": "90",
        "partition": "lab",
        "account": "theirs",
        "qos": "low",
        "requeue": "",
        "open-mode": "append",
        "job-name": "vml-bench",
        "signal": "USR2@120",
    }
    assert {name: given.get(name) for name in expected} == expected
    assert re.fullmatch(r".*/results/sweeps/[^/]+/submitit/%A_%a/%A_%a_0_log\.err", given["error"])


def test_a_plan_of_a_launched_sweep_launches_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr("sys.argv", [])
    plan(["-m", *CELL, "task=denoise", "runner.shard=1/2,2/2", "hydra.launcher.partition=lab"])
    assert "2 cells · 2 restorations · 0 network evaluations" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_what_slurm_refuses_is_said_in_its_own_words(cluster, tmp_path):
    code, output = sweep(*CELL, "task=denoise", "hydra.launcher.partition=closed", folder=tmp_path, path=cluster)
    assert code == 2
    assert output.splitlines()[-1].startswith(
        "vml-bench: SLURM refused the sweep (sbatch: error: invalid partition specified: closed); "
    )
    assert not runs(tmp_path / "results")


def test_nothing_is_asked_of_slurm_that_the_user_takes_back():
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        given = compose(
            "config",
            ["hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null", "hydra.launcher.gres=gpu:1"],
            return_hydra_config=True,
        ).hydra.launcher
    absent = {name for name, value in given.items() if value is None}
    assert {"gpus_per_node", "partition", "account", "qos", "constraint"} <= absent
    assert given.gres == "gpu:1"


def test_a_machine_without_slurm_is_told_what_to_use(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    code, output = sweep(*CELL, "task=denoise", folder=tmp_path)
    assert code == 2
    assert output.splitlines() == [
        "vml-bench: there is no SLURM on this machine; use hydra/launcher=slurm_local, processes or gpus"
    ]


def test_a_machine_without_gpus_is_told_what_to_use(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, output = sweep(*CELL[:-1], "task=denoise", "hydra/launcher=gpus", folder=tmp_path)
    assert code == 2
    assert output.splitlines() == [
        "vml-bench: 0 GPUs are visible here, 1 or more are needed; use hydra/launcher=processes"
    ]
