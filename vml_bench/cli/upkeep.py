"""Commands about what runs need, and whether stored runs are sound: fetch, doctor, verify."""

from __future__ import annotations

import argparse

from vml_bench.errors import InputError, raise_all


def fetch(arguments: argparse.Namespace) -> None:
    """Fetch and verify weights (no resuming), or all that a target needs; say where to get data sets.

    If one fails, the others are fetched nonetheless.
    """
    from vml_bench.weights import obtain
    from vml_bench.weights.catalogue import BY_HAND, FETCHABLE, TARGETS

    if arguments.list:
        print(obtain.listing())
        return
    failures = []
    others = {name for target in TARGETS.values() for name in target.priors}
    asked = arguments.what or [entry.name for entry in FETCHABLE if entry.name not in others]
    for what in dict.fromkeys(name for one in asked for name in (TARGETS[one].weights if one in TARGETS else (one,))):
        try:
            print(f"{what}: {obtain.fetch(what, arguments.mirror)}", flush=True)
        except InputError as error:
            failures.append(error)
    if not arguments.what:
        print(f"not fetched unless named: {', '.join(entry.name for entry in FETCHABLE if entry.name in others)}")
        print(f"by hand: {', '.join(entry.name for entry in BY_HAND)}; `vml-bench fetch NAME` says how")
    raise_all(failures)


def doctor(arguments: argparse.Namespace) -> None:
    """Print what a target lacks and how to get it; exit code 1 if anything is missing."""
    from vml_bench import doctor as clinic
    from vml_bench.text import say

    missing = False
    for name in clinic.targets(arguments.target):
        needs = clinic.examine(name)
        say(f"{clinic.report(name, needs)}\n")
        missing |= any(need.missing for need in needs)
    if missing:
        raise SystemExit(1)


def verify(arguments: argparse.Namespace) -> None:
    """Check all that runs left on disk, and say what to run again; exit code 1 where something does not hold.

    Raises:
        InputError: there is no run.
    """
    from tqdm import tqdm

    from vml_bench import verify as checks
    from vml_bench.text import escape_terminal, folded

    checked = []
    for found in checks.verify(arguments.results, arguments.dataset):
        checked.append(found)
        for finding in found.findings:
            kind = "" if finding.mend else "note: "
            line = f"{kind}{finding.file.relative_to(arguments.results)}: {finding.what}"
            tqdm.write(folded(escape_terminal(line)))
    for ill in (found for found in checked if found.defects):
        print("\n".join(["", *map(escape_terminal, checks.mending(ill, arguments.results))]))
    print(f"\n{checks.summary(checked)}")
    if any(found.defects for found in checked):
        raise SystemExit(1)
