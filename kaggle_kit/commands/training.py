"""Commands that train: a network, or everything up to a scored submission."""

import argparse
from pathlib import Path

from kaggle_kit.commands.checks import require
from kaggle_kit.commands.group import Group, Output, Result, argument
from kaggle_kit.commands.options import (
    COMPETITION,
    CONFIG,
    NON_LANDMARKS,
    OUT_PLACE,
    RAY,
    SET,
    load_settings,
    path,
)
from kaggle_kit.storage.json_files import to_json

TRAINING = Group("Train")


@TRAINING.command(
    CONFIG,
    path("--shards", "a folder made by 'shards'"),
    path("--run", "the folder of the run, which 'train' makes", Output("place")),
    SET,
    argument("--resume", action="store_true", help="resume the run in --run"),
    RAY,
    example="""kaggle-kit train --config demo.yaml --shards shards --run runs/demo \\
      --set train.epochs=3""",
)
def train(args: argparse.Namespace) -> Result:
    """Train the network of a config."""
    settings = load_settings(args)
    if settings.train.epochs:
        require(args.shards / "shards.json", "a shards folder", "shards")
    else:
        require(args.shards / "subset.csv", "a subset", "subset")
    from kaggle_kit.report.plots import learning_curves

    if args.ray:
        from kaggle_kit.training import ray_cluster

        result = ray_cluster.train(
            settings, args.shards, args.run, args.resume, args.ray
        )
    else:
        from kaggle_kit.training import trainer

        result = trainer.train(settings, args.shards, args.run, args.resume)
    if settings.train.epochs:
        learning_curves(args.run / "history.csv", args.run / "learning_curves.png")
    return to_json(result) | {"run": str(args.run)}


@TRAINING.command(
    CONFIG,
    COMPETITION,
    NON_LANDMARKS,
    OUT_PLACE,
    SET,
    example="kaggle-kit run --config lite0_320.yaml --competition data "
    "--out runs/lite0_320",
)
def run(args: argparse.Namespace) -> Result:
    """Run all stages: subset, shards, train, bundle, rehearse, score."""
    settings = load_settings(args)
    from kaggle_kit.run import run

    return run(settings, args.competition, args.out, args.non_landmarks)


@TRAINING.command(
    CONFIG.but(required=False, default=Path("configs/demo.yaml")),
    OUT_PLACE.but(required=False, default=Path("demo")),
    SET,
    example="kaggle-kit demo --out demo",
)
def demo(args: argparse.Namespace) -> Result:
    """Draw a small competition and run all stages on it, in a few minutes."""
    settings = load_settings(args)
    from kaggle_kit.run import demo

    return demo(settings, args.out)
