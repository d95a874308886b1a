"""Plots: learning curves as PNG, and plots for pages as SVG in light and dark colours."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kaggle_kit.storage.files import atomic_write
from kaggle_kit.training.history import read_history

INK = "#010203"  # placeholder, replaced by the text colour of the page
LIGHT, DARK = "#1f2328", "#e6e9ed"
BLUE, ORANGE, VIOLET = "#2f81d6", "#d9730d", "#9a6ddd"  # visible on white and black
TEAL = "#16958c"
MAX_POINTS = 1000  # of a line
STYLE = {
    "font.size": 11,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.color": INK,
    "legend.frameon": False,
    "svg.hashsalt": "kaggle-kit",  # reproducible ids
    "svg.fonttype": "path",
}
SIZE = (5.4, 3.4)  # inches: the width of a column, readable on a phone


def learning_curves(history: Path, out: Path) -> None:
    """Draw loss and accuracy over the epochs of ``history.csv`` into a PNG.

    The loss axis is logarithmic if the largest loss is more than 20 times the smallest.
    The validation loss can be that large while the batch-norm statistics lag behind.
    """
    table = read_history(history)
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, value in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        _draw_curve(axis, table, value)
        axis.grid(alpha=0.3)
    with atomic_write(out) as part:
        figure.savefig(part, format="png", dpi=120)


def curve_svg(history: Path, value: str) -> bytes:
    """Plot loss or accuracy over the epochs of ``history.csv``, as SVG."""
    table = read_history(history)
    return _svg(lambda axis: _draw_curve(axis, table, value))


def precision_svg(lines: Mapping[str, pd.DataFrame], n_positives: int) -> bytes:
    """Plot precision over rank, as SVG.

    Args:
        lines: by name, tables with the columns rank and precision.
        n_positives: number of landmark images, marked by a vertical line.
    """

    def draw(axis: Axes) -> None:
        for (name, line), colour in zip(lines.items(), (BLUE, ORANGE, VIOLET)):
            index = _sample(len(line))
            rank, precision = line["rank"].iloc[index], line["precision"].iloc[index]
            axis.plot(rank, precision, color=colour, label=name, linewidth=2)
        axis.axvline(n_positives, color=INK, linestyle=":", linewidth=1.2)
        axis.text(
            n_positives,
            0.03,
            " landmark images"
            if n_positives < _longest(lines) / 2
            else "landmark images ",
            ha="left" if n_positives < _longest(lines) / 2 else "right",
        )
        axis.set(
            xlabel="rank, most confident first", ylabel="right so far", ylim=(0, 1.03)
        )
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if len(lines) > 1:
            axis.legend()

    return _svg(draw)


def confidence_svg(groups: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Plot histograms of confidence by kind of image, with common bins, as SVG.

    Args:
        groups: finite confidences by name, three or four arrays; the last one's colour
            is the same for both.
    """
    values = np.concatenate(list(groups.values())) if groups else np.zeros(0)
    bins = np.histogram_bin_edges(values, bins=30).tolist()

    colours = (
        (BLUE, ORANGE, VIOLET) if len(groups) < 4 else (BLUE, ORANGE, TEAL, VIOLET)
    )

    def draw(axis: Axes) -> None:
        for (name, values), colour in zip(groups.items(), colours, strict=True):
            label = f"{name} ({len(values):,})"
            axis.hist(values, bins, histtype="stepfilled", alpha=0.25, color=colour)
            axis.hist(
                values, bins, histtype="step", label=label, linewidth=1.8, color=colour
            )
        axis.set(xlabel="confidence", ylabel="images")
        room = 1 + 0.12 * len(groups)  # for the legend
        axis.set_ylim(top=room * axis.get_ylim()[1])
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend()

    return _svg(draw)


def histogram_svg(
    values: Sequence[float], xlabel: str, ylabel: str = "images", log: bool = False
) -> bytes:
    """Plot a histogram, as SVG; with ``log``, values of a wide range get a log axis."""
    data = np.asarray(values, np.float64)
    bins = np.histogram_bin_edges(data, bins=min(40, max(10, len(data) // 5)))
    if log and len(data) and data.min() > 0 and data.max() > 20 * data.min():
        bins = np.geomspace(data.min(), data.max(), 30)
    else:
        log = False

    def draw(axis: Axes) -> None:
        axis.hist(data, bins.tolist(), color=BLUE)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        if log:
            axis.set_xscale("log")

    return _svg(draw)


def scatter_svg(
    x: Sequence[float], y: Sequence[float], xlabel: str, ylabel: str
) -> bytes:
    """Plot points, at most ``MAX_POINTS`` of them, as SVG."""
    index = _sample(len(x))

    def draw(axis: Axes) -> None:
        points = np.asarray(x)[index], np.asarray(y)[index]
        axis.scatter(*points, s=9, alpha=0.45, color=BLUE, linewidths=0)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)

    return _svg(draw)


def _draw_curve(axis: Axes, table: pd.DataFrame, value: str) -> None:
    pairs = ((value, "training", BLUE), (f"val_{value}", "validation", ORANGE))
    for column, name, colour in pairs:
        if column in table:
            axis.plot(table["epoch"], table[column], colour, marker=".", label=name)
    axis.set(xlabel="epoch", title=value.capitalize())
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    rises = value == "accuracy"
    axis.legend(loc="lower right" if rises else "upper right")
    if rises:
        axis.set_ylim(0, 1)
        return
    losses = table.filter(like="loss").to_numpy(float)
    if losses.max() > 20 * losses.min() > 0:
        axis.set_yscale("log")


def _sample(n: int) -> NDArray[np.intp]:
    """At most ``MAX_POINTS`` evenly spaced indices below n, with the first and the last."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_POINTS)).round().astype(np.intp))


def _longest(lines: Mapping[str, pd.DataFrame]) -> int:
    return max((len(line) for line in lines.values()), default=0)


def _svg(draw: Callable[[Axes], None]) -> bytes:
    """Draw a plot as SVG, transparent, in the text colour of the page."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        metadata = {"Date": None, "Creator": None}  # reproducible
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    style = (
        f"<style>svg{{color:{LIGHT}}}@media(prefers-color-scheme:dark)"
        f"{{svg{{color:{DARK}}}}}</style>"
    )
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    end = text.index(">") + 1
    return (text[:end] + style + text[end:]).encode()
