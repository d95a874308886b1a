"""Commands that make data: from Kaggle's tables and images to shards."""

import argparse
from dataclasses import replace
from typing import Any

from kaggle_kit.commands.checks import require, require_one
from kaggle_kit.commands.group import Group, Output, Result, argument
from kaggle_kit.commands.options import (
    COMPETITION,
    CONFIG,
    NON_LANDMARKS,
    OUT_FILE,
    OUT_FOLDER,
    OUT_PLACE,
    RAY,
    SET,
    SLUG,
    SUBSET,
    count,
    load_settings,
    md5,
    path,
    positive_number,
)
from kaggle_kit.errors import KitError
from kaggle_kit.storage.json_files import to_json

DATA = Group("Make data")
INDEX = Output(
    "file", ((".broken.csv", "id,reason\n"), (".report.html", "<title>Data set: "))
)


@DATA.command(
    SLUG.but(required=False),
    argument(
        "--tars",
        metavar="0-9",
        help="tars of the public data set: of 0 to 499, 0 to 99 or 0 to 19 in its parts "
        "train, index and test",
    ),
    argument(
        "--part",
        choices=("train", "index", "test"),
        help="the part of the public data set (train); images of index and test are put "
        "into gldv2_index and gldv2_test",
    ),
    OUT_PLACE,
    argument("--tables", action="store_true", help="only the tables, no images"),
    SUBSET.but(required=False),
    path("--ids", "a file with the ids of the images to download", required=False),
    argument(
        "--without-landmark",
        type=count,
        metavar="N",
        help="with --part test: N images without a landmark, of as many of the tars as "
        "that takes (of all 20, unless --tars says which)",
    ),
    argument(
        "--resize",
        type=count,
        metavar="SIDE",
        help="resize the images of the tars: the longer side has at most SIDE pixels",
    ),
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
    example="""kaggle-kit download --slug landmark-recognition-2021 --tables --out data
  kaggle-kit download --part test --without-landmark 5000 --resize 512 --out data""",
)
def download(args: argparse.Namespace) -> Result:
    """Download a competition, or some of its images, from Kaggle or as tars."""
    require_one(
        "--slug or --tars", _given(args, "slug", "tars") or _given(args, "part")
    )
    contents = _given(args, "tables", "subset", "ids", "without_landmark")
    if len(contents) > 1:
        require_one("--tables, --subset, --ids or --without-landmark", contents)
    tar_options = _given(
        args, "part", "without_landmark", "resize", "accept_md5", "disk_gb", "url"
    )
    if args.slug and tar_options:
        raise KitError(
            f"--{tar_options[0]}: expected it with --tars, got it with --slug; leave out "
            f"one of the two"
        )
    selection: dict[str, Any] = {
        "only_tables": args.tables,
        "subset": args.subset,
        "ids": args.ids,
    }
    if args.slug:
        from kaggle_kit.download.competition import download

        return download(args.slug, args.out, **selection)
    return _download_tars(args, selection)


def _download_tars(args: argparse.Namespace, selection: dict[str, Any]) -> Result:
    from kaggle_kit.download.parts import PARTS, TEST, TRAIN, parse_numbers
    from kaggle_kit.download.public_tars import URL, download_tars

    part = PARTS[args.part or TRAIN.name]
    if args.without_landmark and part is not TEST:
        raise KitError(
            f"--without-landmark: expected it with --part test, whose solution says which "
            f"images have none, got --part {part.name}; add --part test"
        )
    if args.subset and part is not TRAIN:
        raise KitError(
            f"--subset: expected it with --part train, got --part {part.name}; list the "
            f"images in a file, and give --ids"
        )
    if not (args.tars or args.tables or args.without_landmark):
        raise KitError(
            f"--tars: expected the tars of --part {part.name}, got none; give some, such "
            f"as 0-{min(9, part.n_tars - 1)}"
        )
    every = f"0-{part.n_tars - 1}"
    return download_tars(
        parse_numbers(args.tars or every, part),
        args.out,
        part=part,
        url=args.url or URL,
        accept_md5=args.accept_md5,
        disk_gb=args.disk_gb,
        without_landmark=args.without_landmark,
        resize=args.resize,
        **selection,
    )


def _given(args: argparse.Namespace, *names: str) -> list[str]:
    """The options that were given, as they are written."""
    return [name.replace("_", "-") for name in names if getattr(args, name)]


@DATA.command(
    COMPETITION,
    replace(OUT_FILE, role=INDEX),
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
    NON_LANDMARKS,
    path(
        "--index",
        "the index of the images, with their hashes (read again)",
        required=False,
    ),
    OUT_FOLDER,
    SET,
    example="kaggle-kit subset --config demo.yaml --competition demo/competition "
    "--out subset",
)
def subset(args: argparse.Namespace) -> Result:
    """Choose landmarks and images, and split the images."""
    settings = load_settings(args)
    from kaggle_kit.data.subset import subset

    return subset(
        settings.subset,
        settings.seed,
        args.competition,
        args.out,
        args.non_landmarks,
        args.index,
    )


@DATA.command(
    CONFIG,
    COMPETITION,
    SUBSET,
    OUT_FOLDER,
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
