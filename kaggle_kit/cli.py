"""The command line: parse, call one function, print one result.

Results go to stdout as JSON, all else to stderr. Heavy modules are imported by the
command that needs them, after the cheap checks, so that a typo costs nothing.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_kit import __version__
from kaggle_kit.arguments import ARGUMENTS, Parser
from kaggle_kit.errors import KitError
from kaggle_kit.examples import EXAMPLES

if TYPE_CHECKING:
    from kaggle_kit.config import Config

Result = dict[str, Any]


def download(args: argparse.Namespace) -> Result:
    """Fetch the competition, or only the photos one needs, from Kaggle or as tars."""
    chosen = [n for n in ("tables", "subset", "ids") if getattr(args, n)]
    _require_one("--slug or --tars", [n for n in ("slug", "tars") if getattr(args, n)])
    if len(chosen) > 1:
        _require_one("--tables, --subset or --ids", chosen)
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


def index(args: argparse.Namespace) -> Result:
    """List the photos that decode, with their landmark and size."""
    from kaggle_kit.data.index import index

    counts: Result = dict(index(args.competition, args.out))
    if args.report:
        from kaggle_kit.report.dataset_page import sheet

        counts |= sheet(args.competition, args.out)
    return counts


def subset(args: argparse.Namespace) -> Result:
    """Choose landmarks and photos, and split them."""
    from kaggle_kit.config import load
    from kaggle_kit.data.subset import subset

    settings = load(args.config)
    return subset(settings.subset, settings.seed, args.competition, args.out)


def shards(args: argparse.Namespace) -> Result:
    """Write a subset's photos, resized, into TFRecord shards."""
    from kaggle_kit.config import load

    settings = load(args.config)
    _require(args.subset / "subset.csv", "a subset", "subset")
    if args.ray:
        from kaggle_kit.training import ray_cluster

        made = ray_cluster.shards(
            settings, args.competition, args.subset, args.out, args.ray
        )
    else:
        from kaggle_kit.data.shards import shards

        made = shards(settings.data, args.competition, args.subset, args.out)
    return made["counts"] | {"broken": made["broken"], "shards": len(made["shards"])}


def train(args: argparse.Namespace) -> Result:
    """Train the network that a config describes."""
    settings = _settings(args)
    if settings.train.epochs:
        _require(args.shards / "shards.json", "a shards folder", "shards")
    else:
        _require(args.shards / "subset.csv", "a subset", "subset")
    from kaggle_kit.report.plots import learning_curves

    if args.ray:
        from kaggle_kit.training import ray_cluster

        trained = ray_cluster.train(
            settings, args.shards, args.run, args.resume, args.ray
        )
    else:
        from kaggle_kit.training.trainer import fit

        trained = fit(settings, args.shards, args.run, args.resume)
    if settings.train.epochs:
        learning_curves(args.run / "history.csv", args.run / "learning_curves.png")
    return trained | {"run": str(args.run)}


def bundle(args: argparse.Namespace) -> Result:
    """Pack library, model and gallery into the folder that becomes a Kaggle dataset."""
    if bool(args.run) == bool(args.config):
        raise KitError(
            "expected either --run (a model for the inference kernel) or --config (for "
            "training on Kaggle); give one of them"
        )
    if bool(args.run) != bool(args.competition):
        raise KitError("expected --competition with --run and not with --config")
    for run in args.run:
        _require(run / "config.json", "a run", "train")
    from kaggle_kit.bundling.metadata import HANDLE, title_of
    from kaggle_kit.config import parse_setting

    changes = dict(map(parse_setting, args.set))
    settings = _settings(args) if args.config else None
    handle = args.handle or HANDLE
    title = title_of(handle, args.title)
    from kaggle_kit.bundling.bundle import bundle, bundle_for_training

    if settings:
        return bundle_for_training(settings, args.out, handle, title, args.max_mb)
    return bundle(
        args.run, args.competition, args.out, changes, handle, title, args.max_mb
    )


def ablate(args: argparse.Namespace) -> Result:
    """Switch off one part after the other, and score what is left."""
    for run in args.run:
        _require(run / "config.json", "a run", "train")
    from kaggle_kit.bundling.ablate import ablate

    return ablate(args.run, args.competition, args.out)


