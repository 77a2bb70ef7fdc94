"""Quality against seconds: the best setting of every method, and the settings it was chosen from, as one figure.

Quality is that of a tuning table (`make tune`): means over the same images and tasks for every setting. Seconds are the
network passes of a setting times what a pass costs by `floor`, one machine and one batch for all, where the runs behind
the table shared theirs with other work.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.performance.record import Benchmark, Table, begin, options, write
from vml_bench.cards import card
from vml_bench.errors import InputError
from vml_bench.figures.labels import place
from vml_bench.files import replacing

TUNING = Path("results/tuning/photos64_tune/tuning.csv")
PANELS = {"lpips_alex": ("LPIPS (AlexNet), lower is better", 1), "psnr": ("PSNR in dB, higher is better", -1)}
"""Column: its label, and the sign that makes less of it better."""
REACH = 3.0
"""Points: half a marker."""


def pass_cost(folder: Path, network: str, batch: str) -> tuple[float, float]:
    """Seconds an image of a forward pass and of one with the Jacobian product, as `floor` measured them.

    Raises:
        InputError: `floor` has not measured them.
    """
    file = folder / "floor.json"
    remedy = f"python -m benchmarks.performance floor --out {folder}"
    if not file.is_file():
        raise InputError(f"{file} is missing, so that a pass has no cost", remedy)
    rows = [row for table in json.loads(file.read_text())["tables"] for row in table["rows"]]
    for row in rows:
        if row.get("network") == network and row.get("batch") == batch:
            return row["forward ms/image"]["median"] / 1e3, row["with product ms/image"]["median"] / 1e3
    raise InputError(f"{file} has no '{network}' at batch {batch}", f"choose another --network or --batch, or {remedy}")


def with_seconds(settings: pd.DataFrame, forward: float, with_product: float) -> pd.DataFrame:
    """Settings that use the network, `seconds` from their passes; a product beyond one a pass costs a backward."""
    learned = settings[settings["nfe"] > 0].copy()
    linearised = learned[["nfe", "vjp"]].min(axis=1)
    further = (learned["vjp"] - linearised) * (with_product - forward)
    learned["seconds"] = (learned["nfe"] - linearised) * forward + linearised * with_product + further
    return learned


def best(settings: pd.DataFrame, column: str, sign: int) -> pd.DataFrame:
    """The best setting of each method by a column."""
    return settings.loc[(sign * settings[column]).groupby(settings["method"]).idxmin()]


def front(points: pd.DataFrame, column: str, sign: int) -> pd.DataFrame:
    """The settings that no other beats at no more seconds, cheapest first."""
    ordered = points.assign(loss=sign * points[column]).sort_values(["seconds", "loss"])
    return ordered[ordered["loss"] < ordered["loss"].cummin().shift(fill_value=float("inf"))]


def draw(settings: pd.DataFrame, path: Path) -> list[Path]:
    """Write the figure as PNG and PDF; returns their paths."""
    figure = Figure(figsize=(7.2, 3.4))
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, gridspec_kw={"left": 0.08, "right": 0.99, "bottom": 0.13, "top": 0.97})
    for axes, (column, (label, sign)) in zip(panels, PANELS.items(), strict=True):
        chosen = best(settings, column, sign)
        for method, group in settings.groupby("method"):
            look = card(method)
            axes.plot(group["seconds"], group[column], look.marker, color=look.colour, alpha=0.25, markersize=3)
        edge = front(settings, column, sign)
        axes.step(edge["seconds"], edge[column], where="post", color="#6b6b6b", linewidth=0.7, zorder=0)
        low, high = chosen[column].min(), chosen[column].max()
        margin = 0.12 * (high - low)  # settings far worse than every method's best are left outside
        axes.set(xscale="log", ylim=(low - margin, high + margin))
        axes.set_xlim(settings["seconds"].min() / 1.5, settings["seconds"].max() * 1.5)
        axes.set_xlabel("seconds an image", fontsize=7)
        axes.set_ylabel(label, fontsize=7)
        axes.tick_params(labelsize=6)
        if sign > 0:
            axes.invert_yaxis()
        label_points(axes, chosen, column)
    written = []
    for suffix in (".png", ".pdf"):
        written.append(path.with_suffix(suffix))
        with replacing(written[-1]) as partial:
            figure.savefig(partial, dpi=300, metadata={"CreationDate": None} if suffix == ".pdf" else None)
    return written


def label_points(axes: Axes, points: pd.DataFrame, column: str) -> None:
    """Draw the chosen settings with their methods' names beside them, none over another."""
    figure, renderer = axes.figure, axes.figure.canvas.get_renderer()
    scale = 72 / figure.dpi
    places = axes.transData.transform(points[["seconds", column]].to_numpy()) * scale
    texts = []
    for row in points.itertuples():
        look = card(row.method)
        face = "white" if look.hollow else look.colour
        axes.plot(row.seconds, getattr(row, column), look.marker, color=look.colour, markersize=5, markerfacecolor=face)
        texts.append(figure.text(0, 0, look.title, fontsize=6, color=look.ink))
    extents = np.array([text.get_window_extent(renderer).extents for text in texts]) * scale
    frame = axes.get_window_extent(renderer).extents * scale + [1, 1, -1, -1]
    anchors, sizes = [place_[None] for place_ in places], extents[:, 2:] - extents[:, :2]
    boxes, _ = place(anchors, sizes, places, np.empty((0, 4)), frame, REACH)
    for text, box, extent, point in zip(texts, boxes, extents, places, strict=True):
        text.set_transform(figure.dpi_scale_trans)
        text.set_position((box[:2] - extent[:2]) / 72)
        nearest = np.clip(point, box[:2], box[2:])
        if np.hypot(*(nearest - point)) > 2 * REACH:
            way = np.array([point, nearest]) / 72
            axes.plot(*way.T, color=text.get_color(), lw=0.4, transform=figure.dpi_scale_trans, clip_on=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = options(__doc__)
    parser.add_argument("--tuning", type=Path, default=TUNING, help="tuning.csv; default: %(default)s")
    parser.add_argument("--network", default="float32", help="a row of floor's tables; default: %(default)s")
    parser.add_argument("--batch", help="of that row; default: 16, or 2 in a quick run")
    arguments = parser.parse_args(argv)
    device = begin(arguments)
    batch = arguments.batch or ("2" if arguments.quick else "16")
    forward, with_product = pass_cost(arguments.out, arguments.network, batch)
    settings = with_seconds(pd.read_csv(arguments.tuning), forward, with_product)
    draw(settings, arguments.out / "quality")
    edge = set(front(settings, "lpips_alex", 1).index)
    chosen = best(settings, "lpips_alex", 1)
    chosen = chosen.sort_values("method", key=lambda names: names.map(lambda name: card(name).place))
    rows = [
        {
            "method": row.method,
            "setting": row.setting,
            "LPIPS": float(row.lpips_alex),
            "PSNR": float(row.psnr),
            "NFE": int(row.nfe),
            "VJP": int(row.vjp),
            "s/image": float(row.seconds),
            "on the front": "yes" if row.Index in edge else "",
        }
        for row in chosen.itertuples()
    ]
    table = Table("The best setting of every method by LPIPS", ["method", "setting"], rows)
    taken = {"network": arguments.network, "batch": batch, "forward s/image": f"{forward:.3g}"}
    notes = ("![quality against seconds](quality.png)", " ".join(__doc__.split("\n\n")[1].split()))
    taken |= {"with product s/image": f"{with_product:.3g}", "quality from": str(arguments.tuning)}
    write(Benchmark("quality", "Quality against seconds", [table], taken, notes), device, arguments)


if __name__ == "__main__":
    main()
