"""A real sweep by every launcher, in processes of their own, against the same sweep in one process."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.launchers.sweeping import assert_equal_results, runs, start, sweep
from vml_bench.runner.run import run_cell

CELLS = ("task=sr4", "method=ddrm,vml_fixed_point", "method.sampler.schedule.levels=2", "runner.limit=2")
EXACT = ("dataset=gmm_2d", "method=pinv", "runner.limit=2", "runner.results_dir=results")


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    """The results folder of the sweep in one process."""
    folder = tmp_path_factory.mktemp("sequential")
    code, output = sweep(*CELLS, "runner.results_dir=results", folder=folder)
    assert code == 0, output
    assert len(runs(folder / "results")) == 2
    return folder / "results"


@pytest.mark.parametrize("launcher", ["processes", "slurm_local"])
def test_a_launched_sweep_equals_the_sequential_one(launcher, sequential, tmp_path):
    code, output = sweep(*CELLS, "runner.results_dir=results", f"hydra/launcher={launcher}", folder=tmp_path)
    assert code == 0, output
    assert_equal_results(tmp_path / "results", sequential)


def test_cells_that_cannot_be_run_are_named_and_the_others_are_done(tmp_path):
    tasks = "task=random_projection,denoise,inpaint_half"  # 12 measurements of 2 numbers; no halves of a point
    code, output = sweep(*EXACT, tasks, "hydra/launcher=processes", folder=tmp_path)
    last = output.splitlines()[-1]
    assert code == 2, output
    assert last.startswith("vml-bench: ")
    assert "measurements=12 of 2 numbers; give task.operator.measurements from 1 to 2" in last
    assert "Traceback" not in output
    assert "runs/gmm_2d/denoise/pinv" in "".join(runs(tmp_path / "results"))


def wait_for(found, process, what):
    """What `found` returns, once that is something."""
    deadline = time.monotonic() + 300
    while not (result := found()):
        assert process.poll() is None, f"the sweep ended before there was {what}: {process.communicate()[0]}"
        assert time.monotonic() < deadline, f"there was never {what}"
        time.sleep(0.01)
    return result


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the job by Linux's /proc")
def test_a_pre_empted_job_starts_again_and_goes_on(cell_config, tmp_path):
    few = ("method.sampler.schedule.levels=20", "runner.limit=4", "runner.batch_size=1")
    cell = ("task=sr4", "method=ddrm", *few)
    undisturbed = tmp_path / "undisturbed"
    run_cell(cell_config(*cell, f"runner.results_dir={undisturbed}"))

    process = start(*cell, "runner.results_dir=launched", "hydra/launcher=slurm_local", folder=tmp_path)
    launched = tmp_path / "launched"
    wait_for(lambda: list(launched.glob("runs/*/*/*/*/parts/*.parquet")), process, "a finished image")
    (submitted,) = launched.glob("sweeps/*/submitit/*/*_submitted.pkl")
    job = submitted.parent
    (cell_process,) = Path(f"/proc/{job.name}/task/{job.name}/children").read_text().split()
    os.kill(int(cell_process), signal.SIGUSR2)  # what submitit has SLURM send before it takes the machine back
    output, _ = process.communicate(timeout=600)

    assert process.returncode == 0, output
    log = (job / f"{job.name}_0_log.out").read_text()
    assert "this job is preempted" in log
    assert log.count("Loading pickle") == 2
    assert_equal_results(launched, undisturbed)


def test_a_killed_process_ends_the_sweep_with_what_to_do(tmp_path):
    deadly = tmp_path / "deadly.py"
    deadly.write_text("import os, signal\n\ndef die(**_):\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    cells = (*EXACT, "task=denoise", "seed=0,1", "method.sampler._target_=deadly.die")
    code, output = sweep(*cells, "hydra/launcher=processes", folder=tmp_path)
    assert code == 2, output
    (said,) = [line for line in output.splitlines() if line.startswith("vml-bench: ")]  # joblib may warn behind it
    assert said.startswith("vml-bench: a process of the sweep was lost (")
    assert "start the same command again: what is done is kept" in said
