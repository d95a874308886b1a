"""Every setting says what it means, what it may be, and what it is unless it is set."""

import itertools
import re
from typing import get_args

import pytest

from kaggle_kit import config
from kaggle_kit.config.base import Settings
from kaggle_kit.config.explain import explain
from kaggle_kit.errors import ConfigError

MODELS = Settings.__subclasses__()
# The optional sections made, so that all settings have a place to be set at.
FULL = config.override(
    config.Config(name="x"), {"vlad": {}, "recognition.verification": {}}
)


def leaves(values: dict, before: str = "") -> dict[str, object]:
    """Nested settings by dotted name."""
    found: dict[str, object] = {}
    for key, value in values.items():
        below = leaves(value, f"{before}{key}.") if isinstance(value, dict) else {}
        found |= below or {f"{before}{key}": value}
    return found


def test_the_models_are_those_of_a_config():
    names = {model.__name__ for model in MODELS}
    assert names >= {"Config", "Subset", "Data", "Model", "Train", "Recognition"}
    assert names == {n for n in config.__all__ if n[0].isupper()}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_setting_has_a_meaning(model):
    assert model.__doc__
    for name, field in model.model_fields.items():
        if field.description is None:  # a section, which says itself what it is
            kinds = [field.annotation, *get_args(field.annotation)]
            assert set(kinds) & set(MODELS), name
        else:
            assert len(field.description) > 8 and field.description.isprintable(), name


def test_without_a_name_all_settings_are_explained_in_order():
    lines = explain().splitlines()
    heads = [line.split()[0] for line in lines if not line.startswith(" ")]
    of_stages = {"train.stages.epochs", "train.stages.image_size"}
    sections = {h for h in heads if any(o.startswith(f"{h}.") for o in heads)}
    expected = list(leaves(FULL.model_dump()))
    assert [
        h for h in heads if h not in of_stages | sections or h in expected
    ] == expected
    for line, after in itertools.pairwise(lines):
        assert line.startswith("    ") or after.startswith("    "), line
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("name", "name (required)", "text"),
        ("train.epochs", "train.epochs = 30", "a whole number from 0"),
        ("data.image_size", "data.image_size = 224", "a whole number from 32 to 2048"),
        ("model.dropout", "model.dropout = 0.0", "a number from 0 and below 1"),
        ("model.head", "model.head = dense", "one of dense, cosine, arcface"),
        ("train.patience", "train.patience = null", "a whole number from 1, or null"),
        ("recognition.flip", "recognition.flip = true", "true or false"),
        (
            "model.margin",
            "model.margin = [0.05, 0.5]",
            "a list of 2, each a number from 0 and below 1.5",
        ),
        (
            "subset.landmarks",
            "subset.landmarks = null",
            "a list of 1 or more, each a whole number, or null",
        ),
        (
            "recognition.verification.geometry",
            "recognition.verification.geometry = similarity",
            "one of similarity, homography",
        ),
    ],
)
def test_type_range_and_default_are_in_words(name, head, words):
    first, *rest = explain(name).splitlines()
    assert first == head
    assert rest[-1].strip() == words


@pytest.mark.parametrize(
    "name",
    [  # of a list, each value has its own
        n
        for n, value in leaves(FULL.model_dump()).items()
        if not isinstance(value, tuple) and "a list" not in explain(n)
    ],
)
def test_the_range_told_is_the_range_held(name):
    """Just inside it a value is taken, and just outside it is not."""
    words = explain(name).splitlines()[-1]
    for word, bound in re.findall(r"(from|above|to|below) ([\d.e+]+)", words):
        edge = float(bound) if "a number" in words else int(bound)
        step = 1 if isinstance(edge, int) else 1e-6
        outward = -step if word in ("from", "above") else step
        inside = edge if word in ("from", "to") else edge - outward
        outside = edge + outward if word in ("from", "to") else edge
        with pytest.raises(ConfigError, match=f"{name}: input should be"):
            config.override(FULL, {name: outside})
        try:
            config.override(FULL, {name: inside})
        except ConfigError as error:  # it may not go together with another setting
            assert "input should be" not in str(error)


def test_a_section_is_explained_with_what_is_below_it():
    lines = explain("recognition.verification").splitlines()
    assert lines[0] == "recognition.verification = null"
    heads = {line.split()[0] for line in lines if not line.startswith(" ")}
    below = config.Verification.model_fields
    assert heads == {
        "recognition.verification",
        *(f"recognition.verification.{key}" for key in below),
    }


@pytest.mark.parametrize(
    "name", ["train.epoch", "trian", "trian.epochs", "train.epochs.x", "qwerty", ""]
)
def test_an_unknown_name_is_told_as_a_change_of_it_is(name):
    with pytest.raises(ConfigError) as explained:
        explain(name)
    with pytest.raises(ConfigError) as changed:
        config.override(FULL, {name: 1})
    assert str(explained.value) == str(changed.value)
