"""The command line: parse, call one function, print one result.

Results go to stdout as JSON, all else to stderr. Heavy modules are imported by the
command that needs them, after the cheap checks, so that a typo costs nothing.
"""

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kaggle_kit import __version__
from kaggle_kit.errors import KitError

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
        from kaggle_kit.data.download import download

        return download(args.slug, args.out, **options)
    from kaggle_kit.data.tars import URL, parse_numbers, tars

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

    return index(args.competition, args.out)


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
    from kaggle_kit.training.fit import fit

    trained = fit(settings, args.shards, args.run, args.resume)
    if settings.train.epochs:
        learning_curves(args.run / "history.csv", args.run / "learning_curves.png")
    return trained | {"run": str(args.run)}


def bundle(args: argparse.Namespace) -> Result:
    """Pack library, model and gallery into the folder that becomes a Kaggle dataset."""
    for run in args.runs:
        _require(run / "config.json", "a run", "train")
    from kaggle_kit.config import parse_setting

    changes = dict(map(parse_setting, args.set))
    from kaggle_kit.publish.bundle import bundle

    return bundle(args.runs, args.competition, args.out, changes)


def ablate(args: argparse.Namespace) -> Result:
    """Switch off one part after the other, and score what is left."""
    for run in args.runs:
        _require(run / "config.json", "a run", "train")
    from kaggle_kit.recognition.ablate import ablate

    return ablate(args.runs, args.competition, args.out)


def similar(args: argparse.Namespace) -> Result:
    """Find the gallery photos that are most like a photo."""
    _require(args.bundle / "kit-manifest.json", "a bundle", "bundle")
    if not args.photo.is_file():
        raise KitError(f"{args.photo}: expected a photo, found no file; check the path")
    from kaggle_kit.recognition.similar import similar

    return similar(args.photo, args.bundle, args.k)


def predict(args: argparse.Namespace) -> Result:
    """Write a submission for a competition's test photos."""
    _require(args.bundle / "kit-manifest.json", "a bundle", "bundle")
    from kaggle_kit.recognition.predict import predict

    return predict(args.bundle, args.competition, args.out)


def rehearse(args: argparse.Namespace) -> Result:
    """Run the kernel as Kaggle would: offline, confined, against the clock."""
    _require(args.bundle / "kit-manifest.json", "a bundle", "bundle")
    from kaggle_kit.publish.rehearse import MEMORY_GB, TIME_LIMIT_S, rehearse

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


def validate(args: argparse.Namespace) -> Result:
    """Check that Kaggle would accept a submission."""
    from kaggle_kit.score import validate

    return validate(args.submission, args.sample)


def score(args: argparse.Namespace) -> Result:
    """Score a submission by GAP, and say what the rest was lost to."""
    from kaggle_kit.score import score

    return score(args.submission, args.solution, 1000 if args.intervals else 0)


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


def _folder_or_file(text: str, **options: Any) -> dict[str, Any]:
    return {"type": Path, "required": True, "metavar": "PATH", "help": text} | options


def _md5(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text.lower()):
        raise argparse.ArgumentTypeError(f"expected 32 digits of 0-9a-f, got {text!r}")
    return text.lower()


def _size(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return size


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "--slug": {"help": "the competition's name: landmark-recognition-2021"},
    "--tars": {"metavar": "0-9", "help": "tars of the public data set, of 0 to 499"},
    "--tables": {"action": "store_true", "help": "the tables alone, no photos"},
    "--ids": _folder_or_file("only the photos that a file names", required=False),
    "--accept-md5": {
        "action": "extend",
        "nargs": "+",
        "type": _md5,
        "default": [],
        "metavar": "MD5",
        "help": "checksums to take although they are not the expected ones",
    },
    "--disk-gb": {"type": _size, "help": "what the photos and a tar may take, in GB"},
    "--url": {"help": "a mirror of the public data set"},
    "--config": _folder_or_file("a YAML file; the kit's own are found by their name"),
    "--competition": _folder_or_file("a folder in the competition's layout"),
    "--subset": _folder_or_file("the folder that 'subset' made"),
    "--shards": _folder_or_file("the folder that 'shards' made"),
    "--run": _folder_or_file("the folder that 'train' makes"),
    "--runs": _folder_or_file("folders that 'train' made", nargs="+"),
    "--bundle": _folder_or_file("the folder that 'bundle' made"),
    "--kernel": _folder_or_file(
        "a kernel folder, if not the kit's own", required=False
    ),
    "--sample": _folder_or_file("the competition's sample_submission.csv"),
    "--out": _folder_or_file("what to write"),
    "--set": {
        "action": "extend",
        "nargs": "+",
        "default": [],
        "metavar": "SETTING=VALUE",
        "help": "settings to change, such as train.epochs=3",
    },
    "--resume": {"action": "store_true", "help": "go on with the run that is there"},
    "--time-limit-s": {"type": float, "help": "stop the kernel then (12 hours)"},
    "--memory-gb": {"type": float, "help": "stop the kernel above it (29)"},
    "-k": {"type": _count, "default": 5, "metavar": "K", "help": "how many (5)"},
    "--intervals": {"action": "store_true", "help": "with 95%% bootstrap intervals"},
    "other": {"type": Path, "metavar": "OTHER", "help": "another photo"},
    "photo": {"type": Path, "metavar": "PHOTO", "help": "a photo"},
    "submission": {"type": Path, "metavar": "SUBMISSION", "help": "id, landmarks"},
    "solution": {"type": Path, "metavar": "SOLUTION", "help": "id, landmarks, Usage"},
}
Command = Callable[[argparse.Namespace], Result]
COMMANDS: dict[Command, list[str]] = {
    download: [
        *("--slug", "--tars", "--out", "--tables", "--subset", "--ids"),
        *("--accept-md5", "--disk-gb", "--url"),
    ],
    index: ["--competition", "--out"],
    subset: ["--config", "--competition", "--out"],
    shards: ["--config", "--competition", "--subset", "--out"],
    train: ["--config", "--shards", "--run", "--set", "--resume"],
    bundle: ["--runs", "--competition", "--out", "--set"],
    ablate: ["--runs", "--competition", "--out"],
    similar: ["photo", "--bundle", "-k"],
    match: ["photo", "other", "--out"],
    predict: ["--bundle", "--competition", "--out"],
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
    run: ["--config", "--competition", "--out", "--set"],
    demo: ["--config", "--out", "--set"],
}
DEFAULTS: dict[Command, dict[str, Path | None]] = {
    download: {"subset": None},
    demo: {"config": Path("configs/demo.yaml"), "out": Path("demo")},
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and exit code 1, as for every other mistake."""
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(1)


def parser() -> argparse.ArgumentParser:
    """The whole command line; a command's help is its docstring."""
    top = _Parser(
        prog="kaggle-kit",
        description="Google Landmark Recognition 2021: from photos to a submission.",
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for function, names in COMMANDS.items():
        summary = function.__doc__ or ""
        command = commands.add_parser(
            function.__name__, help=summary, description=summary
        )
        defaults = DEFAULTS.get(function, {})
        for name in names:
            options = dict(ARGUMENTS[name])
            if name.lstrip("-") in defaults:
                options["required"] = False
            command.add_argument(name, **options)
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
        print(json.dumps(args.function(args), indent=2))
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
    return 0


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
