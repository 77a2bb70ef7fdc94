"""`python -m vml_bench.train [--config-name NAME] [OVERRIDES]`: train what a configuration beside this file names.

`train`, if none is named, is the photos64 prior; `autoencoder` and then `latent` make the photos64_latent prior.
"""

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


@hydra.main(version_base="1.3", config_path=".", config_name="train")
def configured(config: DictConfig) -> None:
    """Train, or continue from the checkpoint in `folder`."""
    from vml_bench.priors.folder import load_decoder  # with torch, for seconds; a wrong override is refused before
    from vml_bench.train.autoencoder import train_autoencoder
    from vml_bench.train.training import same, train

    how = instantiate(config.training), Path(config.folder), Path(config.weights)
    if "decoder" in config:
        train_autoencoder(instantiate(config.decoder, _convert_="all"), *how, config.kl_weight)
        return
    prior = instantiate(config.prior, _convert_="all")
    autoencoder = config.get("autoencoder")
    train(prior, *how, load_decoder(autoencoder, prior.image_shape).encode if autoencoder else same)


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
