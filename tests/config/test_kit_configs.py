"""Configs and kernels of the kit are found by their names, from any folder."""

from pathlib import Path

import pytest

from kaggle_kit import config
from kaggle_kit.errors import ConfigError
from kaggle_kit.rehearsal.kernel_folder import find_kernel, read_kernel_metadata


@pytest.mark.parametrize("name", ["r50_64.yaml", "configs/r50_64.yaml"])
def test_a_config_of_ones_own_extends_one_of_the_kit(tmp_path, name):
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"extends: {name}\nname: mine\ntrain: {{epochs: 3}}\n")
    expected = {"name": "mine", "train.epochs": 3}
    assert config.load(mine) == config.override(
        config.load(Path("r50_64.yaml")), expected
    )


def test_a_config_beside_it_goes_first(tmp_path):
    (tmp_path / "r50_64.yaml").write_text("name: beside\nseed: 7\n")
    (tmp_path / "mine.yaml").write_text("extends: r50_64.yaml\nname: mine\n")
    assert config.load(tmp_path / "mine.yaml").seed == 7


def test_a_name_that_is_nowhere_is_still_one_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: r50_65.yaml\nname: mine\n")
    with pytest.raises(ConfigError, match="found no file.*r50_64.yaml"):
        config.load(tmp_path / "mine.yaml")


def test_a_kernel_of_the_kit_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        None,
        "inference",
        "kernels/inference",
        "kernels/training",
        "training",
    ):
        found = find_kernel(name and Path(name))
        assert (found / "kernel-metadata.json").is_file()
        kind = "training" if name and "training" in name else "inference"
        assert read_kernel_metadata(found).code_file == f"landmark-{kind}.py"
    (tmp_path / "inference").mkdir()
    assert find_kernel(Path("inference")).resolve() == tmp_path / "inference"
    assert find_kernel(None) != tmp_path / "inference"
