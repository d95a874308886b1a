"""Plots of a run."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import MaxNLocator

from kaggle_kit.paths import written


def learning_curves(history: Path, out: Path) -> None:
    """Draw loss and accuracy over the epochs of ``history.csv`` into a PNG.

    The loss axis is logarithmic where validation runs away from training, as it does
    when batch norm's statistics lag behind.
    """
    table = pd.read_csv(history)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, value in zip(axes, ("loss", "accuracy"), strict=True):
        for column, name in ((value, "training"), (f"val_{value}", "validation")):
            if column in table:
                axis.plot(table["epoch"], table[column], marker=".", label=name)
        axis.set(xlabel="epoch", title=value.capitalize())
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend()
    losses = table.filter(like="loss").to_numpy(float)
    if losses.max() > 20 * losses.min():
        axes[0].set_yscale("log")
    axes[1].set_ylim(0, 1)
    with written(out) as part:
        figure.savefig(part, format="png", dpi=120)
    plt.close(figure)
