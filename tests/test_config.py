"""Settings: differences from a parent, single changes, and a word for each mistake."""

from pathlib import Path

import pytest

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(text, name="c.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_file_is_the_difference_from_its_parent(write):
    write("name: a\nseed: 4\ndata: {image_size: 64, stored_size: 80}\n", "a.yaml")
    path = write("extends: a.yaml\nname: b\ndata: {image_size: 48}\n", "b.yaml")
    settings = config.load(path)
    assert (settings.name, settings.seed) == ("b", 4)
    assert (settings.data.image_size, settings.data.stored_size) == (48, 80)


def test_a_circle_of_parents_is_refused(write):
    write("extends: b.yaml\nname: a\n", "a.yaml")
    path = write("extends: a.yaml\nname: b\n", "b.yaml")
    with pytest.raises(ConfigError, match="got a circle"):
        config.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: a\ntrain: {epoch: 3}",
            "no setting 'train.epoch': did you mean 'epochs'",
        ),
        ("name: a\ntrian: {}", "did you mean 'train'"),
        ("name: a\nqwerty: 1", "no setting 'qwerty'; known are name, seed"),
        ("name: a\ndata: {augment: {flop: true}}", "did you mean 'flip'"),
        ("seed: 1", "expected the setting 'name'"),
        ("name: a\ntrain: {epochs: 0}", "train.epochs: input should be greater than"),
        ("name: a\ntrain: {epochs: many}", "train.epochs: .* got 'many'"),
        ("name: a\nmodel: {head: softmax}", "model.head: .* got 'softmax'"),
        ("name: a\ndata: {image_size: 64, stored_size: 32}", "is below image_size 64"),
        ("name: [", "expected YAML settings"),
        ("- a", "expected YAML settings"),
        ("", "expected YAML settings"),
    ],
)
def test_a_mistake_is_named_in_one_line(text, message, write):
    with pytest.raises(ConfigError, match=message) as caught:
        config.load(write(text))
    assert "c.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: .* r50_64\.yaml"):
        config.load(tmp_path / "none.yaml")


def test_a_config_of_the_kit_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.load(Path("configs/r50_64.yaml")).name == "r50_64"
    assert config.load(Path("r50_64.yaml")).name == "r50_64"


def test_single_settings_are_replaced_by_dotted_name():
    settings = config.load(Path("r50_64.yaml"))
    changed = config.override(settings, {"train.epochs": 3, "data.augment.flip": False})
    assert changed.train.epochs == 3 and changed.data.augment.flip is False
    assert changed.model == settings.model
    assert settings.train.epochs == 32


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("train.epoch", 3, "did you mean 'epochs'"),
        ("trian.epochs", 3, "did you mean 'train'"),
        ("train.epochs.x", 3, "no setting"),
        ("train", 3, "train: "),
        ("train.epochs", 0, "got 0"),
    ],
)
def test_a_mistaken_change_is_named(name, value, message):
    with pytest.raises(ConfigError, match=message):
        config.override(config.load(Path("r50_64.yaml")), {name: value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.epochs=3", ("train.epochs", 3)),
        ("name=a=b", ("name", "a=b")),
        ("train.patience=null", ("train.patience", None)),
        ("subset.landmarks=[1, 2]", ("subset.landmarks", [1, 2])),
        ("train.learning_rate=1.0e-3", ("train.learning_rate", 0.001)),
    ],
)
def test_a_setting_is_split_into_name_and_value(text, expected):
    assert config.parse_setting(text) == expected


@pytest.mark.parametrize("text", ["train.epochs", "a=["])
def test_what_is_no_setting_is_refused(text):
    with pytest.raises(ConfigError, match="--set: expected"):
        config.parse_setting(text)


def test_a_config_reads_back_from_a_run(tmp_path):
    settings = config.load(Path("report64.yaml"))
    config.write_json(settings, tmp_path / "config.json")
    assert config.read_json(tmp_path / "config.json") == settings
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="expected a run's config"):
        config.read_json(tmp_path / "config.json")


def test_settings_cannot_be_changed_in_place():
    settings = Config(name="a")
    with pytest.raises(ValueError, match="frozen"):
        settings.train.epochs = 3


def test_the_reports_recipe_is_what_the_report_says():
    settings = config.load(Path("report64.yaml"))
    assert settings.subset.n_landmarks == 44
    assert settings.subset.choice == "most_images"
    assert settings.data.image_size == 64
    assert settings.model.pooling == "flatten" and settings.model.dropout > 0
    assert settings.model.head == "dense" and settings.model.embedding is None
    assert settings.train.optimizer == "adam" and settings.train.patience
    assert settings.recognition.ranking == "head"
