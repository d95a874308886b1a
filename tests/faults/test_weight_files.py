"""HDF5 files of weights that reach into other files, or are bombs: refused by name."""

import os

import h5py
import numpy as np
import pytest

from kaggle_kit.model.weight_files import check_weights_file
from tests.helpers.fuzzing import run_blocks

ONES = np.ones((3, 4), np.float32)


@pytest.fixture
def path(tmp_path):
    """A plain file of weights, beside a file of numbers that is not for it."""
    ONES.tofile(tmp_path / "secret.bin")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = ONES
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = ONES
        file["layers/dense/vars/1"] = np.float32(3)
        file["layers/dense"].attrs["weight_names"] = [b"kernel", b"bias"]
        file.attrs["backend"] = "tensorflow"
        file.create_group("layers/empty/vars")
    return tmp_path / "x.weights.h5"


def external_link(file, folder):
    file["layers/a"] = h5py.ExternalLink(str(folder / "secret.h5"), "secret")


def soft_link(file, folder):
    file["layers/a"] = h5py.SoftLink("/layers/dense")


def external_data(file, folder):
    places = [(str(folder / "secret.bin"), 0, ONES.nbytes)]
    file.create_dataset("layers/a", ONES.shape, "f4", external=places)


def virtual_data(file, folder):
    layout = h5py.VirtualLayout(ONES.shape, "f4")
    layout[:] = h5py.VirtualSource(folder / "secret.h5", "secret", ONES.shape)
    file.create_virtual_dataset("layers/a", layout)


def bomb(file, folder):
    file.create_dataset("layers/a", (10**5, 10**5), "f4", chunks=(1000, 1000))


def compressed_bomb(file, folder):
    file.create_dataset(
        "layers/a", data=np.zeros(10**7, "f4"), compression="gzip", chunks=(10**6,)
    )


def many_of_one(file, folder):
    for i in range(3):
        file[f"layers/{i}"] = file["layers/dense/vars/0"]


def cycle(file, folder):
    file["layers/dense/again"] = file["layers"]


def texts(file, folder):
    file["layers/a"] = ["a"] * 10


def a_type(file, folder):
    file["layers/a"] = np.dtype("f4")


def names(file, folder):
    file["layers"].attrs.create("weight_names", np.zeros(11_000, "S1"))


TRICKS = [
    *(external_link, soft_link, external_data, virtual_data, bomb, compressed_bomb),
    *(many_of_one, cycle, texts, a_type, names),
]


def test_plain_weights_are_accepted(path):
    check_weights_file(path)


@pytest.mark.parametrize("trick", TRICKS)
def test_a_file_of_more_than_its_own_numbers_is_refused(trick, path, tmp_path, tried):
    if trick is names:
        with h5py.File(path, "w", libver="latest") as file:
            trick(file.create_group("layers").parent, tmp_path)
    else:
        with h5py.File(path, "a") as file:
            trick(file, tmp_path)

    def block(first, length, meter):
        with meter.attempt(trick), pytest.raises(ValueError) as caught:
            check_weights_file(path)
        assert len(str(caught.value)) < 300

    run_blocks(None, 1, block, tried, seconds=5, megabytes=100)


def test_the_link_that_is_refused_would_have_worked(path, tmp_path):
    with h5py.File(path, "a") as file:
        external_link(file, tmp_path)
        np.testing.assert_array_equal(file["layers/a"], ONES)


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.weights.h5")
    with pytest.raises(OSError, match="not a regular file"):
        check_weights_file(tmp_path / "x.weights.h5")
