from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from vml_bench.columns import BY_NAME
from vml_bench.configuration import config_dir
from vml_bench.runner.cost import passes_of
from vml_bench.runner.progress import Done, Work, clock, scores_of, summary, time_left
from vml_bench.runner.sweep import cells_of, overrides_of


@pytest.fixture
def loader():
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def test_the_cells_of_a_sweep_are_counted():
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", ["experiment=demo"], return_hydra_config=True)

    def cells(*overrides):
        config.hydra.overrides.task = ["experiment=demo", *overrides]
        return len(overrides_of(config))

    tasks = cells("method=pinv")
    assert cells() % tasks == 0
    assert cells("method=pinv,dps") == 2 * tasks
    assert cells("method=pinv", "seed=range(3)") == 3 * tasks
    assert cells("method=pinv,dps", "task=sr4") == 2
    assert cells("method=pinv,dps", "task=sr4", "method=ddrm,dps,tv") == 3, "of a key given twice, the last counts"


def test_cells_are_composed_as_hydra_composes_each(loader):
    sweep = ["task=sr4,denoise", "method=ddrm,published/ddrm", "task.noise_std=0,0.1", "+method.tasks={sr4: {}}"]
    master = loader.load_configuration("config", sweep, run_mode=RunMode.MULTIRUN)
    found = [OmegaConf.to_container(cell) for cell in cells_of(master, loader)]
    assert len(found) == 8
    for overrides, cell in zip(overrides_of(master), found, strict=True):
        alone = OmegaConf.to_container(loader.load_configuration("config", overrides, run_mode=RunMode.RUN))
        alone.pop("hydra")
        assert cell == alone


def test_the_demo_takes_no_more_passes_than_fit_in_five_minutes_and_soon_has_a_picture(loader):
    master = loader.load_configuration("config", ["experiment=demo"], run_mode=RunMode.MULTIRUN)
    work = [passes_of(cell) for cell in cells_of(master, loader)]
    assert sum(images * passes for images, passes in work) <= 8000  # 29 ms each on two cores without AVX-512: 4 minutes
    assert 0 < work[0][1] == min(passes for _, passes in work if passes)


def done(task="sr4", method="ddrm", restored=2, restoring=10.0, aside=1.0, **others):
    said = {
        "dataset": "photos64",
        "noise_std": 0.05,
        "seed": 0,
        "settings": "",
        "folder": Path("r/runs/d/t/m/0123456789"),
    }
    said |= {"images": 2, "scores": {"psnr": ("PSNR", "23.61 dB")}, "seconds": 5.0, "picture": None}
    return Done(task=task, method=method, restored=restored, restoring=restoring, aside=aside, **said | others)


def test_the_time_left_goes_by_passes_and_by_what_the_same_method_took():
    fast, slow, free = Work("ddrm", 2, 50), Work("vml_map", 2, 200), Work("pinv", 2, 0)
    assert time_left([slow, free], [(fast, done())]) == pytest.approx(4 * 10 + 2 * 1)
    assert time_left([slow, fast], [(fast, done()), (slow, done(restoring=80.0))]) == pytest.approx(80 + 10 + 2 * 1)
    assert time_left([Work("ddrm", 6, 50)], [(fast, done())]) == pytest.approx(3 * 10 + 1)


def test_no_time_is_foretold_from_cells_that_asked_no_network_or_were_done_before():
    free, network = Work("pinv", 2, 0), Work("ddrm", 2, 50)
    assert time_left([network], [(free, done(method="pinv"))]) is None
    assert time_left([network], [(network, done(restored=0, restoring=0.0))]) is None


def test_a_cells_line_has_scores_seconds_and_folder():
    line = done(settings="eta=0.5").line()
    assert line == (
        "sr4 σ_y=0.05 · ddrm (eta=0.5): PSNR 23.61 dB · 5.00 s/image · 2 images · results in r/runs/d/t/m/0123456789"
    )


def test_a_sweeps_table_has_a_row_for_each_cell_a_picture_and_what_to_type_next():
    cells = [done(), done(method="pinv", scores={}, seconds=0.001, picture=Path("r/runs/d/t/m/0/recon/a.png"))]
    heading, ddrm, pinv, picture = [line for line in summary(cells).splitlines() if set(line) - set("─")][:4]
    assert heading.split() == ["task", "method", "σ_y", "PSNR", "s/image", "images"]
    assert ddrm.split() == ["sr4", "ddrm", "0.05", "23.61", "dB", "5.00", "2"]
    assert pinv.split() == ["sr4", "pinv", "0.05", "0.00", "2"]
    assert picture.endswith("r/runs/d/t/m/0/recon/a.png")
    assert "vml-bench leaderboard --results r " in summary(cells)
    assert "seed" in summary([done(), done(seed=1)])


def test_scores_are_averaged_as_their_columns_are():
    rows = [{"psnr": 20.0, "map_gap": 1.0}, {"psnr": 23.0, "map_gap": 2.0}, {"psnr": float("nan"), "map_gap": 9.0}]
    found = scores_of(rows, [BY_NAME["psnr"], BY_NAME["lpips_alex"], BY_NAME["map_gap"], BY_NAME["nfe"]])
    assert found == {"psnr": ("PSNR", "21.50 dB"), "map_gap": ("MAP gap", "2.00 nats")}


def test_clock():
    assert clock(65) == "1:05"
    assert clock(3725) == "1:02:05"
