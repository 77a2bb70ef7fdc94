from hydra import compose, initialize_config_dir

from vml_bench.configuration import config_dir
from vml_bench.runner.progress import cells_of, clock


def test_the_demo_has_eighteen_cells():
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", ["experiment=demo"], return_hydra_config=True)
    config.hydra.overrides.task = ["experiment=demo"]
    assert cells_of(config) == 18
    config.hydra.overrides.task = ["experiment=demo", "method=pinv,dps"]
    assert cells_of(config) == 6
    config.hydra.overrides.task = ["experiment=demo", "method=pinv", "seed=range(3)"]
    assert cells_of(config) == 9


def test_clock():
    assert clock(65) == "1:05"
    assert clock(3725) == "1:02:05"
