"""Commands that talk to Kaggle: check the account, publish, push, submit."""

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
    argument("--notes", metavar="TEXT", help="what changed in this version"),
    DRY_RUN,
    example="kaggle-kit publish --bundle bundle --notes 'more landmarks' --dry-run",
)
def publish(args: argparse.Namespace) -> Result:
    """Publish a bundle as a Kaggle dataset, or as its new version."""
    from kaggle_kit.kaggle.dataset import plan_publish, publish

    function = plan_publish if args.dry_run else publish
    return function(args.bundle, args.notes)


@KAGGLE.command(
    KERNEL,
    HANDLE,
    argument("--dataset", metavar="OWNER/SLUG", help="the published bundle"),
    DRY_RUN,
    example="""kaggle-kit push --kernel kernels/inference --handle me/landmark-inference \\
      --dataset me/landmark-kit""",
)
def push(args: argparse.Namespace) -> Result:
    """Push a kernel, wait until it has run, and download and check its output."""
    from kaggle_kit.kaggle.kernel import plan_push, push

    function = plan_push if args.dry_run else push
    return function(args.kernel, args.handle, args.dataset)


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
    """Submit a kernel version or a file, once, and wait for the score."""
    from kaggle_kit.kaggle.submit import plan_submit, submit

    function = plan_submit if args.dry_run else submit
    return function(
        args.slug,
        args.message,
        args.kernel,
        args.version,
        args.file,
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
    """Publish, push, wait, validate, submit; rerun it to resume."""
    from kaggle_kit.kaggle.ship import plan_ship, ship

    function = plan_ship if args.dry_run else ship
    return function(
        args.bundle, args.kernel, args.slug, args.message, ledger=_ledger(args)
    )


@KAGGLE.command(
    SLUG,
    LEDGER,
    example="kaggle-kit submissions --slug landmark-recognition-2021",
)
def submissions(args: argparse.Namespace) -> Result:
    """Update the scores in the ledger, and list them beside the local GAPs."""
    from kaggle_kit.kaggle.submissions import submissions

    return {"submissions": submissions(args.slug, ledger=_ledger(args))}


def _ledger(args: argparse.Namespace) -> Path:
    """The ledger of ``--ledger``, or the default one."""
    from kaggle_kit.kaggle import ledger

    return args.ledger or ledger.LEDGER
