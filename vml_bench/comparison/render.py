"""A comparison as csv, Markdown and plain text; names from files are escaped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from vml_bench.comparison.cells import EQUAL
from vml_bench.comparison.compare import ALPHA, Comparison
from vml_bench.errors import InputError
from vml_bench.files import replacing
from vml_bench.leaderboard.columns import BY_NAME
from vml_bench.leaderboard.render import ARROWS, MISSING, escape_markdown, escape_terminal, number

HEADINGS = ["rank", "method", "n", "mean", "behind the best", "p (Holm)", "alike", "best in", "rank when redrawn"]
DRAWN = {
    "image": "single images",
    "photograph": "photographs, all crops of one together (they are not independent)",
}


def explanation(comparison: Comparison) -> list[str]:
    """What the columns mean and how they came about."""
    return [
        f"Paired differences over the images that both methods restored; drawn anew were {DRAWN[comparison.unit]}. "
        "Intervals (95 %) and p-values are a symmetric studentised bootstrap's, seeded.",
        f"p is corrected by Holm over all pairs of a task and metric; two methods are apart where it is below {ALPHA}.",
        "rank: 1 + the number of methods significantly better, = where it is shared. Methods that share a letter under "
        "`alike` are not apart. † has diverged or unfinished images and is not ranked.",
        "best in: share of the resamples in which the method's mean is best; rank when redrawn: expected rank and its "
        "95 % bounds. Both describe how steady the order of means is and are no test.",
        f"A picture equal to its original has an infinite PSNR; here it counts as {EQUAL:g} dB.",
    ]


def tables(comparison: Comparison, metric: str) -> Iterator[tuple[str, float, list[list[str]]]]:
    """For each task and noise level its name, σ_y, and rows of text under `HEADINGS`, best mean first."""
    of_metric = comparison.ranks[comparison.ranks["metric"] == metric]
    pairs = comparison.pairs[comparison.pairs["metric"] == metric]
    for (task, noise_std), ranks in of_metric.groupby(["task", "noise_std"], sort=False):
        among = pairs[(pairs["task"] == task) & (pairs["noise_std"] == noise_std)]
        ranks = ranks.reset_index(drop=True)
        several, shared = (ranks[name].duplicated(keep=False) for name in ("method", "rank"))
        rows = []
        for i, row in ranks.iterrows():
            name = f"{row['method']} ({row['run']})" if several[i] else str(row["method"])
            rows.append(_cells(row, name, shared[i], _behind(row, ranks.loc[0], among, metric), metric))
        yield str(task), float(noise_std), rows


def _cells(row: pd.Series, name: str, shared: bool, behind: tuple[str, str], metric: str) -> list[str]:
    about = [name, str(row["n"]), number(row["mean"], BY_NAME[metric].digits), *behind]
    if pd.isna(row["rank"]):
        return ["†", *about, MISSING, MISSING, MISSING]
    redrawn = f"{row['expected_rank']:.1f} [{row['rank_low']:.0f}, {row['rank_high']:.0f}]"
    return [f"{row['rank']:.0f}" + "=" * bool(shared), *about, row["letters"], f"{100 * row['p_best']:.0f} %", redrawn]


def _behind(row: pd.Series, best: pd.Series, pairs: pd.DataFrame, metric: str) -> tuple[str, str]:
    """This run's mean less the best one's, with its bounds, and Holm's p; nothing for the best itself."""
    digits = BY_NAME[metric].digits
    for sign, this, other in ((1, "a", "b"), (-1, "b", "a")):
        found = pairs[(pairs[f"method_{this}"] == row["method"]) & (pairs[f"run_{this}"] == row["run"])]
        found = found[(found[f"method_{other}"] == best["method"]) & (found[f"run_{other}"] == best["run"])]
        for _, pair in found.iterrows():
            low, high = sorted((sign * pair["low"], sign * pair["high"]))
            bounds = f" [{number(low, digits)}, {number(high, digits)}]" if pd.notna(low) else ""
            p = MISSING if pd.isna(pair["p_holm"]) else f"{pair['p_holm']:.3f}" if pair["p_holm"] >= 0.001 else "<0.001"
            return f"{number(sign * pair['difference'], digits)}{bounds}", p
    return "", ""


