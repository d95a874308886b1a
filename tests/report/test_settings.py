"""How configs differ."""

from pathlib import Path

from kaggle_kit import config
from kaggle_kit.report.settings import differences, parent


def test_differences_are_the_settings_that_were_changed():
    demo = config.load(Path("demo.yaml"))
    changed = config.override(
        demo, {"train.epochs": 3, "recognition.verification": {"ratio": 0.5}}
    )
    found = {d.setting: (d.value, d.other) for d in differences(changed, demo)}
    assert found["train.epochs"] == (3, demo.train.epochs)
    assert found["recognition.verification.ratio"] == (0.5, None)
    assert all(n.startswith(("train.epochs", "recognition.verif")) for n in found)
    assert differences(demo, demo) == []


def test_the_parent_is_what_the_config_extends():
    name, base = parent(config.load(Path("demo.yaml")))
    assert name == "r50_64.yaml" and base == config.load(Path("r50_64.yaml"))


def test_a_config_of_the_users_own_is_told_from_the_defaults():
    for own in ("mine", "../r50_64", "r50_64"):
        name, base = parent(config.Config(name=own))
        assert name == "the defaults"
        assert differences(base, config.Config(name="x")) == []
