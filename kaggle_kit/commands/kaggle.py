"""Kaggle: check the way to it, send it what was made, and see what that is worth."""

import argparse
from pathlib import Path

from kaggle_kit.commands.group import Group, Result, argument
from kaggle_kit.commands.options import (
    BUNDLE,
    DRY_RUN,
    HANDLE,
    KERNEL,
    LEDGER,
    MESSAGE,
    SLUG,
    count,
    path,
)

KAGGLE = Group("Kaggle")


@KAGGLE.command(
    SLUG.but(required=False, default="landmark-recognition-2021"),
    example="kaggle-kit doctor",
)
def doctor(args: argparse.Namespace) -> Result:
    """Check client, credentials, rules, quota, disk and versions."""
    from kaggle_kit.kaggle.doctor import doctor

    return doctor(args.slug)


@KAGGLE.command(
    BUNDLE,
    argument("--notes", metavar="TEXT", help="what changed"),
    DRY_RUN,
    example="kaggle-kit publish --bundle bundle --notes 'more landmarks' --dry-run",
)
def publish(args: argparse.Namespace) -> Result:
    """Put a bundle on Kaggle as a dataset, or as its new version."""
    from kaggle_kit.kaggle.dataset import publish

    return publish(args.bundle, args.notes, args.dry_run)


@KAGGLE.command(
    KERNEL,
    HANDLE,
    argument("--dataset", metavar="OWNER/SLUG", help="the published bundle"),
    DRY_RUN,
    example="""kaggle-kit push --kernel kernels/inference --handle me/landmark-inference \\
      --dataset me/landmark-kit""",
)
def push(args: argparse.Namespace) -> Result:
    """Push a kernel, wait until it has run, and fetch and check its output."""
    from kaggle_kit.kaggle.kernel import push

    return push(args.kernel, args.handle, args.dataset, args.dry_run)


@KAGGLE.command(
    SLUG,
    argument("--kernel", metavar="OWNER/SLUG", help="the kernel, on Kaggle"),
    argument("--version", type=count, metavar="N", help="the kernel's version"),
    path("--file", "a submission.csv", required=False),
    MESSAGE,
    LEDGER,
    DRY_RUN,
    example="""kaggle-kit submit --slug landmark-recognition-2021 --message 'first try' \\
      --kernel me/landmark-inference --version 1""",
)
def submit(args: argparse.Namespace) -> Result:
    """Submit a kernel's version or a file, once, and wait for the score."""
    from kaggle_kit.kaggle.submit import submit

    return submit(
        args.slug,
        args.message,
        args.kernel,
        args.version,
        args.file,
        args.dry_run,
        ledger=_ledger(args),
    )


@KAGGLE.command(
    BUNDLE,
    KERNEL,
    SLUG,
    MESSAGE,
    LEDGER,
    DRY_RUN,
    example="""kaggle-kit ship --bundle bundle --kernel kernels/inference \\
      --slug landmark-recognition-2021 --message 'first try'""",
)
def ship(args: argparse.Namespace) -> Result:
    """Publish, push, wait, validate, submit; go on where that stopped."""
    from kaggle_kit.kaggle.ship import ship

    return ship(
        args.bundle,
        args.kernel,
        args.slug,
        args.message,
        args.dry_run,
        ledger=_ledger(args),
    )


@KAGGLE.command(
    SLUG,
    LEDGER,
    example="kaggle-kit submissions --slug landmark-recognition-2021",
)
def submissions(args: argparse.Namespace) -> Result:
    """Refresh the ledger: local GAP against the leaderboard's."""
    from kaggle_kit.kaggle.submit import submissions

    return {"submissions": submissions(args.slug, ledger=_ledger(args))}


def _ledger(args: argparse.Namespace) -> Path:
    """The ledger asked for, or the usual one."""
    from kaggle_kit.kaggle import ledger

    return args.ledger or ledger.LEDGER
