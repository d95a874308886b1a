"""The arguments of the command line: each flag once, whatever commands take it."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are like all others of the kit."""

    def error(self, message: str) -> NoReturn:
        """One line and exit code 1, as for every other mistake."""
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(1)


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


# By flag; what follows a space tells apart those of one flag, and is not part of it.
ARGUMENTS: dict[str, dict[str, Any]] = {
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
    "--run …": _folder_or_file("one or several folders that 'train' made", nargs="+"),
    "--bundle": _folder_or_file("the folder that 'bundle' made"),
    "--kernel": _folder_or_file(
        "a kernel folder, if not the kit's own", required=False
    ),
    "--kernel HANDLE": {"metavar": "OWNER/SLUG", "help": "the kernel, on Kaggle"},
    "--file": _folder_or_file("a submission.csv", required=False),
    "--slug": {
        "required": True,
        "metavar": "SLUG",
        "help": "the competition, as in its address",
    },
    "--dataset": {"metavar": "OWNER/SLUG", "help": "the published bundle"},
    "--version": {"type": _count, "metavar": "N", "help": "the kernel's version"},
    "--message": {"required": True, "metavar": "TEXT", "help": "what it is"},
    "--notes": {"metavar": "TEXT", "help": "what changed"},
    "--dry-run": {
        "action": "store_true",
        "help": "send nothing; say what would be sent",
    },
    "--sample": _folder_or_file("the competition's sample_submission.csv"),
    "--out": _folder_or_file("what to write"),
    "--set": {
        "action": "extend",
        "nargs": "+",
        "default": [],
        "metavar": "SETTING=VALUE",
        "help": "settings to change, such as train.epochs=3",
    },
    "--report": {
        "action": "store_true",
        "help": "with a page to look at, beside it: sizes, duplicates, contact sheets",
    },
    "--run ANY": _folder_or_file("a folder that 'train', 'run' or 'bundle' made"),
    "--submission": _folder_or_file("a submission.csv"),
    "--solution": _folder_or_file("the solution.csv to score it by"),
    "--competition …": _folder_or_file("where the photos are, to show", required=False),
    "--bundle …": _folder_or_file(
        "whose gallery photos to show (the run's, if it has one)", required=False
    ),
    "--against": _folder_or_file(
        "other runs to compare with: folders with config.json and submission.csv",
        required=False,
        nargs="+",
        action="extend",
        default=[],
        metavar="OTHER_RUN",
    ),
    "--resume": {"action": "store_true", "help": "go on with the run that is there"},
    "--time-limit-s": {
        "type": _size,
        "metavar": "N",
        "help": "seconds it may take (a rehearsal: 12 hours)",
    },
    "--ray": {
        "metavar": "ADDRESS",
        "help": "on all hosts of a Ray cluster ('local': of this host)",
    },
    "--memory-gb": {"type": float, "help": "stop the kernel above it (29)"},
    "--handle": {
        "metavar": "OWNER/SLUG",
        "help": "its name on Kaggle (INSERT_OWNER/...)",
    },
    "--title": {"metavar": "TEXT", "help": "its title (the slug in words)"},
    "--max-mb": {
        "type": _count,
        "metavar": "N",
        "help": "make no bundle of more megabytes",
    },
    "--port": {"type": _count, "metavar": "P", "help": "of the page's address (8501)"},
    "--photos": _folder_or_file(
        "a folder in the competition's layout, to show the gallery's photos",
        required=False,
    ),
    "--export": _folder_or_file(
        "write a folder for a host of Streamlit pages instead", required=False
    ),
    "-k": {"type": _count, "default": 5, "metavar": "K", "help": "how many (5)"},
    "--intervals": {"action": "store_true", "help": "with 95%% bootstrap intervals"},
    "other": {"type": Path, "metavar": "OTHER", "help": "another photo"},
    "photo": {"type": Path, "metavar": "PHOTO", "help": "a photo"},
    "submission": {"type": Path, "metavar": "SUBMISSION", "help": "id, landmarks"},
    "solution": {"type": Path, "metavar": "SOLUTION", "help": "id, landmarks, Usage"},
}
