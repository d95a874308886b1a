"""Settings: differences from a parent, single changes, and a word for each mistake."""

import json
from pathlib import Path

import pytest
import yaml

from kaggle_kit import config
from kaggle_kit.config import Config
from kaggle_kit.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


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
    with pytest.raises(ConfigError, match="got a cycle"):
        config.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: a\ntrain: {epoch: 3}",
            "no setting 'train.epoch': did you mean 'epochs'",
        ),
        ("name: a\ntrian: {}", "did you mean 'train'"),
        ("name: a\nqwerty: 1", "no setting 'qwerty'; the settings are name, seed"),
        ("name: a\ndata: {augment: {flop: true}}", "did you mean 'flip'"),
        ("seed: 1", "expected the setting 'name'"),
        ("name: a\ntrain: {epochs: -1}", "train.epochs: input should be greater than"),
        ("name: a\ntrain: {epochs: many}", "train.epochs: .* got 'many'"),
        ("name: a\nmodel: {head: softmax}", "model.head: .* got 'softmax'"),
        (
            "name: a\ndata: {image_size: 64, stored_size: 32}",
            "at least image_size 64, got",
        ),
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
        ("train.epochs", -1, "got -1"),
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


def test_a_grandchild_has_what_no_one_nearer_says(write, tmp_path):
    (tmp_path / "base").mkdir()
    write(
        "name: a\nseed: 1\nsubset: {landmarks: [1, 2, 3], min_images: 2}\n"
        "data: {augment: {contrast: 0.1, brightness: 0.1}}\n",
        "base/a.yaml",
    )
    write(
        "extends: a.yaml\nname: b\nseed: 2\ndata: {augment: {contrast: 0.2}}\n",
        "base/b.yaml",
    )
    path = write("extends: base/b.yaml\nname: c\nsubset: {landmarks: [4]}\n", "c.yaml")
    settings = config.load(path)
    assert (settings.name, settings.seed) == ("c", 2)
    assert settings.subset.landmarks == (4,) and settings.subset.min_images == 2
    augment = settings.data.augment
    assert (augment.contrast, augment.brightness, augment.flip) == (0.2, 0.1, False)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_circle_of_any_length_is_refused(n, write):
    for i in range(n):
        write(f"extends: {(i + 1) % n}.yaml\nname: a\n", f"{i}.yaml")
    path = write("extends: 0.yaml\nname: a\n")
    with pytest.raises(ConfigError, match="got a cycle") as caught:
        config.load(path)
    assert "\n" not in str(caught.value)


def test_two_children_of_one_parent_are_no_circle(write):
    write("name: a\nseed: 5\n", "a.yaml")
    for name in ("b", "c"):
        path = write(f"extends: a.yaml\nname: {name}\n", f"{name}.yaml")
        assert config.load(path).seed == 5


@pytest.mark.parametrize("parent", ["gone.yaml", "/0", "/", "."])
def test_a_parent_that_is_no_file_is_named_with_its_child(parent, write):
    path = write(f"extends: {parent}\nname: a\n")
    with pytest.raises(ConfigError, match="expected (a config|YAML)") as caught:
        config.load(path)
    place = f"{path}: extends: {path.parent / parent}: "
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_each_config_loads_and_reads_back_from_json(path, tmp_path):
    settings = config.load(path)
    own = yaml.safe_load(path.read_text(encoding="utf-8"))
    dumped = settings.model_dump(mode="json")
    assert settings.name == own["name"] == path.stem
    for section in set(own) - {"extends", "name"}:
        for key, value in own[section].items():
            if not isinstance(value, dict):
                assert dumped[section][key] == value
    config.write_json(settings, tmp_path / "config.json")
    assert config.read_json(tmp_path / "config.json") == settings
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == json.loads(json.dumps(settings.model_dump()))


