import numpy as np

from tests.run_folders import write_reference, write_run
from tests.tracker.conftest import WHICH
from vml_bench.analysis.leaderboard import build
from vml_bench.store.runs import open_run, read_run
from vml_bench.tracker.record import finished, subject_of

IDS = ("a", "b", "c")


def test_scores_are_the_leaderboards_own(tmp_path):
    rng = np.random.default_rng(0)
    folder = write_run(tmp_path, diverged=["b"], features=rng.normal(size=(3, 4)))
    write_reference(tmp_path, IDS, rng.normal(size=(3, 4)))
    subject, _ = finished(read_run(folder), panel=2)
    frame, _ = build(tmp_path, "toy")
    row = frame.iloc[0].drop(list(WHICH)).dropna()
    assert subject.scores == row.to_dict()
    assert {"psnr", "psnr_low", "psnr_high", "lpips_alex", "fd_alex", "n", "diverged", "nfe"} <= subject.scores.keys()


def test_pictures_stand_side_by_side_and_a_missing_one_is_left_out(tmp_path):
    folder = write_run(tmp_path, pictures=True, diverged=["b"])
    open_run(folder).picture("b").unlink()
    first, second = finished(read_run(folder), panel=2)[0].panel
    assert [first[0], second[0]] == [
        "a: ground truth, measurement, restoration · 20.00 dB · LPIPS 0.300",
        "b: ground truth, measurement · diverged",
    ]
    assert [first[1].size, second[1].size] == [(24, 8), (16, 8)]
    assert [first[1].getpixel((8 * i, 0))[0] for i in range(3)] == [50, 80, 60]


def test_a_subject_is_called_and_grouped_by_what_it_computed(tmp_path):
    told = {"settings": {"eta": 0.5}, "about": {"family": "mine"}}
    folder = write_run(tmp_path, "own_method", record=told)
    subject, run = subject_of(folder), open_run(folder)
    assert subject.name == "own_method · eta=0.5"
    assert subject.group == f"toy/sr4 σ_y=0.05 {run.problem.name}"
    assert subject.key == ("toy", "sr4", "own_method", "0123456789")
    words = {"name": run.name, "problem": run.problem.name, "prior": "shipped@0f1e2d3c", "settings": "eta=0.5"}
    assert subject.config["run"] == words
    assert subject.tags[:3] == ("mine", "toy", "sr4")
    other = write_run(tmp_path, "own_method", "of two", asked={"operator": {"BlockAverage": {"factor": 2}}})
    assert subject_of(other).group != subject.group
