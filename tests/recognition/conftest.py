"""Runs and bundles that several tests of recognition need."""

import pytest

from kaggle_kit import config
from kaggle_kit.data.subset import subset
from kaggle_kit.publish.bundle import bundle
from kaggle_kit.training.fit import fit

LOCAL = {
    "name": "local",
    "model.backbone": "none",
    "train.epochs": 0,
    "vlad": {"words": 8},
    "local": {"n_features": 200},
    "recognition.whiten": 16,
    "recognition.whitening": "within",
    "recognition.verification": {"candidates": 6, "full_inliers": 6.0},
    "recognition.tune": True,
    "subset.validation_share": 0.3,
    "subset.test_share": 0.2,
    "subset.unknown_landmarks": 1,
    "subset.non_landmarks": {"penalty": 0.4, "validation": 0.3, "test": 0.3},
}


@pytest.fixture(scope="session")
def local(settings, competition, tmp_path_factory):
    """A run without a network on a subset with an unknown landmark, its bundle, its report."""
    out = tmp_path_factory.mktemp("local")
    changed = config.override(settings, LOCAL)
    subset(changed.subset, changed.seed, competition, out / "subset")
    fit(changed, out / "subset", out / "run")
    report = bundle([out / "run"], competition, out / "bundle")
    return out, report


@pytest.fixture(scope="session")
def both(settings, local, competition, tmp_path_factory):
    """The run without a network and one with, untrained, as an ensemble."""
    out = tmp_path_factory.mktemp("both")
    plain = config.override(
        settings, LOCAL | {"name": "net", "vlad": None, "model.backbone": "resnet50"}
    )
    fit(plain, local[0] / "subset", out / "run")
    report = bundle([local[0] / "run", out / "run"], competition, out / "bundle")
    return out, report
