"""JSON files: what is written reads back, whole or not at all."""

import json
import math

import numpy as np
import pytest

from kaggle_kit.storage.json_files import DAMAGE, json_text, read_json, write_json

VALUES = {"name": "Orée", "numbers": [0.1, 1e-300, 7], "nothing": None}


def test_what_is_written_reads_back(tmp_path):
    path = tmp_path / "values.json"
    write_json(VALUES, path)
    assert read_json(path) == VALUES
    assert path.read_bytes() == (json.dumps(VALUES, indent=2) + "\n").encode()


def test_letters_stay_as_they_are_where_that_is_asked_for(tmp_path):
    path = tmp_path / "values.json"
    path.write_text(json_text(VALUES, ensure_ascii=False), encoding="utf-8")
    assert "Orée" in path.read_bytes().decode()
    assert read_json(path) == VALUES


def test_values_that_are_no_json_leave_the_old_file(tmp_path):
    path = tmp_path / "values.json"
    write_json(1, path)
    with pytest.raises(TypeError):
        write_json({"a": object()}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["values.json"]
    assert read_json(path) == 1


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"\xff", b"[" * 100_000],
    ids=["no file", "empty", "cut", "not UTF-8", "nested"],
)
def test_a_damaged_file_raises_what_the_readers_expect(content, tmp_path):
    path = tmp_path / "values.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DAMAGE):
        read_json(path)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999"])
def test_numbers_of_json_are_finite(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DAMAGE, match="not finite"):
        read_json(path)
    write_json({"a": [math.nan, -math.inf, 0.5], "b": np.float64("inf")}, path)
    assert path.read_text().count("null") == 3
    assert read_json(path) == {"a": [None, None, 0.5], "b": None}
