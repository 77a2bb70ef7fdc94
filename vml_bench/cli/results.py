"""Commands that read what runs left on disk: leaderboard, report, compare, cite, track, tuning, show, protocols."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vml_bench.errors import InputError, raise_all

if TYPE_CHECKING:  # what starts fast imports late
    from pandas import DataFrame

    from vml_bench.analysis.published import Published


def leaderboard(arguments: argparse.Namespace) -> None:
    """Write tables and figures of the results on disk, and print the tables.

    Raises:
        InputError: nothing to show, features asked for whose weights are not at hand, or a data set about which
            nothing is published.
    """
    from vml_bench.analysis import leaderboard as tables
    from vml_bench.analysis.published import read_published
    from vml_bench.figures import write_figures, write_tradeoffs
    from vml_bench.figures.oracle import write_oracle_figures
    from vml_bench.runner.device import choose_device
    from vml_bench.text import say

    results: Path = arguments.results
    claims = read_published() if arguments.published else None
    if claims and arguments.dataset:
        claims.require(arguments.dataset)
    networks = {name: tables.extractor(name, choose_device(arguments.device)) for name in arguments.features}
    frames, written, failures = {}, [], []
    try:
        found = tables.datasets(results, arguments.dataset)
    except InputError as error:
        found, failures = [], [error]
    for dataset in found:
        try:
            for name, extract in networks.items():
                tables.store_features(results, dataset, name, extract, arguments.synthetic)
            frame, warnings = tables.build(results, dataset, arguments.synthetic)
        except InputError as error:
            failures.append(error)
            continue
        for warning in warnings:
            say(f"note: {warning}", sys.stderr)
        frames[dataset] = frame
        written += tables.write(frame, results / dataset, arguments.tex_intervals)
        say(tables.format_table(frame))
        if not arguments.no_figures:
            written += write_figures(results, dataset, synthetic=arguments.synthetic)
            written += write_tradeoffs(results, dataset, arguments.synthetic)
            written += write_oracle_figures(results, dataset, frame, arguments.synthetic)
    if not frames and not claims:
        raise_all(failures)
    for error in failures:
        say(f"note: {error}", sys.stderr)
    if frames and not arguments.dataset:
        written.append(tables.write_csv(list(frames.values()), results / "leaderboard.csv"))
    if claims:
        written += published(claims, results, arguments.dataset, frames)
    print("\n".join(["", *(f"wrote {path}" for path in written)]))


def published(claims: Published, results: Path, dataset: str | None, frames: dict[str, DataFrame]) -> list[Path]:
    """Compare leaderboards with what papers claim; print and write the comparison, and return its paths."""
    from vml_bench.analysis.published import compare, format_comparison, write_comparison
    from vml_bench.text import say

    written = []
    for name in [dataset] if dataset else claims.names(list(frames)):
        frame = frames.get(name)
        comparison = compare(claims.about(name), frame)
        synthetic = frame is not None and frame.attrs["synthetic"]
        written += write_comparison(comparison, name, results / name, synthetic)
        say(f"\n{format_comparison(comparison, name)}")
    return written


def tuning(arguments: argparse.Namespace) -> None:
    """Print and write what a tuning sweep found: every setting of every method, the best first."""
    from vml_bench.analysis.leaderboard.tuning import tuning_table, write_tuning
    from vml_bench.text import aligned

    frame = tuning_table(arguments.results, arguments.dataset)
    written = write_tuning(frame, arguments.results / arguments.dataset)
    rows = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row] for row in frame.to_numpy()]
    print("\n".join([*aligned([list(frame.columns), *rows], left=[0, 1], rule=True, keys=2), ""]))
    print("\n".join(f"wrote {path}" for path in written))


def track(arguments: argparse.Namespace) -> None:
    """Log what is on disk, and what papers claim, in W&B; what was logged before is not logged again."""
    from vml_bench.analysis.published import read_published
    from vml_bench.text import escape_terminal, say
    from vml_bench.tracker import wandb_tracker as wandb

    tracker = wandb.WandbTracker(arguments.project, arguments.entity, arguments.tag)
    results, mode = arguments.results, wandb.mode()
    what = arguments.dataset, arguments.synthetic, arguments.published
    told, notes = wandb.track(tracker, results, read_published(), *what)
    for note in notes:
        say(f"note: {escape_terminal(note)}", sys.stderr)
    logged = [where for where in told if where]
    print(f"logged {len(logged)} runs ({mode}); {len(told) - len(logged)} were logged already")
    print(f"wandb sync {shlex.quote(str(results / 'wandb'))}/offline-run-*" if mode == "offline" else "\n".join(logged))


def compare(arguments: argparse.Namespace) -> None:
    """Print by one metric, and write by all, which methods of each problem are apart and which are tied."""
    from vml_bench.analysis import comparison
    from vml_bench.store.runs import datasets
    from vml_bench.text import say

    written, failures = [], []
    for dataset in datasets(arguments.results, arguments.dataset):
        try:
            found = comparison.compare(arguments.results, dataset, by=arguments.by, synthetic=arguments.synthetic)
            text = comparison.format_comparison(found, arguments.metric)
        except InputError as error:
            failures.append(error)
            continue
        written += comparison.write(found, arguments.results / dataset)
        say(f"{text}\n")
        for note in found.notes:
            say(f"note: {note}", sys.stderr)
    if not written:
        raise_all(failures)
    for error in failures:
        say(f"note: {error}", sys.stderr)
    print("\n".join(f"wrote {path}" for path in written))


def cite(arguments: argparse.Namespace) -> None:
    """Print BibTeX of the methods, priors, metrics and data sets of the runs on disk, and write it beside them."""
    from vml_bench.analysis.bibliography import write_bibliography

    path = write_bibliography(arguments.results, arguments.dataset, arguments.synthetic)
    print(path.read_text(encoding="utf-8"))
    print(f"wrote {path}", file=sys.stderr)


def report(arguments: argparse.Namespace) -> None:
    """Write the results, or the archives of a fresh clone, as a page that opens from disk."""
    from vml_bench.report import write_report
    from vml_bench.text import say

    index, left_out = write_report(
        *(arguments.results, arguments.dataset, arguments.out, arguments.synthetic),
        tell=lambda line: say(line, sys.stderr),
    )
    for line in left_out:
        say(f"note: {line}", sys.stderr)
    print(f"wrote {index}")


def show(arguments: argparse.Namespace) -> None:
    """Print one run: how it was made, what came of it, and where its pictures lie."""
    from vml_bench.show import show as show_run
    from vml_bench.text import escape_terminal

    for line in show_run(arguments.results, arguments.run, arguments.image).splitlines():
        print(escape_terminal(line))


def protocols(arguments: argparse.Namespace) -> None:
    """Rescore a run from its pictures under other conventions; write and print how far each moves the numbers."""
    from vml_bench.analysis import protocols as report
    from vml_bench.runner.device import choose_device
    from vml_bench.text import say

    frame = report.rescore(arguments.run, choose_device(arguments.device))
    written = report.write(frame, arguments.run)
    say(report.format_report(frame))
    print("\n".join(["", *(f"wrote {path}" for path in written)]))
