"""TensorFlow and Keras are the kit's, whatever other projects have left behind."""

import json
import os
import subprocess
import sys

import pytest

LEFTOVERS = {
    "KERAS_BACKEND": "jax",
    "KERAS_MAX_EPOCHS": "many",
    "TF_USE_LEGACY_KERAS": "1",
}
STATE = (
    "from kaggle_kit.model.backbones import backbone\n"
    "from kaggle_kit.config import Model\n"
    "network = backbone(Model(backbone='efficientnet_lite0'), 64)\n"
    "from kaggle_kit.frameworks import keras\n"
    "print(keras.config.backend(), keras.config.floatx(), network.output.dtype,\n"
    "      tuple(network.output.shape))\n"
)


def run_python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("KERAS")}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=kept | variables,
    )


def test_what_other_projects_left_changes_nothing_and_stays_as_it_is(tmp_path):
    folder = tmp_path / ".keras"
    folder.mkdir()
    text = json.dumps(
        {
            "backend": "torch",
            "floatx": "float16",
            "epsilon": 1,
            "image_data_format": "channels_first",
        }
    )
    (folder / "keras.json").write_text(text)
    places = {"HOME": str(tmp_path), "KERAS_HOME": str(folder)}
    done = run_python(STATE, **LEFTOVERS, **places)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "tensorflow float32 float32 (None, 2, 2, 1280)\n"
    assert (folder / "keras.json").read_text() == text
    assert [path.name for path in folder.iterdir()] == ["keras.json"]


@pytest.mark.extended
def test_keras_imported_before_with_another_backend_is_one_line():
    """Only Keras's own answer is replaced: other backends are not installed here."""
    code = (
        "import keras\nkeras.config.backend = lambda: 'torch'\n"
        "from kaggle_kit.errors import KitError\n"
        "try: import kaggle_kit.frameworks\nexcept KitError as error: print(error)"
    )
    done = run_python(code)
    assert done.stdout.count("\n") == 1, done.stderr
    assert "KERAS_BACKEND" in done.stdout and "got torch" in done.stdout


def test_tensorflow_imported_before_for_another_keras_is_one_line():
    code = (
        "import sys, types\nsys.modules['tensorflow'] = types.ModuleType('tensorflow')\n"
        "from kaggle_kit.errors import KitError\n"
        "try: import kaggle_kit.frameworks\nexcept KitError as error: print(error)"
    )
    done = run_python(code, TF_USE_LEGACY_KERAS="1")
    assert done.stdout.startswith("TF_USE_LEGACY_KERAS: expected none"), done.stderr


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("floatx", "float16", "float32"),
        ("image_data_format", "channels_first", "channels_last"),
        ("dtype_policy", "mixed_float16", "float32"),
    ],
)
def test_settings_changed_in_this_program_are_named(settings, name, value, right):
    from kaggle_kit.errors import KitError
    from kaggle_kit.frameworks import keras
    from kaggle_kit.training.distribute import find_workers
    from kaggle_kit.training.network import build_network

    change = getattr(keras.config, f"set_{name}")
    change(value)
    try:
        with pytest.raises(KitError) as error:
            build_network(settings, 3, find_workers())
    finally:
        change(right)
    assert f"keras.config.{name}: expected {right}, got {value}" in str(error.value)
