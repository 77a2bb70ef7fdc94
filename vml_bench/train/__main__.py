"""`python -m vml_bench.train [OVERRIDES]`: train the photos64 prior, or continue (Hydra overrides of train.yaml)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vml_bench.errors import InputError
from vml_bench.train.training import train


@hydra.main(version_base="1.3", config_path=".", config_name="train")
def configured(config: DictConfig) -> None:
    """Train, or continue from the checkpoint in `folder`."""
    prior = instantiate(config.prior, _convert_="all")
    train(prior, instantiate(config.training), Path(config.folder), Path(config.weights))


def main() -> None:
    """Entry point; what the user can mend is one line on stderr and exit code 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hands us the exception
    try:
        configured()
    except (HydraException, OmegaConfBaseException, InputError) as error:
        print(f"vml_bench.train: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        said = "stopped; the same command goes on from the last checkpoint"
        print(f"vml_bench.train: {said}", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
