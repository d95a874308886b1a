"""Plots of a run."""

import numpy as np
import pytest
from PIL import Image

from kaggle_kit.report.plots import learning_curves

HISTORY = {
    "usual": "epoch,loss,val_loss,accuracy,val_accuracy\n1,3,3,0.1,0.1\n2,2,2.5,0.4,0.3\n",
    "runaway": "epoch,loss,val_loss,accuracy,val_accuracy\n1,3,34000,0.1,0\n2,2,9,0.4,0\n",
    "one epoch": "epoch,loss,accuracy\n1,3,0.1\n",
}


@pytest.mark.parametrize("name", HISTORY)
def test_learning_curves_are_drawn(name, tmp_path):
    (tmp_path / "history.csv").write_text(HISTORY[name])
    learning_curves(tmp_path / "history.csv", tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1200, 480)
        assert len(np.unique(np.asarray(picture).reshape(-1, 4), axis=0)) > 50
    assert {p.name for p in tmp_path.iterdir()} == {"history.csv", "curves.png"}
