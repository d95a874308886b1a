"""``python -m tests.benchmarks [NAME ...] [--json FILE]``: run them, print one table."""

import argparse
import importlib
import json
import pkgutil
from dataclasses import asdict
from pathlib import Path

from tests import benchmarks
from tests.benchmarks import Row


def main() -> None:
    """Run the benchmarks named, or all; print a row as soon as it is known."""
    names = [
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if not module.name.startswith("_")
    ]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    unknown = set(args.names) - set(names)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {names}")
    print("| measure | ours | theirs | ratio | floor |\n|---|---|---|---|---|")
    rows: list[Row] = []
    for name in args.names or names:
        for row in importlib.import_module(f"tests.benchmarks.{name}").measure():
            rows.append(row)
            print(line(row), flush=True)
    if args.json:
        text = json.dumps([asdict(row) for row in rows], indent=2) + "\n"
        args.json.write_text(text, encoding="utf-8")


def line(row: Row) -> str:
    """A row of the table, in Markdown."""
    numbers = ("" if n is None else f"{n:.3g}" for n in (row.ratio, row.floor))
    return "| " + " | ".join([row.measure, row.ours, row.theirs, *numbers]) + " |"


if __name__ == "__main__":
    main()
