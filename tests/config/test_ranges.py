"""Every setting that is a number is finite and has a range, wherever it comes from."""

import json

import pytest

from kaggle_kit import config
from kaggle_kit.config.base import Settings
from kaggle_kit.errors import ConfigError
from tests.config.test_explain import FULL, leaves
from tests.helpers.complaints import check_complaint

BAD = [float("nan"), float("inf"), float("-inf"), 3e37, -3e37]


def is_float(schema) -> bool:
    """Whether JSON Schema says that a value, or one in it, is a float."""
    if isinstance(schema, list):
        return any(map(is_float, schema))
    if not isinstance(schema, dict):
        return False
    return schema.get("type") == "number" or any(map(is_float, schema.values()))


def float_names() -> list[str]:
    found = []
    for name in leaves(FULL.model_dump()):
        owner: Settings = FULL
        *sections, key = name.split(".")
        for section in sections:
            owner = getattr(owner, section)
        if is_float(type(owner).model_json_schema()["properties"][key]):
            found.append(name)
    return found


FLOATS = float_names()


def test_there_are_floats_of_all_sections():
    sections = {name.split(".")[0] for name in FLOATS}
    assert sections == {"subset", "data", "model", "train", "recognition"}
    assert "recognition.verification.full_inliers" in FLOATS and len(FLOATS) >= 35


@pytest.mark.parametrize("name", FLOATS)
def test_no_float_is_infinite_or_beyond_any_sense(name, tmp_path):
    """From --set and from the file of a run, which another program may have written."""
    for value in BAD:
        forms = (value, [value], [value, value], [1.0, value])
        for form in forms:
            with pytest.raises(ConfigError) as caught:
                config.override(FULL, {name: form})
            assert name in str(caught.value)
        values = FULL.model_dump(mode="json")
        owner = values
        *sections, key = name.split(".")
        for section in sections:
            owner = owner[section]
        owner[key] = value
        path = tmp_path / "config.json"
        path.write_text(json.dumps(values))
        with pytest.raises(ConfigError) as caught:
            config.read_json(path)
        check_complaint(caught.value, path)


@pytest.mark.parametrize("weights", [[0.0], [0, 0], [1, 1e-9], [1e-300, 1]])
def test_embedders_whose_vectors_would_all_be_zero_are_refused(weights):
    with pytest.raises(ConfigError, match=r"recognition\.weights: expected"):
        config.override(FULL, {"recognition.weights": weights})


def test_weights_of_some_embedders_may_be_0():
    changed = config.override(FULL, {"recognition.weights": [0, 1, 1e-6]})
    assert changed.recognition.weights == (0, 1, 1e-6)
