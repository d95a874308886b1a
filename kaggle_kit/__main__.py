"""``python -m kaggle_kit``: the command line, where the kit's script is not at hand."""

import sys

from kaggle_kit.cli import main

if __name__ == "__main__":
    sys.exit(main())
