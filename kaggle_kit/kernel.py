"""Entry points for kernels: the only module of the bundle that a kernel imports.

A kernel and a bundle may be published by different versions of the kit. Therefore the
names and arguments of ``check``, ``infer`` and ``train`` never change, while any other
module may. If they have to change after all, ``INTERFACE`` is increased: a kernel works
only with a bundle of the same number. Each function imports the heavy modules it needs.
"""

import logging
from pathlib import Path

from kaggle_kit import __version__

INTERFACE = 1


def check(version: str, interface: int) -> None:
    """Stop a kernel that was written for another interface.

    Args:
        version: the version of the kit that the kernel was published with.
        interface: the interface that the kernel was written for.

    Raises:
        SystemExit: one line with both versions and what to do.
    """
    problem = mismatch(version, interface, __version__, INTERFACE)
    if problem:
        raise SystemExit(problem)


def mismatch(
    kernel: str, kernel_interface: int, bundle: str, bundle_interface: int
) -> str | None:
    """Explain in one line why a kernel cannot use a bundle; None if it can.

    Args:
        kernel, bundle: the versions of the kit that made them.
        bundle_interface: 0 for a bundle that is older than this module.
    """
    if kernel_interface == bundle_interface:
        return None
    remedy = "make the bundle again with kaggle-kit bundle and publish it"
    if kernel_interface < bundle_interface:
        remedy = f"push the kernel of {bundle} with kaggle-kit push"
    return f"kernel of kaggle_kit {kernel}, bundle of {bundle}: {remedy}"


def infer(inputs: Path, bundle: Path, began: float, time_limit_s: float) -> None:
    """Write ``submission.csv`` into the working folder.

    A valid file without guesses is written first, before TensorFlow is imported.

    Args:
        inputs: the folder in which Kaggle mounts the inputs of the kernel.
        bundle: the output of ``kaggle-kit bundle --run``.
        began: the start of the kernel, by ``time.monotonic``.
        time_limit_s: seconds from ``began`` until the kernel must have ended.

    Raises:
        SystemExit: the competition is not among the inputs.
        KitError: the competition or the bundle is damaged.
    """
    _set_up_logging()
    from kaggle_kit.storage.tables import read_sample, write_submission

    competition = _find_competition(inputs)
    out = Path("submission.csv")
    write_submission(out, read_sample(competition / "sample_submission.csv"), {})
    from kaggle_kit.inference.predict import predict  # takes seconds to import

    predict(bundle, competition, out, time_limit_s, began)


def train(inputs: Path, bundle: Path, stop_at: float) -> None:
    """Train until the training is complete or time is up; the run is left in the working
    folder.

    If the output of an earlier version is among the inputs, training resumes from it.
    Every version but the first has it, since ``kernel_sources`` names the kernel itself.

    Args:
        inputs: the folder in which Kaggle mounts the inputs of the kernel.
        bundle: the output of ``kaggle-kit bundle --config``.
        stop_at: when to stop, by ``time.monotonic``; see ``train_in_session``.

    Raises:
        SystemExit: the competition is not among the inputs.
        KitError: the competition, the bundle or the earlier run is damaged.
    """
    _set_up_logging()
    competition = _find_competition(inputs)
    earlier = _find_folder(inputs, "session.json")
    from kaggle_kit.training.kaggle_session import train_in_session

    train_in_session(bundle, competition, Path(), earlier, stop_at)


def _set_up_logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


def _find_competition(inputs: Path) -> Path:
    names = ("sample_submission.csv", "train.csv")
    folder = _find_folder(inputs, *names)
    if folder is None:
        raise SystemExit(
            f"no folder with {', '.join(names)} in {inputs}: add it as input"
        )
    return folder


def _find_folder(inputs: Path, *names: str) -> Path | None:
    """The folder that has all the names. Kaggle mounts inputs at varying depths."""
    level = [inputs]
    for _ in range(6):
        for folder in level:
            if all((folder / name).exists() for name in names):
                return folder
        below = [child for folder in level for child in sorted(folder.iterdir())]
        level = [c for c in below if c.is_dir() and c.name not in ("train", "test")]
    return None
