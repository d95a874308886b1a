"""Load LiteRT files with the interpreter of the LiteRT package, as the app does."""

from pathlib import Path

from kaggle_kit.backends.litert import LiteRunner
from kaggle_kit.errors import KitError

THREADS = 2  # per image; a free host has no more cores


def load_runner(path: Path, mixed_precision: bool = False) -> LiteRunner:
    """Load a LiteRT file.

    Args:
        mixed_precision: ignored, since it is for GPUs.

    Raises:
        ArtefactError: the file is missing or damaged.
        KitError: LiteRT is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:  # also if TensorFlow was imported first
        raise KitError(
            f"app: expected LiteRT, got {error}; install it with pip install "
            f"'kaggle-kit[app]'"
        ) from None
    return LiteRunner(path, lambda name: Interpreter(name, num_threads=THREADS), 1)
