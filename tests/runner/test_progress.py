from hydra import compose, initialize_config_dir

from vml_bench.configuration import config_dir
from vml_bench.runner.progress import cells_of, clock


def test_the_cells_of_a_sweep_are_counted():
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", ["experiment=demo"], return_hydra_config=True)

    def cells(*overrides):
        config.hydra.overrides.task = ["experiment=demo", *overrides]
        return cells_of(config)

    tasks = cells("method=pinv")
    assert cells() % tasks == 0
    assert cells("method=pinv,dps") == 2 * tasks
    assert cells("method=pinv", "seed=range(3)") == 3 * tasks
    assert cells("method=pinv,dps", "task=sr4") == 2


def test_clock():
    assert clock(65) == "1:05"
    assert clock(3725) == "1:02:05"
