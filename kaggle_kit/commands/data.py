"""Commands that make data: from Kaggle's tables and images to shards."""

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
    load_settings,
    md5,
    path,
    positive_number,
)
from kaggle_kit.errors import KitError
from kaggle_kit.storage.json_files import to_json

DATA = Group("Make data")


@DATA.command(
    SLUG.but(required=False),
    argument("--tars", metavar="0-9", help="tars of the public data set, of 0 to 499"),
    OUT,
    argument("--tables", action="store_true", help="only the tables, no images"),
    SUBSET.but(required=False),
    path("--ids", "a file with the ids of the images to download", required=False),
    argument(
        "--accept-md5",
        action="extend",
        nargs="+",
        type=md5,
        default=[],
        metavar="MD5",
        help="checksums to accept in addition to the published ones",
    ),
    argument(
        "--disk-gb",
        type=positive_number,
        help="limit of disk space for the images and a tar, in GB",
    ),
    argument("--url", help="a mirror of the public data set"),
    example="kaggle-kit download --slug landmark-recognition-2021 --tables --out data",
)
def download(args: argparse.Namespace) -> Result:
    """Download a competition, or some of its images, from Kaggle or as tars."""
    contents = [n for n in ("tables", "subset", "ids") if getattr(args, n)]
    require_one("--slug or --tars", [n for n in ("slug", "tars") if getattr(args, n)])
    if len(contents) > 1:
        require_one("--tables, --subset or --ids", contents)
    tar_options = [n for n in ("accept_md5", "disk_gb", "url") if getattr(args, n)]
    if args.slug and tar_options:
        option = f"--{tar_options[0].replace('_', '-')}"
        raise KitError(f"{option}: expected it with --tars, got it with --slug")
    selection: dict[str, Any] = {
        "only_tables": args.tables,
        "subset": args.subset,
        "ids": args.ids,
    }
    if args.slug:
        from kaggle_kit.download.competition import download

        return download(args.slug, args.out, **selection)
    from kaggle_kit.download.public_tars import URL, download_tars, parse_numbers

    return download_tars(
        parse_numbers(args.tars),
        args.out,
        url=args.url or URL,
        accept_md5=args.accept_md5,
        disk_gb=args.disk_gb,
        **selection,
    )


@DATA.command(
    COMPETITION,
    OUT,
    argument(
        "--report",
        action="store_true",
        help="also write a page: sizes, near-duplicates, contact sheets",
    ),
    example="kaggle-kit index --competition demo/competition --out index.csv --report",
)
def index(args: argparse.Namespace) -> Result:
    """List the images that decode, with their landmark, size and hash."""
    from kaggle_kit.data.index import index

    result = to_json(index(args.competition, args.out))
    if args.report:
        from kaggle_kit.report.dataset_page import write_dataset_page

        result |= to_json(write_dataset_page(args.competition, args.out))
    return result


@DATA.command(
    CONFIG,
    COMPETITION,
    OUT,
    SET,
    example="kaggle-kit subset --config demo.yaml --competition demo/competition "
    "--out subset",
)
def subset(args: argparse.Namespace) -> Result:
    """Choose landmarks and images, and split the images."""
    settings = load_settings(args)
    from kaggle_kit.data.subset import subset

    return subset(settings.subset, settings.seed, args.competition, args.out)


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
    """Resize a subset's images, and write them into TFRecord shards."""
    settings = load_settings(args)
    require(args.subset / "subset.csv", "a subset", "subset")
    if args.ray:
        from kaggle_kit.training import ray_cluster

        manifest = ray_cluster.shards(
            settings, args.competition, args.subset, args.out, args.ray
        )
    else:
        from kaggle_kit.data.shards import shards

        manifest = shards(settings.data, args.competition, args.subset, args.out)
    return to_json(manifest.counts) | {
        "broken": list(manifest.broken),
        "shards": len(manifest.shards),
    }
