"""Checkpoint files: every variable of a training, bit by bit, and its progress.

The format is ``.npz``. Variables are named by their numbers; the entry ``place`` holds the
progress within the epoch: batches, seconds and sums, or nothing between epochs.
"""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError, ConfigError
from kaggle_kit.frameworks import keras
from kaggle_kit.storage import arrays, flush

PROGRESS = "place"
LARGEST = float(np.finfo(np.float32).max)  # of the optimizer's state


@dataclass
class EpochProgress:
    """How much of an epoch is trained.

    Attributes:
        epoch: its index, from 0.
        n_batches: the batches trained so far.
        seconds: the time they took, including that before an interruption.
        sums: (3,) the sums of ``TrainStep.train`` over these batches.
    """

    epoch: int
    n_batches: int = 0
    seconds: float = 0.0
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))


def write_checkpoint(
    path: Path, variables: Sequence[Any], progress: EpochProgress | None = None
) -> None:
    """Write variables one by one, so that memory holds one copy at most.

    Args:
        progress: within an epoch; None between epochs.

    Raises:
        ConfigError: a value is not finite: the training has diverged. The file is
            unchanged.
    """
    numbers: list[float] = []
    if progress:
        numbers = [progress.n_batches, progress.seconds, *progress.sums]

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w") as archive:
            for i, variable in enumerate(variables):
                values = keras.ops.convert_to_numpy(variable)
                require_converged(path, str(i), values, LARGEST)
                _add(archive, f"{i:05d}", values)
            _add(archive, PROGRESS, np.array(numbers, np.float64))

    write_whole(path, write)


def load_checkpoint(path: Path, variables: Sequence[Any]) -> None:
    """Assign the values of a checkpoint to the variables.

    Raises:
        ArtefactError: the file is missing, damaged, or of another network.
    """
    with _open(path) as archive:
        names = [f"{i:05d}" for i in range(len(variables))]
        if set(archive) != {*names, PROGRESS}:
            raise ValueError(f"{len(archive) - 1} variables, not {len(names)}")
        for name, variable in zip(names, variables, strict=True):
            values = archive[name]
            if values.dtype.kind == "f":
                arrays.require_range(f"variable {name}", values, -LARGEST, LARGEST)
            variable.assign(values)


def read_progress(path: Path, epoch: int) -> EpochProgress:
    """The progress in a checkpoint.

    Args:
        epoch: the index of the epoch that the training continues with.

    Raises:
        ArtefactError: the file is missing or damaged.
    """
    with _open(path) as archive:
        numbers = archive[PROGRESS]
        arrays.require_range(PROGRESS, numbers, 0, LARGEST)
        n_batches, seconds, *sums = numbers.tolist()
        if len(sums) != 3:
            raise ValueError(f"{len(sums)} sums")
        return EpochProgress(epoch, int(n_batches), seconds, np.array(sums))


def require_converged(
    path: Path, name: str, values: NDArray[Any], largest: float = arrays.LARGEST_WEIGHT
) -> None:
    """Check that the values of a variable are finite, before they are written.

    Args:
        path: the file, for the error message.
        name: of the variable, for the error message.

    Raises:
        ConfigError: a value is not finite, or its magnitude is above ``largest``.
    """
    try:
        arrays.require_range(name, values, -largest, largest)
    except ValueError as error:
        raise ConfigError(
            f"{path}: expected numbers of at most {largest:.0e}, got {error}; lower "
            f"train.learning_rate or set train.clip_norm, and train into another --run"
        ) from None


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all, also after power loss.

    The partial file has the same suffix, because Keras chooses the format by the suffix.
    """
    part = path.with_name(f"part-{path.name}")
    try:
        write(part)
        flush.flush_file(part)
        flush.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _open(path: Path) -> Iterator[arrays.Arrays]:
    try:
        with arrays.Arrays(path) as archive:
            yield archive
    except arrays.DAMAGE as error:
        raise ArtefactError(
            f"{path}: expected a checkpoint of this training, got {error!r:.200}; train "
            f"into another --run"
        ) from None


def _add(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, values, allow_pickle=False)
