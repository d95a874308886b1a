"""Arguments that several commands share, and the types of argument values."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_kit.commands.group import Argument, Input, Output, argument
from kaggle_kit.limits import is_limit

if TYPE_CHECKING:
    from kaggle_kit.config import Config


def path(
    flag: str, help: str, role: Input | Output | None = None, **options: Any
) -> Argument:
    """An argument for a file or folder; required unless ``options`` say otherwise.

    Args:
        role: what the command does with it; None: it is read.
    """
    defaults: dict[str, Any] = {"type": parse_path, "metavar": "PATH", "help": help}
    if flag.startswith("-"):
        defaults["required"] = True
    return Argument(flag, defaults | options, role or Input())


def parse_path(text: str) -> Path:
    """Parse a path. An empty one, as of a variable that is not set, is not ``.``."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    return Path(text)


def md5(text: str) -> str:
    """Parse an MD5 checksum; it is returned in lower case."""
    if not re.fullmatch(r"[0-9a-f]{32}", text.lower()):
        raise argparse.ArgumentTypeError(f"expected 32 digits of 0-9a-f, got {text!r}")
    return text.lower()


def positive_number(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not is_limit(number):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def count(text: str) -> int:
    """Parse a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def port(text: str) -> int:
    """Parse the number of a port."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PORT:
        raise argparse.ArgumentTypeError(
            f"expected a number from 1 to {MAX_PORT}, got {text!r}"
        )
    return int(text)


MAX_PORT = 65535
CONFIG = path("--config", "a YAML file, or the name of a config of the kit")
SET = argument(
    "--set",
    action="extend",
    nargs="+",
    default=[],
    metavar="SETTING=VALUE",
    help="settings to change, such as train.epochs=3",
)
COMPETITION = path(
    "--competition",
    "a folder in the competition's layout",
    Input(
        (
            *("train/*", "test/*", "gldv2_*", "*train*.csv", "index_*.csv"),
            *("sample_submission.csv", "*solution*.csv", "landmarks.csv"),
            *("non_landmarks.csv", "tars.json", "download.*"),
        )
    ),
)
SUBSET = path("--subset", "a folder made by 'subset'")
RUN_FILES = Input(
    (
        *("*/*", "config.json", "classes.csv", "subset.csv", "non_landmarks.json"),
        *("environment.json", "model.weights.h5", "history.csv", "checkpoint-*"),
        *("learning_curves.png", "result.json", "submission.csv"),
    )
)
RUNS = path("--run", "one or more folders made by 'train'", RUN_FILES, nargs="+")
BUNDLE = path("--bundle", "a folder made by 'bundle'")
NON_LANDMARKS = path(
    "--non-landmarks",
    "images that show no landmark: folders of images, or files of ids",
    action="extend",
    nargs="+",
    default=[],
    required=False,
)
OUT_FILE = path("--out", "the output", Output("file"))
OUT_FOLDER = path("--out", "the output", Output("folder"))
OUT_PLACE = path("--out", "the output", Output("place"))
RAY = argument(
    "--ray",
    metavar="ADDRESS",
    help="run on all hosts of a Ray cluster ('local': on this host)",
)
TIME_LIMIT_S = argument(
    "--time-limit-s",
    type=positive_number,
    metavar="N",
    help="time limit in seconds (default of 'rehearse': 12 hours)",
)
HANDLE = argument(
    "--handle", metavar="OWNER/SLUG", help="its name on Kaggle (INSERT_OWNER/...)"
)
KERNEL = path("--kernel", "a kernel folder (the kit's own)", required=False)
SLUG = argument(
    "--slug",
    required=True,
    metavar="SLUG",
    help="the competition's name in its URL",
)
MESSAGE = argument(
    "--message", required=True, metavar="TEXT", help="a description of the submission"
)
DRY_RUN = argument(
    "--dry-run", action="store_true", help="send nothing; print what would be sent"
)
LEDGER = path(
    "--ledger",
    "the table of all submissions (submissions/ledger.csv)",
    Output("record"),
    required=False,
)
UNTRUSTED = argument(
    "--untrusted",
    action="store_true",
    help="for a bundle that you did not make: run its networks in processes of their "
    "own that may not write, LiteRT files where it has them (slower to start)",
)
PHOTO = path("photo", "an image", metavar="PHOTO")


def load_settings(args: argparse.Namespace) -> "Config":
    """The config of ``--config``, with the changes of ``--set``."""
    from kaggle_kit.config import load, override

    return override(load(args.config), parse_changes(args))


def parse_changes(args: argparse.Namespace) -> dict[str, Any]:
    """The changes of ``--set``, by the dotted name of the setting."""
    from kaggle_kit.config import parse_setting

    return dict(map(parse_setting, args.set))