def test_there_are_configs():
    assert len(CONFIGS) >= 3


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("seed", 0, -1),
        ("seed", 2**31 - 1, 2**31),
        ("subset.validation_share", 0.0, -0.1),
        ("subset.validation_share", 0.99, 1.0),
        ("subset.min_images", 1, 0),
        ("subset.n_landmarks", 1, 0),
        ("subset.non_landmarks.penalty", 0.0, -0.5),
        ("data.augment.brightness", 1.0, 1.1),
        ("data.jpeg_quality", 100, 101),
        ("data.stored_size", 2048, 2049),
        ("model.dropout", 0.0, 1.0),
        ("train.learning_rate", 1e-9, 0.0),
        ("train.batch_size", 1, 0),
        ("recognition.new_gallery_limit", 0, -1),
    ],
)
def test_a_range_ends_where_it_says(name, inside, outside):
    changed = config.override(Config(name="a"), {name: inside})
    value = changed
    for part in name.split("."):
        value = getattr(value, part)
    assert value == inside
    with pytest.raises(ConfigError, match=rf"{name}: input should be .* got {outside}"):
        config.override(changed, {name: outside})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train.epochs", "many"),
        ("train.epochs", 2.5),
        ("train.epochs", None),
        ("train.epochs", [3]),
        ("data.augment.flip", "maybe"),
        ("subset.landmarks", ["tower"]),
        ("subset.landmarks", 7),
        ("train", None),
        ("name", 7),
    ],
)
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"--set: {name}") as caught:
        config.override(Config(name="a"), {name: value})
    assert "\n" not in str(caught.value)


def test_changes_that_only_fit_together_are_made_together():
    sizes = {"data.image_size": 512, "data.stored_size": 600}
    assert config.override(Config(name="a"), sizes).data.image_size == 512
    with pytest.raises(ConfigError, match="at least image_size 512, got"):
        config.override(Config(name="a"), {"data.image_size": 512})


def test_shares_are_added_up_before_they_are_believed():
    with pytest.raises(ConfigError, match="add up to at most 1, got"):
        config.override(Config(name="a"), {"subset.non_landmarks.penalty": 0.7})


def test_a_config_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json: expected a run's config"):
        config.read_json(tmp_path / "config.json")


def test_a_run_made_with_an_unknown_setting_is_refused(tmp_path):
    values = json.loads(Config(name="a").model_dump_json())
    values["train"]["epoch"] = 3
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        config.read_json(tmp_path / "config.json")


@pytest.mark.parametrize("parent", ["[a]", "3", "false"])
def test_a_parent_that_is_no_name_is_refused(parent, write):
    with pytest.raises(ConfigError, match="expected the name of another config"):
        config.load(write(f"name: a\nextends: {parent}\n"))


def test_a_change_below_a_plain_setting_is_named():
    with pytest.raises(ConfigError, match="no setting 'train.epochs.x.y'"):
        config.override(config.load(Path("r50_64.yaml")), {"train.epochs.x.y": 3})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"model.backbone": "none", "train.epochs": 0},
            "vlad: expected a section with .* got null",
        ),
        (
            {"model.backbone": "none", "vlad": {}},
            "train.epochs: expected 0 with .* got 30",
        ),
        (
            {"model.weights": "imagenet"},
            "model.weights: expected the path of a file .* got imagenet",
        ),
        (
            {"train.frozen_epochs": 99},
            "train.frozen_epochs: expected at most train.epochs 30, got 99",
        ),
        (
            {"model.pooling": "flatten", "recognition.scales": [1, 2]},
            "got flatten, which works with one image size only",
        ),
        (
            {"recognition.ranking": "head", "train.epochs": 0},
            "train.epochs: expected at least 1 .* a trained head, got 0",
        ),
        (
            {"recognition.head_exponent": 0.3, "train.epochs": 0},
            "train.epochs: expected at least 1 .* a trained head, got 0",
        ),
        (
            {"subset.validation_share": 0.5, "subset.test_share": 0.5},
            "expected validation_share and test_share to add up to less",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_named_in_one_line(changes, complaint):
    with pytest.raises(ConfigError, match=complaint) as caught:
        config.override(config.Config(name="x"), changes)
    assert "\n" not in str(caught.value)
    assert ": :" not in str(caught.value)


def test_a_setting_below_an_optional_section_is_found():
    """The message says how to make the section, or which setting was meant."""
    plain = config.Config(name="x")
    made = config.override(plain, {"recognition.verification": {}})
    with pytest.raises(ConfigError, match=r"set recognition.verification=\{geometry:"):
        config.override(plain, {"recognition.verification.geometry": "homography"})
    for base in (plain, made):
        with pytest.raises(ConfigError, match="did you mean 'geometry'"):
            config.override(base, {"recognition.verification.geometri": "homography"})