def overall_rows(comparison: Comparison, metric: str) -> list[list[str]]:
    """Rows of method, mean rank with bounds, cells won, share of resamples with the lowest mean rank."""
    rows = comparison.overall[comparison.overall["metric"] == metric] if len(comparison.overall) else []
    return [
        [
            str(row["method"]) + "†" * bool(row["diverged_cells"]),
            f"{row['mean_rank']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            f"{row['wins']} of {row['cells']}",
            f"{100 * row['p_best']:.0f} %",
        ]
        for _, row in (rows.iterrows() if len(rows) else ())
    ]


OVERALL_HEADINGS = ["method", "mean rank", "best mean", "lowest in"]


def format_comparison(comparison: Comparison, metric: str) -> str:
    """The comparison by one metric for a terminal.

    Raises:
        InputError: the runs have no such score.
    """
    present = list(dict.fromkeys(comparison.ranks["metric"]))
    if metric not in present:
        raise InputError(f"'{comparison.dataset}' has no {metric}", f"choose among {', '.join(present)}")
    title = BY_NAME[metric].title
    parts = []
    for task, noise_std, rows in tables(comparison, metric):
        heading = f"{comparison.dataset} · {task} · σ_y = {noise_std:g} · {title}"
        parts.append("\n".join([escape_terminal(heading), *_aligned(HEADINGS, rows, left=1)]))
    if rows := overall_rows(comparison, metric):
        heading = f"{comparison.dataset} · mean rank over tasks · {title}"
        parts.append("\n".join([escape_terminal(heading), *_aligned(OVERALL_HEADINGS, rows, left=0)]))
    return "\n\n".join([*parts, "\n".join(explanation(comparison))])


def _aligned(headings: list[str], rows: list[list[str]], left: int) -> Iterator[str]:
    table = [headings, *([escape_terminal(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for i, row in enumerate(table):
        cells = (c.ljust(w) if j == left else c.rjust(w) for j, (c, w) in enumerate(zip(row, widths, strict=True)))
        yield "  ".join(cells).rstrip()
        if i == 0:
            yield "─" * (sum(widths) + 2 * (len(widths) - 1))


def to_markdown(comparison: Comparison) -> str:
    """The whole comparison, a table a task and metric."""
    lines = [f"# Comparison: {escape_markdown(comparison.dataset)}", ""]
    lines += [f"- {line}" for line in explanation(comparison)]
    lines += [f"- Note: {escape_markdown(note)}" for note in comparison.notes]
    metrics = list(dict.fromkeys(comparison.ranks["metric"]))
    for metric in metrics:
        if rows := overall_rows(comparison, metric):
            lines += [
                "",
                f"## Mean rank over tasks by {_title(metric)}",
                "",
                *_markdown(OVERALL_HEADINGS, rows, left=0),
            ]
            lines += ["", "Bounds: other images, the same tasks. †: took the last place in tasks where it diverged."]
    for metric in metrics:
        for task, noise_std, rows in tables(comparison, metric):
            lines += ["", f"## {escape_markdown(task)}, σ_y = {noise_std:g}: {_title(metric)}", ""]
            lines += _markdown(HEADINGS, rows, left=1)
    return "\n".join(lines) + "\n"


def _title(metric: str) -> str:
    return f"{BY_NAME[metric].title} {ARROWS[BY_NAME[metric].better]}"


def _markdown(headings: list[str], rows: list[list[str]], left: int) -> Iterator[str]:
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "|".join(" --- " if j == left else " ---: " for j in range(len(headings))) + "|"
    for row in rows:
        yield "| " + " | ".join(escape_markdown(cell) if j == left else cell for j, cell in enumerate(row)) + " |"


def write(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Write comparison.csv (pairs), ranks.csv, mean_ranks.csv and comparison.md, each whole or not at all.

    Args:
        folder: where they go; made if absent.

    Returns:
        The four paths.
    """
    contents = {
        "comparison.csv": comparison.pairs.to_csv(index=False, lineterminator="\n"),
        "ranks.csv": comparison.ranks.to_csv(index=False, lineterminator="\n"),
        "mean_ranks.csv": comparison.overall.to_csv(index=False, lineterminator="\n"),
        "comparison.md": to_markdown(comparison),
    }
    for name, content in contents.items():
        with replacing(Path(folder, name)) as partial:
            partial.write_text(content, encoding="utf-8")
    return [Path(folder, name) for name in contents]
