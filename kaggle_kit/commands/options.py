"""The arguments that several commands take, and the types that these are of."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_kit.commands.group import Argument, argument

if TYPE_CHECKING:
    from kaggle_kit.config import Config


def path(flag: str, help: str, **options: Any) -> Argument:
    """A folder or a file, which must be given unless ``options`` say otherwise."""
    usual = {"type": Path, "required": True, "metavar": "PATH", "help": help}
    return Argument(flag, usual | options)


def md5(text: str) -> str:
    """A checksum."""
    if not re.fullmatch(r"[0-9a-f]{32}", text.lower()):
        raise argparse.ArgumentTypeError(f"expected 32 digits of 0-9a-f, got {text!r}")
    return text.lower()


def size(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


CONFIG = path("--config", "a YAML file; the kit's own are found by their name")
SET = argument(
    "--set",
    action="extend",
    nargs="+",
    default=[],
    metavar="SETTING=VALUE",
    help="settings to change, such as train.epochs=3",
)
COMPETITION = path("--competition", "a folder in the competition's layout")
SUBSET = path("--subset", "the folder that 'subset' made")
RUNS = path("--run", "one or several folders that 'train' made", nargs="+")
BUNDLE = path("--bundle", "the folder that 'bundle' made")
OUT = path("--out", "what to write")
RAY = argument(
    "--ray",
    metavar="ADDRESS",
    help="on all hosts of a Ray cluster ('local': of this host)",
)
TIME_LIMIT_S = argument(
    "--time-limit-s",
    type=size,
    metavar="N",
    help="seconds it may take (a rehearsal: 12 hours)",
)
HANDLE = argument(
    "--handle", metavar="OWNER/SLUG", help="its name on Kaggle (INSERT_OWNER/...)"
)
KERNEL = path("--kernel", "a kernel folder, if not the kit's own", required=False)
SLUG = argument(
    "--slug",
    required=True,
    metavar="SLUG",
    help="the competition, as in its address",
)
MESSAGE = argument("--message", required=True, metavar="TEXT", help="what it is")
DRY_RUN = argument(
    "--dry-run", action="store_true", help="send nothing; say what would be sent"
)
LEDGER = path(
    "--ledger",
    "the table of all submissions (submissions/ledger.csv)",
    required=False,
)
PHOTO = argument("photo", type=Path, metavar="PHOTO", help="a photo")


def settings(args: argparse.Namespace) -> "Config":
    """The config that CONFIG asks for, with the changes that SET asks for."""
    from kaggle_kit.config import load, override

    return override(load(args.config), changes(args))


def changes(args: argparse.Namespace) -> dict[str, Any]:
    """The changes that SET asks for, by dotted name."""
    from kaggle_kit.config import parse_setting

    return dict(map(parse_setting, args.set))
