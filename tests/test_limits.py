"""Limits of time, memory and disk are finite numbers above 0, before anything is done."""

import math

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.bundling.training_bundle import build_training_bundle
from kaggle_kit.cli import main
from kaggle_kit.download.public_tars import download_tars
from kaggle_kit.errors import KitError
from kaggle_kit.inference.predict import predict
from kaggle_kit.limits import is_limit
from kaggle_kit.rehearsal.rehearse import rehearse
from kaggle_kit.training.kaggle_session import train_in_session
from kaggle_kit.training.trainer import train

BAD = [
    10**400,
    math.nan,
    math.inf,
    -math.inf,
    0,
    -1.0,
    True,
    "29",
    np.float32(math.nan),
]
SETTINGS = config.Config(name="x")
USES = {
    "time_limit_s of rehearse": lambda path, n: rehearse(path, path, path, n),
    "memory_gb": lambda path, n: rehearse(path, path, path, memory_gb=n),
    "time_limit_s of predict": lambda path, n: predict(path, path, path, n),
    "max_mb": lambda path, n: build_bundle([path], path, path, max_mb=n),
    "max_mb of a training": lambda path, n: build_training_bundle(
        SETTINGS, path, max_mb=n
    ),
    "disk_gb": lambda path, n: download_tars([0], path, url="file://", disk_gb=n),
}


@pytest.mark.parametrize("value", BAD, ids=repr)
@pytest.mark.parametrize("name", USES)
def test_what_is_no_limit_is_refused_in_one_line(name, value, tmp_path):
    """A limit that is not a number would never be exceeded."""
    with pytest.raises(KitError) as caught:
        USES[name](tmp_path / "none", value)
    line = str(caught.value)
    assert line.startswith(f"{name.split()[0]}: expected a finite number of ")
    assert line.isprintable() and not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "0", "-1", "1e999", "", "x"])
@pytest.mark.parametrize(
    "command",
    [
        "rehearse --memory-gb",
        "rehearse --time-limit-s",
        "predict --time-limit-s",
        "bundle --max-mb",
        "download --disk-gb",
    ],
)
def test_the_command_line_refuses_it_too(command, text, capsys):
    with pytest.raises(SystemExit) as caught:
        main(f"{command}={text}".split())
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert f"argument {command.split()[1]}: expected a number" in said, said


def test_numbers_of_any_type_are_limits():
    assert all(map(is_limit, (1, 0.5, np.float32(2), np.int64(3), 1e300)))


def test_a_training_stops_at_a_number(tmp_path):
    """Compared with what is not one, no time is late."""
    for use in (
        lambda: train(SETTINGS, tmp_path / "x", tmp_path / "y", stop_at=math.nan),
        lambda: train_in_session(
            tmp_path / "x", tmp_path / "y", tmp_path / "z", stop_at=math.nan
        ),
    ):
        with pytest.raises(KitError, match="stop_at: expected a time"):
            use()
    assert not list(tmp_path.iterdir())
