"""Figures of the closed-form priors: what is joined, what is drawn, and that it is the same twice."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.run_folders import problem_form, write_oracle_run, write_run
from vml_bench.analysis.leaderboard import build
from vml_bench.cli import main
from vml_bench.errors import InputError
from vml_bench.figures.oracle import (
    _mixture_density,
    against_compute,
    exact_answers,
    telling_scenes,
    trajectories,
    write_oracle_figures,
)
from vml_bench.store.runs import select_runs


def test_a_panel_a_task_and_noise_level_with_each_run_at_its_place(tmp_path, monkeypatch):
    for task in ("sr4", "denoise"):
        for noise_std in (0.0, 0.3):
            write_oracle_run(tmp_path, "ddrm", f"few{noise_std}", task=task, noise_std=noise_std, nfe=20)
            write_oracle_run(
                tmp_path, "ddrm", f"many{noise_std}", task=task, noise_std=noise_std, nfe=80, gaps=[[0.0], [0.0]]
            )
    write_oracle_run(tmp_path, "pinv", task="sr4", noise_std=0.3, nfe=0)
    figures, subplots = [], Figure.subplots
    monkeypatch.setattr(
        Figure,
        "subplots",
        lambda self, *shape, **options: figures.append(subplots(self, *shape, **options)) or figures[-1],
    )
    path = against_compute(build(tmp_path, "plane")[0], "map_gap", tmp_path / "gap.png")
    assert Image.open(path).size[0] > 500
    (grid,) = figures
    assert grid.shape == (2, 2)
    assert [axes.get_title() for axes in grid[0]] == ["σ_y = 0", "σ_y = 0.3"]
    joined = grid[0, 0].lines[1].get_xydata()
    assert joined.tolist() == [[20, 2.5], [80, 1e-4]]
    dashed = [line for line in grid[1, 1].lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [2.5]
    assert not [line for line in grid[0, 0].lines if line.get_linestyle() in ("--", ":")]


def test_the_floor_of_exact_samples_is_drawn_where_it_is_known(tmp_path, monkeypatch):
    write_oracle_run(tmp_path)
    figures, subplots = [], Figure.subplots
    monkeypatch.setattr(
        Figure,
        "subplots",
        lambda self, *shape, **options: figures.append(subplots(self, *shape, **options)) or figures[-1],
    )
    against_compute(build(tmp_path, "plane")[0], "sw2", tmp_path / "sw2.png")
    (dotted,) = [line for line in figures[0][0, 0].lines if line.get_linestyle() == ":"]
    assert dotted.get_ydata()[0] == pytest.approx(0.1)


def test_each_problem_has_a_panel_and_runs_with_settings_of_their_own_are_hollow(tmp_path, monkeypatch):
    write_oracle_run(tmp_path, "ddrm")
    write_oracle_run(tmp_path, "ddrm", "another", nfe=80, gaps=[[0.1], [0.1]], record={"settings": {"levels": 80}})
    elsewhere = {"name": "elsewhere", "form": {**problem_form(), "seed": 1, "reference": {"Oracle": {"samples": 256}}}}
    write_oracle_run(tmp_path, "ddrm", "other seed", record={"problem": elsewhere})
    grids, subplots = [], Figure.subplots
    monkeypatch.setattr(
        Figure, "subplots", lambda self, *shape, **options: grids.append(subplots(self, *shape, **options)) or grids[-1]
    )
    against_compute(build(tmp_path, "plane")[0], "map_gap", tmp_path / "gap.png")
    ((axes,), (other,)) = sorted(grids[0], key=lambda row: -len(row[0].lines[0].get_xdata()))
    assert {text.get_text() for row in grids[0] for text in row[0].texts} == {
        "random_projection · seed 0",
        "random_projection · seed 1",
    }
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata().tolist() for line in hollow if len(line.get_xdata())] == [[80]]
    assert not any(len(line.get_xdata()) for line in other.lines if line.get_markerfacecolor() == "white")


def test_a_mixture_is_drawn_as_dense_as_it_is_and_no_thinner_than_can_be_seen():
    x, y = np.meshgrid(np.linspace(-6, 6, 401), np.linspace(-6, 6, 401))
    points = np.stack([x, y], axis=-1)
    weights, means = np.array([0.3, 0.7]), np.array([[-1.0, 0.0], [1.0, 1.0]])
    covariances = np.array([[[0.5, 0.2], [0.2, 0.3]], [[0.4, 0.0], [0.0, 0.0]]])  # the second is a line
    density = _mixture_density(points, weights, means, covariances)
    assert density.sum() * 0.03**2 == pytest.approx(1, abs=0.02)
    alone = _mixture_density(points, weights[:1], means[:1], covariances[:1])
    assert alone.max() == pytest.approx(0.3 / (2 * np.pi * np.sqrt(0.11)), rel=1e-3)


def test_the_most_divided_posterior_and_one_in_the_middle_are_shown(tmp_path):
    write_oracle_run(tmp_path, gaps=[[1.0]] * 5, sw2=[0.1] * 5, ways=True)
    (run,), _ = select_runs(tmp_path, "plane")
    assert telling_scenes(exact_answers(run)) == ["p004", "p002"]
    trajectories([run], "p002", tmp_path / "p002.png")
    with pytest.raises(InputError, match="choose among p000"):
        trajectories([run], "p009", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_all_that_can_be_drawn_is_and_the_same_twice(tmp_path):
    for method in ("ddrm", "vml_map_pre"):
        write_oracle_run(tmp_path, method, ways=True)
    write_oracle_run(tmp_path, "pinv", noise_std=0.3)
    frame, _ = build(tmp_path, "plane")
    paths = write_oracle_figures(tmp_path, "plane", frame)
    assert [path.name for path in paths] == [
        "map-gap-against-compute.png",
        "sw2-against-compute.png",
        "ways-random_projection-0.05-p001.png",
    ]
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_oracle_figures(tmp_path, "plane", frame)] == before


def test_the_command_draws_them_and_pictures_have_none(tmp_path, capsys):
    write_oracle_run(tmp_path)
    write_run(tmp_path, pictures=True)
    main(["leaderboard", "--results", str(tmp_path)])
    assert (tmp_path / "plane" / "figures" / "map-gap-against-compute.png").exists()
    assert not list((tmp_path / "toy" / "figures").glob("*against-compute*"))
    assert "map-gap-against-compute.png" in capsys.readouterr().out
