"""Make data: from Kaggle's tables and photos to shards."""

import argparse
from typing import Any

from kaggle_kit.commands.checks import require, require_one
from kaggle_kit.commands.group import Group, Result, argument
from kaggle_kit.commands.options import (
    COMPETITION,
    CONFIG,
    OUT,
    RAY,
    SET,
    SLUG,
    SUBSET,
    md5,
    path,
    settings,
    size,
)
from kaggle_kit.errors import KitError

DATA = Group("Make data")


@DATA.command(
    SLUG.but(required=False),
    argument("--tars", metavar="0-9", help="tars of the public data set, of 0 to 499"),
    OUT,
    argument("--tables", action="store_true", help="the tables alone, no photos"),
    SUBSET.but(required=False),
    path("--ids", "only the photos that a file names", required=False),
    argument(
        "--accept-md5",
        action="extend",
        nargs="+",
        type=md5,
        default=[],
        metavar="MD5",
        help="checksums to take although they are not the expected ones",
    ),
    argument("--disk-gb", type=size, help="what the photos and a tar may take, in GB"),
    argument("--url", help="a mirror of the public data set"),
    example="kaggle-kit download --slug landmark-recognition-2021 --tables --out data",
)
def download(args: argparse.Namespace) -> Result:
    """Fetch the competition, or only the photos one needs, from Kaggle or as tars."""
    chosen = [n for n in ("tables", "subset", "ids") if getattr(args, n)]
    require_one("--slug or --tars", [n for n in ("slug", "tars") if getattr(args, n)])
    if len(chosen) > 1:
        require_one("--tables, --subset or --ids", chosen)
    of_tars = [n for n in ("accept_md5", "disk_gb", "url") if getattr(args, n)]
    if args.slug and of_tars:
        option = f"--{of_tars[0].replace('_', '-')}"
        raise KitError(f"{option}: expected it with --tars, got it with --slug")
    options: dict[str, Any] = {
        "only_tables": args.tables,
        "subset": args.subset,
        "ids": args.ids,
    }
    if args.slug:
        from kaggle_kit.download.competition import download

        return download(args.slug, args.out, **options)
    from kaggle_kit.download.public_tars import URL, parse_numbers, tars

    return tars(
        parse_numbers(args.tars),
        args.out,
        url=args.url or URL,
        accept_md5=args.accept_md5,
        disk_gb=args.disk_gb,
        **options,
    )


@DATA.command(
    COMPETITION,
    OUT,
    argument(
        "--report",
        action="store_true",
        help="with a page to look at, beside it: sizes, duplicates, contact sheets",
    ),
    example="kaggle-kit index --competition demo/competition --out index.csv --report",
)
def index(args: argparse.Namespace) -> Result:
    """List the photos that decode, with their landmark and size."""
    from kaggle_kit.data.index import index

    counts = index(args.competition, args.out).as_json()
    if args.report:
        from kaggle_kit.report.dataset_page import write_dataset_page

        counts |= write_dataset_page(args.competition, args.out).as_json()
    return counts


@DATA.command(
    CONFIG,
    COMPETITION,
    OUT,
    SET,
    example="kaggle-kit subset --config demo.yaml --competition demo/competition "
    "--out subset",
)
def subset(args: argparse.Namespace) -> Result:
    """Choose landmarks and photos, and split them."""
    asked = settings(args)
    from kaggle_kit.data.subset import subset

    counts = subset(asked.subset, asked.seed, args.competition, args.out)
    return counts.as_json()


@DATA.command(
    CONFIG,
    COMPETITION,
    SUBSET,
    OUT,
    SET,
    RAY,
    example="""kaggle-kit shards --config demo.yaml --competition demo/competition \\
      --subset subset --out shards""",
)
def shards(args: argparse.Namespace) -> Result:
    """Write a subset's photos, resized, into TFRecord shards."""
    asked = settings(args)
    require(args.subset / "subset.csv", "a subset", "subset")
    if args.ray:
        from kaggle_kit.training import ray_cluster

        made = ray_cluster.shards(
            asked, args.competition, args.subset, args.out, args.ray
        )
    else:
        from kaggle_kit.data.shards import shards

        made = shards(asked.data, args.competition, args.subset, args.out)
    counts = made.counts.as_json()
    return counts | {"broken": list(made.broken), "shards": len(made.shards)}
