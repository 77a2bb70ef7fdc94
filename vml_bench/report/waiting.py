"""What the page says of a data set on which nothing has been run: what it needs, what to type, where it comes from."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vml_bench.analysis.published.commands import commands
from vml_bench.weights.catalogue import BY_HAND, TARGETS, find


def to_run(dataset: str, comparison: pd.DataFrame) -> dict[str, Any]:
    """How to run what is published of a data set.

    Args:
        dataset: its name.
        comparison: from `vml_bench.analysis.published.compare`, of its claims.

    Returns:
        "needs", pairs of words: images, weights, machine; "commands", pairs of what each is for and what to type; and
        "published", for each source its title and the commands that run what it claims.
    """
    images = next((entry for entry in BY_HAND if entry.name == dataset), None)
    name, target = next(((name, one) for name, one in TARGETS.items() if one.dataset == dataset), ("", None))
    needs, said = [], []
    if images:
        needs += [
            ("images", f"{images.what}; about {_size(images.about)}"),
            ("licence", images.licence),
            ("source", images.get),
            ("place", images.put),
        ]
    if target:
        weights = [find(entry) for entry in target.weights]
        needs.append(("weights", ", ".join(f"{one.name} ({_size(one.about)})" for one in weights)))
        needs += [("machine", "a GPU")] if target.gpu else []
        needs.append(("results", f"about {_size(target.results)} on disk"))
        experiment = f"experiment=reproduce_{name}"
        said = [
            ("what is missing here, and the command that gets it", f"vml-bench doctor {name}"),
            ("weights", f"vml-bench fetch {name}"),
            ("what it costs, in all and for each published number", f"vml-bench plan {experiment}"),
            ("run it; the same command goes on where it ended", f"vml-bench run {experiment}"),
        ]
    sources = [(str(paper), commands(rows, dataset)) for paper, rows in comparison.groupby("paper", sort=False)]
    return {"needs": needs, "commands": said, "published": [(paper, own) for paper, own in sources if own]}


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
