"""When two runs are the same one."""

import h5py
import numpy as np
import pandas as pd

from kaggle_kit.data.non_landmarks import RECORD


def weights_of(run_dir):
    """Every array of a run's weights file, by its place in it."""
    found = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(run_dir / "model.weights.h5") as file:
        file.visititems(keep)
    return found


def assert_same_run(one, other):
    """Bit by bit the same weights, and the same history but for its seconds.

    A run of a session has no record of pools: these are made with its bundle.
    """
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys() and len(first) > 4
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    histories = [pd.read_csv(run / "history.csv") for run in (one, other)]
    pd.testing.assert_frame_equal(*(h.drop(columns="seconds") for h in histories))
    names = [{p.name for p in run.iterdir()} - {RECORD} for run in (one, other)]
    assert names[0] == names[1]


def save_weights(model, path):
    """Write every weight of a network, in order."""
    np.savez(path, *model.get_weights())


def load_weights(path):
    """Read them back."""
    with np.load(path) as archive:
        return [archive[name] for name in archive.files]
