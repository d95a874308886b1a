"""Checkpoints are on the disk when they have their names."""

import keras
import numpy as np

from kaggle_kit.training.checkpoint import load_checkpoint, write_checkpoint
from tests.helpers.flushes import Recorder


def test_a_checkpoint_is_flushed_before_its_rename_and_its_folder_after(
    tmp_path, monkeypatch
):
    recorder = Recorder(monkeypatch)
    path = tmp_path / "checkpoint-0001.npz"
    write_checkpoint(path, [keras.Variable(np.ones(3, np.float32))])
    assert recorder.renamed == [path.name] and not recorder.waiting
    variable = keras.Variable(np.zeros(3, np.float32))
    load_checkpoint(path, [variable])
    assert np.array(variable).tolist() == [1, 1, 1]
