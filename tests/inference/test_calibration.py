"""Calibration: the confidence of a guess becomes a probability."""

import numpy as np
import pytest

from kaggle_kit.bundling.calibrate import calibrate
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.calibration import Calibration
from kaggle_kit.storage.tables import Guess, Truth


def random_guesses(seed, n, slope=8.0, centre=0.3):
    """Guesses that are right with a logistic probability, and their truths."""
    rng = np.random.default_rng(seed)
    confidence = rng.normal(0.3, 0.4, n)
    probability = 1 / (1 + np.exp(-slope * (confidence - centre)))
    right = rng.random(n) < probability
    guesses = {f"{i:04}": Guess(7, float(c)) for i, c in enumerate(confidence)}
    truths = {
        key: Truth(frozenset({7}) if is_right else frozenset())
        for key, is_right in zip(guesses, right, strict=True)
    }
    return guesses, truths


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_recovers_a_known_curve(seed):
    calibration = calibrate(*random_guesses(seed, 4000))
    for confidence in np.linspace(-0.5, 1.0, 16):
        expected = 1 / (1 + np.exp(-8 * (confidence - 0.3)))
        assert calibration(confidence) == pytest.approx(expected, abs=0.05)
    assert calibration.n == 4000 and 0 < calibration.n_landmarks < 4000


def test_the_probability_is_monotonic_and_between_0_and_1():
    calibration = calibrate(*random_guesses(0, 200))
    values = [calibration(x) for x in (-1e9, -1.0, 0.0, 0.3, 1.0, 1e9)]
    assert values == sorted(values) and 0 <= values[0] and values[-1] <= 1


def test_the_slope_is_finite_for_separable_guesses():
    guesses = {f"{i:04}": Guess(7, i / 100) for i in range(100)}
    truths = {
        key: Truth(frozenset({7}) if guess.confidence > 0.5 else frozenset())
        for key, guess in guesses.items()
    }
    calibration = calibrate(guesses, truths)
    assert calibration(0.0) < 0.05 and calibration(1.0) > 0.95
    assert abs(calibration.slope) < 1e3


def test_there_is_no_calibration_if_all_guesses_are_right():
    guesses = {f"{i:04}": Guess(7, i / 100) for i in range(10)}
    assert calibrate(guesses, {key: Truth(frozenset({7})) for key in guesses}) is None


def test_there_is_no_calibration_if_confident_guesses_are_wrong():
    guesses = {f"{i:04}": Guess(7, i / 100) for i in range(10)}
    truths = {
        key: Truth(frozenset({7}) if guess.confidence < 0.05 else frozenset())
        for key, guess in guesses.items()
    }
    assert calibrate(guesses, truths) is None


def test_a_calibration_survives_save_and_load_and_damage_is_refused(tmp_path):
    calibration = Calibration(2.5, -0.5, 10, 4)
    calibration.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == calibration
    assert Calibration.load(tmp_path / "none.json") is None
    for text in (
        "{",
        '{"slope": 1}',
        '{"slope": NaN, "intercept": 0, "n": 1, "n_landmarks": 1}',
    ):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(ArtefactError, match="make the bundle again"):
            Calibration.load(tmp_path / "c.json")
