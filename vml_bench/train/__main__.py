"""`python -m vml_bench.train [OVERRIDES]`: train the photos64 prior, or continue (Hydra overrides of train.yaml)."""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from vml_bench.train.training import train


@hydra.main(version_base="1.3", config_path=".", config_name="train")
def main(config: DictConfig) -> None:
    """Train, or continue from the checkpoint in `folder`."""
    prior = instantiate(config.prior, _convert_="all")
    train(prior, instantiate(config.training), Path(config.folder), Path(config.weights))


if __name__ == "__main__":
    main()
