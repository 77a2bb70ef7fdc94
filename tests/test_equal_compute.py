"""The comparison at equal compute: what is grouped, and that its differences are those of the runs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tests.run_folders import write_reference, write_run
from vml_bench.columns import LPIPS, PSNR
from vml_bench.errors import InputError
from vml_bench.metrics.frechet import frechet_distance
from vml_bench.store import layout
from vml_bench.store.runs import select_runs
from vml_bench.studies.equal_compute import main
from vml_bench.studies.groups import DISTANCE, budget_of, differences, groups, wins

IDS = [f"{photograph}-{crop}" for photograph in "abcdefgh" for crop in range(2)]
PLAIN = np.linspace(0.2, 0.4, len(IDS))
JITTER = 0.01 * np.cos(np.arange(len(IDS)))


def leave(results, method, nfe=20, gain=0.0, task="sr4", noise_std=0.0, ids=IDS, **more):
    """A run whose LPIPS is lower by `gain` than the plain one's, and its PSNR higher by 10 × that; returns its name."""
    name = f"{len(layout.run_folders(results)):010d}"
    lpips = PLAIN - gain + (JITTER if gain else 0)
    told = {"dataset": "photos64", "task": task, "noise_std": noise_std, "ids": ids}
    folder = write_run(
        results, method, name, **told, lpips=lpips[: len(ids)], psnr=(30 - 10 * lpips)[: len(ids)], **more
    )
    table = pd.read_parquet(folder / layout.TABLE).assign(nfe=nfe, lpips_vgg=0.5)
    table.to_parquet(folder / layout.TABLE, index=False)
    record = json.loads((folder / layout.RECORD).read_text())
    record["form"]["method"] = {"X": {"inner_steps": 2, "schedule": {"Y": {"levels": nfe // 2}}}}
    (folder / layout.RECORD).write_text(json.dumps(record))
    return name


def found(results):
    return groups(select_runs(results, "photos64")[0])


@pytest.mark.parametrize(("compute", "budget"), [(0, None), (18, 20), (20, 20), (21, 50), (1000, 1000), (1001, None)])
def test_a_budget_is_the_least_that_holds_the_compute(compute, budget):
    assert budget_of(compute) == budget


def test_runs_compare_at_one_budget_and_noise_on_the_tasks_that_all_methods_ran(tmp_path):
    for method in ("vml_map", "pigdm"):
        leave(tmp_path, method)
        leave(tmp_path, method, nfe=100)
        leave(tmp_path, method, nfe=100, noise_std=0.1)
    leave(tmp_path, "pigdm", task="inpaint_half")
    leave(tmp_path, "pinv", nfe=0)
    settings = {group.setting: (group.methods, group.tasks) for group in found(tmp_path)}
    both = (["pigdm", "vml_map"], ["sr4"])
    assert settings == {(20, 0.0): both, (100, 0.0): both, (100, 0.1): both}


def test_two_runs_of_one_method_at_one_setting_are_refused(tmp_path):
    leave(tmp_path, "pigdm", nfe=19)
    leave(tmp_path, "pigdm", nfe=20)
    with pytest.raises(InputError, match=r"two runs of sr4 .* pigdm .* cost about 20"):
        found(tmp_path)


@pytest.mark.parametrize(("gain", "better"), [(0.05, 1), (-0.05, -1), (0.0, 0)])
def test_a_difference_has_the_sign_and_the_size_of_the_runs(tmp_path, gain, better):
    leave(tmp_path, "vml_map", gain=gain)
    leave(tmp_path, "pigdm")
    (group,) = found(tmp_path)
    for column, size in ((LPIPS, -gain + JITTER.mean() * bool(gain)), (PSNR, 10 * gain - 10 * JITTER.mean())):
        (row,) = differences(group, column).itertuples()
        assert (row.method, row.other, row.better) == ("vml_map", "pigdm", better)
        assert row.difference == pytest.approx(size if gain else 0, abs=1e-12)
        assert row.low <= row.difference <= row.high
        assert tuple(wins(group, column).loc[("vml_map", "pigdm")]) == (better == 1, better == -1)


def test_the_command_writes_both_tables_and_figures(tmp_path, capsys):
    for noise_std in (0.0, 0.1):
        for method, gain in (("vml_map", 0.05), ("pigdm", 0.0), ("vml_fixed_point", -0.05)):
            leave(tmp_path, method, nfe=100, gain=gain, noise_std=noise_std)
    leave(tmp_path, "ddrm_library", nfe=100)  # not under noise
    main(["--results", str(tmp_path)])
    written = capsys.readouterr().out.split()
    stems = {"equal_compute": [".csv", "_pairs.csv", ".md", ".png"], "noise": [".csv", "_pairs.csv", ".md", ".png"]}
    assert sorted(written) == sorted(str(tmp_path / f"{stem}{end}") for stem, ends in stems.items() for end in ends)
    means = pd.read_csv(tmp_path / "noise.csv").set_index(["noise_std", "method"])
    assert means.loc[(0.1, "vml_map"), "lpips_alex"] == pytest.approx(PLAIN.mean() - 0.05 + JITTER.mean(), abs=1e-6)
    assert "ddrm_library" not in means.index.get_level_values("method")
    page = (tmp_path / "equal_compute.md").read_text()
    assert "VML-MAP − ΠGDM | -0.05" in page.replace("LPIPS: ", "")
    assert "50×2" in page


def test_differences_of_frechet_distances_are_over_the_images_that_all_have(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(len(IDS), 5))
    features = {
        "vml_map": truth + 0.1 * rng.normal(size=truth.shape),
        "pigdm": truth + 0.5 * rng.normal(size=truth.shape) + 1,
    }
    write_reference(tmp_path, IDS, truth, "photos64")
    leave(tmp_path, "vml_map", features=features["vml_map"], diverged=IDS[3:4])
    leave(tmp_path, "pigdm", features=features["pigdm"])
    (group,) = found(tmp_path)
    (row,) = differences(group, DISTANCE).itertuples()
    both = np.arange(len(IDS)) != 3
    near, far = (frechet_distance(features[method][both], truth[both]) for method in ("vml_map", "pigdm"))
    assert row.difference == pytest.approx(near - far)
    assert (row.n, row.units, row.better) == (15, 8, 1)
    assert row.low < row.difference < row.high < 0
    main(["--results", str(tmp_path)])
    page = (tmp_path / "equal_compute.md").read_text()
    assert f"| {near:.1f}" in page.split("## Fréchet distance")[1].replace("*", "")
    (told,) = pd.read_csv(tmp_path / "equal_compute_distances.csv").itertuples()
    assert told.difference == pytest.approx(row.difference, rel=1e-5)


def test_without_features_there_is_no_frechet_distance(tmp_path):
    leave(tmp_path, "vml_map")
    leave(tmp_path, "pigdm")
    main(["--results", str(tmp_path)])
    assert "Fréchet distance\n" not in (tmp_path / "equal_compute.md").read_text()
    assert not (tmp_path / "equal_compute_distances.csv").exists()


def test_no_runs_are_refused_with_the_command_that_makes_them(tmp_path):
    leave(tmp_path, "pinv", nfe=0)
    with pytest.raises(InputError, match="make reproduce-paper-small"):
        main(["--results", str(tmp_path)])
