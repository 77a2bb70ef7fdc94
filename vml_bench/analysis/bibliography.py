"""BibTeX of what the runs on disk rest on: methods, priors, metrics, data sets, statistics.

Methods, priors, data sets and columns each say themselves what they rest on, under `cite`: keys of references.bib, or
whole BibTeX entries, which are printed as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vml_bench.columns import columns_of
from vml_bench.configuration import mapping, named_options
from vml_bench.errors import InputError
from vml_bench.identity import flat
from vml_bench.store.runs import UNREADABLE, Run, datasets, each, select_runs
from vml_bench.text import write_files

REFERENCES = Path(__file__).with_name("references.bib")
ENTRY = re.compile(r"@\w+\{([^,\s]+),")

SCHEDULES = {"EDMSchedule": ("karras2022edm",), "DDPMSchedule": ("ho2020ddpm",)}
STATISTICS = ("efron1987bca", "cameron2008cluster", "holm1979sequentially")
"""Sources of the leaderboard's intervals and of `vml-bench compare`."""


def read_references() -> dict[str, str]:
    """Every BibTeX entry that travels with the package, by key, in the file's order."""
    found = re.split(r"^(?=@)", REFERENCES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {ENTRY.match(entry)[1]: entry.strip() + "\n" for entry in found}


def cited_by(run: Run) -> list[str]:
    """What one run's method, schedule, prior, data set and scores cite; what cannot be read cites nothing."""
    config, features = _read(run, "config"), _read(run, "features")
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
    with suppress(*UNREADABLE):
        return getattr(run, what)


def _said(config: Mapping[str, Any] | None, group: str, name: str) -> list[str]:
    """What a run's configuration cites of a group; where it says nothing, the project's option of that name does.

    Args:
        config: the run's own, None where it cannot be read.
        group: "prior" or "dataset".
        name: the option's name.
    """
    own = mapping(config or {}, group)
    cited = (own if "cite" in own else named_options(group).get(name, {})).get("cite")
    return [str(one) for one in cited] if isinstance(cited, list) else []


def bibliography(results_dir: str | Path, dataset: str | None = None, synthetic: bool = False) -> str:
    """BibTeX of what the runs on disk rest on: entries of references.bib in its order, then those that runs give whole.

    Each key stands there once. What is neither a key nor an entry is named in a comment. Runs are handed around, so
    characters that could steer a terminal are left out.

    Args:
        results_dir: the results folder.
        dataset: one data set; default every one with runs.
        synthetic: whether runs whose images or weights are made up count too.

    Raises:
        InputError: there is no run.
    """
    cited, failures = [*STATISTICS], []
    names = datasets(results_dir, dataset)
    for name in names:
        try:
            runs, _ = select_runs(results_dir, name, synthetic)
        except InputError as error:
            failures.append(error)
            continue
        cited += [said for run in each(runs) for said in cited_by(run)]
    if len(failures) == len(names):
        raise failures[0]
    wanted = dict.fromkeys(map(_printable, cited))
    entries = {key: entry for key, entry in read_references().items() if key in wanted}
    for text in (text for text in wanted if text and text not in entries):
        if match := ENTRY.match(text):
            entries.setdefault(match[1], f"{text}\n")
        else:
            lost = f"% cited, but neither a key of {REFERENCES.name} nor a BibTeX entry: {' '.join(text.split())}\n"
            entries[text] = lost
    return "\n".join(sorted(entries.values(), key=lambda entry: entry.startswith("%")))


def _printable(text: str) -> str:
    return "".join(character for character in text.strip() if character.isprintable() or character == "\n")


def write_bibliography(results_dir: str | Path, dataset: str | None = None, synthetic: bool = False) -> Path:
    """Write `bibliography` to <results_dir>/bibliography.bib, or that of one data set into its folder; returns it."""
    text = bibliography(results_dir, dataset, synthetic)
    return write_files(Path(results_dir, dataset or ""), {"bibliography.bib": text})[0]
