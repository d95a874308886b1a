"""All that a training goes on from: every variable, bit by bit, and how far it is."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage import arrays
from kaggle_kit.training.run_folder import save

PLACE = "place"  # the entry for how far a training is; the variables are numbered


def save_state(
    path: Path, variables: Sequence[Any], place: Sequence[float] = ()
) -> None:
    """Write a training's variables, and numbers that say how far it is, as an ``.npz``.

    One variable after another, so that memory holds one copy at most.
    """

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w") as archive:
            for i, variable in enumerate(variables):
                _add(archive, f"{i:05d}", keras.ops.convert_to_numpy(variable))
            _add(archive, PLACE, np.array(place, np.float64))

    save(write, path)


def load_state(path: Path, variables: Sequence[Any]) -> NDArray[np.float64]:
    """Give a training's variables the values they had; return how far it was.

    Raises:
        ArtefactError: no such file, a damaged one, or one of another network.
    """
    with _opened(path) as archive:
        names = [f"{i:05d}" for i in range(len(variables))]
        if set(archive) != {*names, PLACE}:
            raise ValueError(f"{len(archive) - 1} variables, not {len(names)}")
        for name, variable in zip(names, variables, strict=True):
            variable.assign(archive[name])
        return archive[PLACE]


def read_place(path: Path) -> NDArray[np.float64]:
    """How far a training was.

    Raises:
        ArtefactError: no such file, or a damaged one.
    """
    with _opened(path) as archive:
        return archive[PLACE]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with arrays.Arrays(path) as archive:
            yield archive
    except arrays.DAMAGE as error:
        raise ArtefactError(
            f"{path}: expected a checkpoint of this training, got {error!r:.200}; train into "
            f"another --run"
        ) from None


def _add(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, values, allow_pickle=False)
