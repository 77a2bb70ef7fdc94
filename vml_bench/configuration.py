"""Where the Hydra configuration and the published results lie: in the checkout, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def config_dir() -> Path:
    """The folder of Hydra configuration groups: `conf/` of the checkout, or its copy in the wheel."""
    checkout = PACKAGE.parent / "conf"
    return checkout if (checkout / "config.yaml").is_file() else PACKAGE / "conf"


def published_file() -> Path:
    """What papers claim: `results/published.yaml` of the checkout, or its copy in the wheel."""
    checkout = PACKAGE.parent / "results" / "published.yaml"
    return checkout if checkout.is_file() else PACKAGE / "published.yaml"