def similar(args: argparse.Namespace) -> Result:
    """Find the gallery photos that are most like a photo."""
    _require(args.bundle / "kit-manifest.json", "a bundle", "bundle")
    if not args.photo.is_file():
        raise KitError(f"{args.photo}: expected a photo, found no file; check the path")
    from kaggle_kit.inference.similar import similar

    return similar(args.photo, args.bundle, args.k)


def predict(args: argparse.Namespace) -> Result:
    """Write a submission for a competition's test photos."""
    _require(args.bundle / "kit-manifest.json", "a bundle", "bundle")
    from kaggle_kit.inference.predict import predict

    return predict(args.bundle, args.competition, args.out, args.time_limit_s)


def rehearse(args: argparse.Namespace) -> Result:
    """Run the kernel as Kaggle would: offline, confined, against the clock."""
    _require(args.bundle / "kit-manifest.json", "a bundle", "bundle")
    from kaggle_kit.rehearsal.rehearse import MEMORY_GB, TIME_LIMIT_S, rehearse

    return rehearse(
        args.bundle,
        args.competition,
        args.out,
        TIME_LIMIT_S if args.time_limit_s is None else args.time_limit_s,
        MEMORY_GB if args.memory_gb is None else args.memory_gb,
        args.kernel,
    )


def match(args: argparse.Namespace) -> Result:
    """Draw which points of two photos match."""
    from kaggle_kit.report.matches import match

    return match(args.photo, args.other, args.out)


def app(args: argparse.Namespace) -> Result:
    """Show a page that recognises photos, or export it to be deployed."""
    _require(args.bundle / "kit-manifest.json", "a bundle", "bundle")
    _require(args.bundle / "gallery", "a bundle with a gallery", "bundle")
    if args.export:
        from kaggle_kit.app.export import export

        return export(args.bundle, args.export, args.photos)
    from kaggle_kit.app.serve import PORT, serve

    return serve(args.bundle, args.port or PORT, args.photos)


def validate(args: argparse.Namespace) -> Result:
    """Check that Kaggle would accept a submission."""
    from kaggle_kit.metrics.score import validate

    return validate(args.submission, args.sample)


def score(args: argparse.Namespace) -> Result:
    """Score a submission by GAP, and say what the rest was lost to."""
    from kaggle_kit.metrics.score import score

    return score(args.submission, args.solution, 1000 if args.intervals else 0)


def report(args: argparse.Namespace) -> Result:
    """Write a page on what a submission is worth and what it lost."""
    from kaggle_kit.report.page import report

    return report(
        args.run,
        args.submission,
        args.solution,
        args.out,
        args.competition,
        args.bundle,
        args.against,
    )


def run(args: argparse.Namespace) -> Result:
    """Do it all: subset, shards, train, bundle, rehearse, score."""
    settings = _settings(args)
    from kaggle_kit.run import run

    return run(settings, args.competition, args.out)


def demo(args: argparse.Namespace) -> Result:
    """Draw a small competition and do it all there, in a few minutes."""
    settings = _settings(args)
    from kaggle_kit.run import demo

    return demo(settings, args.out)


def doctor(args: argparse.Namespace) -> Result:
    """Check client, credentials, rules, quota, disk and versions."""
    from kaggle_kit.kaggle.doctor import doctor

    return doctor(args.slug)


def publish(args: argparse.Namespace) -> Result:
    """Put a bundle on Kaggle as a dataset, or as its new version."""
    from kaggle_kit.kaggle.dataset import publish

    return publish(args.bundle, args.notes, args.dry_run)


def push(args: argparse.Namespace) -> Result:
    """Push a kernel, wait until it has run, and fetch and check its output."""
    from kaggle_kit.kaggle.kernel import push

    return push(args.kernel, args.handle, args.dataset, args.dry_run)


def submit(args: argparse.Namespace) -> Result:
    """Submit a kernel's version or a file, once, and wait for the score."""
    from kaggle_kit.kaggle.submit import submit

    return submit(
        args.slug, args.message, args.kernel, args.version, args.file, args.dry_run
    )


def ship(args: argparse.Namespace) -> Result:
    """Publish, push, wait, validate, submit; go on where that stopped."""
    from kaggle_kit.kaggle.ship import ship

    return ship(args.bundle, args.kernel, args.slug, args.message, args.dry_run)


def submissions(args: argparse.Namespace) -> Result:
    """Refresh the ledger: local GAP against the leaderboard's."""
    from kaggle_kit.kaggle.submit import submissions

    return {"submissions": submissions(args.slug)}


