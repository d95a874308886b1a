"""The embedders of a bundle are read in the order of the names of their folders."""

from types import SimpleNamespace

import numpy as np
import pytest

from kaggle_kit.bundling.embedders import write_whitenings
from kaggle_kit.config import Recognition
from kaggle_kit.inference.embedder_parts import load_parts
from kaggle_kit.local_features.vlad import Vocabulary
from kaggle_kit.retrieval.whitening import Whitening
from kaggle_kit.storage.manifest import upload_names

READER = SimpleNamespace(engine=SimpleNamespace(networks=["model"]))


@pytest.mark.parametrize(
    "runs",
    [["0", "1", "10", "2"], ["a", "a-b", "ab"]],
    ids=["numbers", "names"],
)
def test_parts_and_their_whitenings_are_in_the_order_of_the_runs(runs, tmp_path):
    """By name, as they always were; "a" before "a-b", though "a-b/..." is before "a/..."."""
    for i, run in enumerate(runs):
        (tmp_path / "embedders" / run).mkdir(parents=True)
        words = np.ones((i + 1, 2), np.float32)
        Vocabulary(words).save(tmp_path / "embedders" / run / "words.npy")
    widths = [2 * (i + 1) for i in range(len(runs))]
    whitenings = [
        Whitening(np.zeros(width, np.float32), np.eye(width, 1, dtype=np.float32))
        for width in widths
    ]
    write_whitenings(whitenings, tmp_path)
    parts = load_parts(tmp_path, Recognition(), READER, upload_names(tmp_path))
    assert [part.width for part in parts] == widths
    assert [len(part.whitening.mean) for part in parts] == widths
