"""BibTeX of what the runs on disk rest on: methods, priors, metrics, data sets, statistics.

Methods, priors, data sets and columns each say themselves what they rest on, under `cite`: keys of references.bib, or
whole BibTeX entries, which are printed as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vml_bench.columns import columns_of
from vml_bench.configuration import named_options
from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.identity import flat
from vml_bench.store.runs import UNREADABLE, Run, datasets, each, select_runs

REFERENCES = Path(__file__).with_name("references.bib")
ENTRY = re.compile(r"@\w+\{([^,\s]+),")

SCHEDULES = {"EDMSchedule": ("karras2022edm",), "DDPMSchedule": ("ho2020ddpm",)}
STATISTICS = ("efron1987bca", "cameron2008cluster", "holm1979sequentially")
"""Sources of the leaderboard's intervals and of `vml-bench compare`."""


def read_references() -> dict[str, str]:
    """Every BibTeX entry that travels with the package, by key, in the file's order."""
    found = re.split(r"^(?=@)", REFERENCES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {ENTRY.match(entry).group(1): entry.strip() + "\n" for entry in found}


def cited_by(run: Run) -> list[str]:
    """What one run's method, schedule, prior, data set and scores cite; what cannot be read cites nothing."""
    config = _read(run, "config") or {}
    features = _read(run, "features")
    networks = features.vectors if features else {}
    found = [*run.card.cite]
    for value in flat(run.form).values():
        found += SCHEDULES.get(value, ()) if isinstance(value, str) else ()
    if run.prior:
        found += _said(config, "prior", run.prior.rpartition("@")[0])
    found += _said(config, "dataset", run.dataset)
    for column in columns_of(run.columns).values():
        found += column.cite if column.name in run.images or column.features in networks else ()
    return found


def _read(run: Run, what: str) -> Any:
    """A part of a run, None where it cannot be read."""
    try:
        return getattr(run, what)
    except UNREADABLE:
        return None


def _said(config: Mapping[str, Any], group: str, name: str) -> list[str]:
    """What a run's configuration cites of a group; where it says nothing, the project's option of that name does.

    Args:
        config: the run's own.
        group: "prior" or "dataset".
        name: the option's name.
    """
    own = config.get(group)
    node = own if isinstance(own, Mapping) and "cite" in own else named_options(group).get(name, {})
    cited = node.get("cite")
    return [str(one) for one in cited] if isinstance(cited, list) else []


def bibliography(results_dir: str | Path, dataset: str | None = None, synthetic: bool = False) -> str:
    """BibTeX of what the runs on disk rest on, as `entries` gives it.

    Args:
        results_dir: the results folder.
        dataset: one data set; default every one with runs.
        synthetic: whether runs whose images or weights are made up count too.

    Raises:
        InputError: there is no run.
    """
    used, failures = [*STATISTICS], []
    names = datasets(results_dir, dataset)
    for name in names:
        try:
            runs, _ = select_runs(results_dir, name, synthetic)
        except InputError as error:
            failures.append(error)
            continue
        used += [cited for run in each(runs) for cited in cited_by(run)]
    if len(failures) == len(names):
        raise failures[0]
    return entries(used)


def entries(cited: Iterable[str]) -> str:
    """BibTeX of what is cited, each key once: entries of references.bib in its order, then those that were given whole.

    What is neither a key nor an entry is named in a comment. Runs are handed around, so characters that could steer a
    terminal are left out.

    Args:
        cited: keys of references.bib, or BibTeX entries.
    """
    wanted = dict.fromkeys(map(_printable, cited))
    known = {key: entry for key, entry in read_references().items() if key in wanted}
    given = {match.group(1): f"{text}\n" for text in wanted if (match := ENTRY.match(text))}
    given = {key: entry for key, entry in given.items() if key not in known}
    unknown = [" ".join(text.split()) for text in wanted if text and text not in known and not ENTRY.match(text)]
    lost = [f"% cited, but neither a key of {REFERENCES.name} nor a BibTeX entry: {text}\n" for text in unknown]
    return "\n".join([*known.values(), *given.values(), *lost])


def _printable(text: str) -> str:
    return "".join(character for character in text.strip() if character.isprintable() or character == "\n")


def write_bibliography(results_dir: str | Path, dataset: str | None = None, synthetic: bool = False) -> Path:
    """Write `bibliography` to <results_dir>/bibliography.bib, or that of one data set into its folder; returns it."""
    path = Path(results_dir, dataset or "", "bibliography.bib")
    with replacing(path) as partial:
        partial.write_text(bibliography(results_dir, dataset, synthetic), encoding="utf-8")
    return path
