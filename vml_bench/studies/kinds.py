"""Which method takes which kind of operator, as the table of docs/operators.md.

python -m vml_bench.studies.kinds
"""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import OmegaConf

from vml_bench.configuration import choices, named_options
from vml_bench.contract import OPERATORS, takes
from vml_bench.text import markdown


def table() -> list[str]:
    """The lines of a Markdown table: methods that take the same kinds share a row."""
    rows: dict[tuple[bool, ...], list[str]] = {}
    for name, choice in choices("method").items():
        node = named_options("method")[name]
        task = next(iter(node.get("tasks", ["sr4"])))
        sampler = OmegaConf.create({"method": node, "task": {"name": task}}).method.sampler
        method = instantiate(OmegaConf.to_container(sampler, resolve=True))
        rows.setdefault(tuple(takes(method, kind) for kind in OPERATORS), []).append(f"`{choice}`")
    cells = [
        [", ".join(sorted(names)), *("runs" if fits else "refused" for fits in fit)]
        for fit, names in sorted(rows.items(), reverse=True)
    ]
    return markdown(("method", *OPERATORS), cells)


if __name__ == "__main__":
    print("\n".join(table()))