Command = Callable[[argparse.Namespace], Result]
COMMANDS: dict[Command, list[str]] = {
    download: [
        *("--slug", "--tars", "--out", "--tables", "--subset", "--ids"),
        *("--accept-md5", "--disk-gb", "--url"),
    ],
    index: ["--competition", "--out", "--report"],
    subset: ["--config", "--competition", "--out"],
    shards: ["--config", "--competition", "--subset", "--out", "--ray"],
    train: ["--config", "--shards", "--run", "--set", "--resume", "--ray"],
    bundle: [
        *("--run …", "--competition", "--config", "--out", "--set"),
        *("--handle", "--title", "--max-mb"),
    ],
    ablate: ["--run …", "--competition", "--out"],
    similar: ["photo", "--bundle", "-k"],
    match: ["photo", "other", "--out"],
    app: ["--bundle", "--port", "--photos", "--export"],
    predict: ["--bundle", "--competition", "--out", "--time-limit-s"],
    rehearse: [
        "--bundle",
        "--competition",
        "--out",
        "--time-limit-s",
        "--memory-gb",
        "--kernel",
    ],
    validate: ["submission", "--sample"],
    score: ["submission", "solution", "--intervals"],
    report: [
        *("--run ANY", "--submission", "--solution", "--competition …", "--bundle …"),
        *("--against", "--out"),
    ],
    run: ["--config", "--competition", "--out", "--set"],
    demo: ["--config", "--out", "--set"],
    doctor: ["--slug"],
    publish: ["--bundle", "--notes", "--dry-run"],
    push: ["--kernel", "--handle", "--dataset", "--dry-run"],
    submit: [
        "--slug",
        "--kernel HANDLE",
        "--version",
        "--file",
        "--message",
        "--dry-run",
    ],
    ship: ["--bundle", "--kernel", "--slug", "--message", "--dry-run"],
    submissions: ["--slug"],
}
# What a command can do without, and what it has then.
DEFAULTS: dict[Command, dict[str, Any]] = {
    bundle: {"run": [], "competition": None, "config": None},
    demo: {"config": Path("configs/demo.yaml"), "out": Path("demo")},
    doctor: {"slug": "landmark-recognition-2021"},
    download: {"subset": None, "slug": None},
}


def parser() -> argparse.ArgumentParser:
    """The whole command line; a command's help is its docstring."""
    top = Parser(
        prog="kaggle-kit",
        description="Google Landmark Recognition 2021: from photos to a submission.",
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for function, names in COMMANDS.items():
        summary = function.__doc__ or ""
        example = EXAMPLES.get(function.__name__)
        command = commands.add_parser(
            function.__name__,
            help=summary,
            description=summary,
            epilog=example and f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        defaults = DEFAULTS.get(function, {})
        for name in names:
            options = dict(ARGUMENTS[name])
            flag = name.split()[0]
            if flag.lstrip("-") in defaults:
                options["required"] = False
            command.add_argument(flag, **options)
        command.set_defaults(function=function, **defaults)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0, or an error's code after one line that says what is wrong."""
    args = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s"
    )
    logging.getLogger("absl").setLevel(logging.ERROR)  # TensorFlow's chatter
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name = f"kaggle-kit {args.function.__name__}"
    try:
        result = args.function(args)
        print(json.dumps(result, indent=2))
    except KitError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder without permission
        if error.filename is None:
            raise
        reason = f"{error.filename}: {error.strerror}"
        print(f"{name}: {reason}; nothing was left half-written", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command starts again", file=sys.stderr)
        return 130
    return 0 if result.get("ok", True) else 1


def _settings(args: argparse.Namespace) -> "Config":
    """The config asked for, with the changes asked for."""
    from kaggle_kit.config import load, override, parse_setting

    return override(load(args.config), dict(map(parse_setting, args.set)))


def _require_one(options: str, given: Sequence[str]) -> None:
    """Refuse options of which there must be one, unless there is."""
    if len(given) != 1:
        got = " and ".join(f"--{name}" for name in given) or "none of them"
        raise KitError(f"expected one of {options}, got {got}")


def _require(path: Path, what: str, command: str) -> None:
    """Refuse a folder of another kind before anything heavy is imported."""
    if not path.exists():
        raise KitError(
            f"{path.parent}: expected {what}, found no {path.name}; make it with "
            f"kaggle-kit {command}"
        )
