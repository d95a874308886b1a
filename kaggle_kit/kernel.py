"""What a kernel imports of its bundle: this module, and nothing else of the kit.

A kernel and a bundle reach Kaggle on different days. So ``check``, ``infer`` and ``train``
keep their names, arguments and order of arguments for good, while all else may move.
``INTERFACE`` counts how often that promise was broken; kernel and bundle fit where both
have the same number. Heavy modules are imported by the function that needs them.
"""

import logging
from pathlib import Path

from kaggle_kit import __version__

INTERFACE = 1


def check(version: str, interface: int) -> None:
    """End a kernel that was written for another interface.

    Args:
        version: of the kit that the kernel came with.
        interface: what the kernel was written for.

    Raises:
        SystemExit: one line with both versions and what to do.
    """
    wrong = misfit(version, interface, __version__, INTERFACE)
    if wrong:
        raise SystemExit(wrong)


def misfit(
    kernel: str, kernel_interface: int, bundle: str, bundle_interface: int
) -> str | None:
    """One line on why a kernel and a bundle of two versions do not fit; None if they do.

    Args:
        kernel, bundle: the versions of the kit that they were made with.
        bundle_interface: 0 for a bundle that has no such module yet.
    """
    if kernel_interface == bundle_interface:
        return None
    what = "make the bundle again with kaggle-kit bundle and publish it"
    if kernel_interface < bundle_interface:
        what = f"push the kernel of {bundle} with kaggle-kit push"
    return f"kernel of kaggle_kit {kernel}, bundle of {bundle}: {what}"


def infer(inputs: Path, bundle: Path, began: float, time_limit_s: float) -> None:
    """Write ``submission.csv`` into the working folder.

    A valid one without guesses is there before TensorFlow is imported.

    Args:
        inputs: the folder in which Kaggle mounts what the kernel may read.
        bundle: what ``kaggle-kit bundle --run`` made.
        began: when the kernel was started, by ``time.monotonic``.
        time_limit_s: seconds from then on until the kernel must be over.

    Raises:
        SystemExit: the competition is not among the inputs.
        KitError: it, or the bundle, is not what it should be.
    """
    _log()
    from kaggle_kit.storage.tables import read_sample, write_submission

    competition = _competition(inputs)
    out = Path("submission.csv")
    write_submission(out, read_sample(competition / "sample_submission.csv"), {})
    from kaggle_kit.inference.predict import predict  # takes seconds to import

    predict(bundle, competition, out, time_limit_s, began)


def train(inputs: Path, bundle: Path, stop_at: float) -> None:
    """Train until it is done or the time is up; the working folder gets the run.

    It goes on with an earlier version's output where that is among the inputs: of all
    versions but the first, ``kernel_sources`` names the kernel itself.

    Args:
        inputs: the folder in which Kaggle mounts what the kernel may read.
        bundle: what ``kaggle-kit bundle --config`` made.
        stop_at: when to stop, by ``time.monotonic``; see ``train_in_session``.

    Raises:
        SystemExit: the competition is not among the inputs.
        KitError: it, the bundle or the earlier run is not what it should be.
    """
    _log()
    competition = _competition(inputs)
    earlier = _find(inputs, "session.json")
    from kaggle_kit.training.kaggle_session import train_in_session

    train_in_session(bundle, competition, Path(), earlier, stop_at)


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


def _competition(inputs: Path) -> Path:
    names = ("sample_submission.csv", "train.csv")
    found = _find(inputs, *names)
    if found is None:
        said = f"no folder with {', '.join(names)} in {inputs}: add it as input"
        raise SystemExit(said)
    return found


def _find(inputs: Path, *names: str) -> Path | None:
    """The folder with all names; where Kaggle mounts a source is not the same always."""
    level = [inputs]
    for _ in range(6):
        for folder in level:
            if all((folder / name).exists() for name in names):
                return folder
        below = [child for folder in level for child in sorted(folder.iterdir())]
        level = [c for c in below if c.is_dir() and c.name not in ("train", "test")]
    return None
