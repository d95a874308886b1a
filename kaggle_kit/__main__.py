"""``python -m kaggle_kit``: the same command line as the ``kaggle-kit`` script."""

import sys


def main() -> int:
    """Run the command line; an interruption while it is imported is one line, too."""
    try:
        from kaggle_kit.cli import main

        return main()
    except KeyboardInterrupt:
        print("kaggle-kit: interrupted; run the same command again", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
