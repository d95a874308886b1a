"""Train: the network, or everything from a competition to a scored submission."""

import argparse
from pathlib import Path

from kaggle_kit.commands.checks import require
from kaggle_kit.commands.group import Group, Result, argument
from kaggle_kit.commands.options import (
    COMPETITION,
    CONFIG,
    OUT,
    RAY,
    SET,
    path,
    settings,
)

TRAINING = Group("Train")


@TRAINING.command(
    CONFIG,
    path("--shards", "the folder that 'shards' made"),
    path("--run", "the folder that 'train' makes"),
    SET,
    argument("--resume", action="store_true", help="go on with the run that is there"),
    RAY,
    example="""kaggle-kit train --config demo.yaml --shards shards --run runs/demo \\
      --set train.epochs=3""",
)
def train(args: argparse.Namespace) -> Result:
    """Train the network that a config describes."""
    asked = settings(args)
    if asked.train.epochs:
        require(args.shards / "shards.json", "a shards folder", "shards")
    else:
        require(args.shards / "subset.csv", "a subset", "subset")
    from kaggle_kit.report.plots import learning_curves

    if args.ray:
        from kaggle_kit.training import ray_cluster

        result = ray_cluster.train(asked, args.shards, args.run, args.resume, args.ray)
    else:
        from kaggle_kit.training import trainer

        result = trainer.train(asked, args.shards, args.run, args.resume)
    if asked.train.epochs:
        learning_curves(args.run / "history.csv", args.run / "learning_curves.png")
    return result.to_json() | {"run": str(args.run)}


@TRAINING.command(
    CONFIG,
    COMPETITION,
    OUT,
    SET,
    example="kaggle-kit run --config lite0_320.yaml --competition data "
    "--out runs/lite0_320",
)
def run(args: argparse.Namespace) -> Result:
    """Do it all: subset, shards, train, bundle, rehearse, score."""
    asked = settings(args)
    from kaggle_kit.run import run

    return run(asked, args.competition, args.out)


@TRAINING.command(
    CONFIG.but(required=False, default=Path("configs/demo.yaml")),
    OUT.but(required=False, default=Path("demo")),
    SET,
    example="kaggle-kit demo --out demo",
)
def demo(args: argparse.Namespace) -> Result:
    """Draw a small competition and do it all there, in a few minutes."""
    asked = settings(args)
    from kaggle_kit.run import demo

    return demo(asked, args.out)
