import numpy as np
import pytest

from tests.run_folders import write_reference, write_run
from tests.tracker.conftest import WHICH
from vml_bench.analysis.leaderboard import build
from vml_bench.store.runs import open_run, read_run
from vml_bench.tracker.record import finished, origin, subject_of

IDS = ("a", "b", "c")


def test_scores_are_the_leaderboards_own(tmp_path):
    rng = np.random.default_rng(0)
    folder = write_run(tmp_path, diverged=["b"], features=rng.normal(size=(3, 4)))
    write_reference(tmp_path, IDS, rng.normal(size=(3, 4)))
    subject, _ = finished(read_run(folder), panel=2)
    frame, _ = build(tmp_path, "toy")
    row = frame.iloc[0].drop(list(WHICH)).dropna()
    assert subject.scores == {name: row[name] for name in subject.scores}
    assert {"psnr", "lpips_alex", "n", "diverged", "nfe"} <= subject.scores.keys()


@pytest.mark.parametrize(("n", "intervals", "distances"), [(9, False, False), (10, True, False), (50, True, True)])
def test_a_statistic_of_too_few_images_is_left_out(tmp_path, n, intervals, distances):
    rng, ids = np.random.default_rng(0), [f"i{i:02d}" for i in range(n)]
    told = {"psnr": rng.normal(size=n), "lpips": rng.random(n), "features": rng.normal(size=(n, 4))}
    folder = write_run(tmp_path, ids=ids, **told)
    write_reference(tmp_path, ids, rng.normal(size=(n, 4)))
    scores = finished(read_run(folder), panel=0)[0].scores
    assert "psnr" in scores
    assert ("psnr_low" in scores, "fd_alex" in scores, "fd_alex_high" in scores) == (intervals, distances, distances)


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
    assert subject.name == "own_method · eta=0.5 · sr4 σ_y=0.05"
    assert subject.group == f"toy/sr4 σ_y=0.05 {run.problem.name}"
    assert subject.key == ("toy", "sr4", "own_method", "0123456789")
    words = {"run": run.name, "problem": run.problem.name, "prior": "shipped@0f1e2d3c", "settings": "eta=0.5"}
    assert {key: subject.config[key] for key in words} == words
    assert subject.tags[:4] == ("mine", "toy", "sr4", "own settings")
    other = write_run(tmp_path, "own_method", "of two", asked={"operator": {"BlockAverage": {"factor": 2}}})
    assert subject_of(other).group != subject.group


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        ("dps", {}, "tuned"),
        ("dps_published", {}, "published"),
        ("dps", {"scale": 1.0}, "own settings"),
        ("pinv", {}, ""),
        ("somebody_elses", {}, ""),
    ],
)
def test_a_tag_says_where_settings_are_from(tmp_path, method, settings, said):
    folder = write_run(tmp_path, method, record={"settings": settings})
    assert origin(open_run(folder)) == subject_of(folder).config["origin"] == said
    assert {"tuned", "published", "own settings"} & set(subject_of(folder).tags) == {said} - {""}


def test_one_image_under_every_method_is_one_table(tmp_path):
    rows = []
    for method in ("pinv", "ddrm"):
        folder = write_run(tmp_path, method, pictures=True)
        rows.append(finished(read_run(folder), panel=0)[0].first)
    assert [row["method"] for row in rows] == ["pinv", "ddrm"]
    assert {row["image_id"] for row in rows} == {"a"}
    assert list(rows[0]) == list(rows[1])
    assert rows[0]["restoration"].size == rows[0]["ground truth"].size == (8, 8)
