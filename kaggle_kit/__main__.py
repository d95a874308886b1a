"""``python -m kaggle_kit``: the same command line as the ``kaggle-kit`` script."""

import sys

from kaggle_kit.cli import main

if __name__ == "__main__":
    sys.exit(main())
