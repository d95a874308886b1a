"""Report sections on the run: training, config, hardware and time."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kaggle_kit.data.non_landmarks import OFF, PoolCounts
from kaggle_kit.report import plots
from kaggle_kit.report.html import Html, details, plot, section, table, tag
from kaggle_kit.report.settings import differences, parent
from kaggle_kit.report.subject import Subject
from kaggle_kit.training.history import read_history


def training_section(own: Subject) -> Html:
    """Learning curves: loss and accuracy over the epochs."""
    history = pd.DataFrame() if own.history is None else read_history(own.history)
    if own.history is None or history.empty:
        return section("Training", tag("p", "No epochs: there is no history.csv."))
    last = history.iloc[-1]
    figures = []
    for value in ("loss", "accuracy"):
        if value in history:
            ends = [
                f"{n} {last[n]:.3g}" for n in (value, f"val_{value}") if n in history
            ]
            alt = f"{value.capitalize()} over {len(history)} epochs; last: {', '.join(ends)}"
            splits = "training and validation" if len(ends) > 1 else "training"
            caption = f"{value.capitalize()} of {splits}."
            figures.append(plot(plots.curve_svg(own.history, value), alt, caption))
    return section("Training", tag("div", *figures, class_="plots"))


def config_section(own: Subject) -> Html:
    """The config: the differences from its parent, and all settings."""
    if own.settings is None:
        return section("Config", tag("p", "There is no config.json."))
    name, base = parent(own.settings)
    return section(
        "Config",
        tag("p", _describe_pools(own.pools)),
        table(
            f"{own.name}: its difference from {name}",
            ("Setting", "Here", "There"),
            [
                (d.setting, str(d.value), str(d.other))
                for d in differences(own.settings, base)
            ],
        ),
        details("Every setting", tag("pre", own.settings.model_dump_json(indent=2))),
    )


def _describe_pools(pools: PoolCounts | None) -> str:
    """How many non-landmarks there were, and where they come from."""
    if pools is None:
        return "Non-landmark images: their source was not recorded."
    if not pools.penalty + pools.validation + pools.test:
        return f"{OFF[:1].upper()}{OFF[1:]}."
    return (
        f"Non-landmark images: {pools.penalty:,} for the penalties, {pools.validation:,} "
        f"for tuning and {pools.test:,} for test, {pools.origin}; {pools.left_out:,} were "
        f"left out: near-duplicates, test images or broken ones."
    )


def time_section(own: Subject, rehearsal: Mapping[str, Any] | None = None) -> Html:
    """Hardware, versions, and the time of each stage.

    Args:
        own: the run.
        rehearsal: the result of a rehearsal; None: that in ``own.result``.
    """
    rows: list[tuple[str, object]] = []
    for environment in own.environments:
        packages = environment.get("packages") or {}
        rows += [
            ("Machine", environment.get("machine")),
            ("Cores", environment.get("cores")),
            ("Python", environment.get("python")),
            ("kaggle_kit", environment.get("kaggle_kit")),
            ("Commit", str(environment.get("commit") or "")[:12] or None),
            *packages.items(),
        ]
    times = [(k, f"{v:,.1f} s") for k, v in own.result.get("seconds", {}).items()]
    values = rehearsal or own.result.get("rehearsal") or {}
    for name, label, unit in (
        ("seconds", "Kernel, in the rehearsal", "s"),
        ("peak_memory_gb", "Peak memory of the kernel", "GB"),
    ):
        if name in values:
            times.append((label, f"{values[name]:,} {unit}"))
    if own.history is not None:
        history = read_history(own.history)
        if "seconds" in history:
            seconds = history["seconds"]
            times.append((f"{len(seconds)} epochs", f"{seconds.sum():,.1f} s"))
            times.append(("Median epoch", f"{seconds.median():,.1f} s"))
    return section(
        "Hardware and time",
        table("Time", ("Stage", "Duration"), times),
        table(
            "Environment",
            ("Name", "Value"),
            [(k, v) for k, v in rows if v is not None],
        ),
    )
