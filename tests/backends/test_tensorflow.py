"""Networks on several devices, with little memory, and as 8-bit integers."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.backends import tensorflow
from kaggle_kit.backends.litert import Lite
from kaggle_kit.backends.tensorflow import Saved, load_runner, mix_precision
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.classifier import classifier
from kaggle_kit.model.convert_litert import lite_int8
from kaggle_kit.model.export import export
from kaggle_kit.training.network import load_best


@pytest.fixture(scope="module")
def folder(settings, run_dir, tmp_path_factory):
    """The tiny run's network as a SavedModel and in integers."""
    out = tmp_path_factory.mktemp("networks")
    recognition = settings.recognition.model_copy(update={"head_exponent": 0.1})
    own = settings.model_copy(update={"recognition": recognition})
    export(load_best(run_dir, own), own, out / "model")
    lite_int8(out / "model", pixels(16, seed=1), out / "model.int8.tflite")
    return out


def pixels(n, seed=0):
    """Soft shapes: (n, 32, 32, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 5, 5, 3))
    resized = tf.image.resize(coarse, (32, 32), "bicubic")
    return np.clip(resized, 0, 255).astype(np.uint8)


def test_where_memory_ends_photos_are_run_in_halves(folder, caplog):
    saved = Saved(folder / "model")
    whole = saved.start(pixels(13))()
    real, sizes = saved.models[0], []

    class Full:
        def serve(self, some):
            sizes.append(len(some))
            if len(some) > 3:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM")
            return real.serve(some)

    saved.models = [Full()]
    with caplog.at_level("WARNING"):
        found = saved.start(pixels(13))()
    assert sizes == [13, 6, 3, 3, 3, 3, 1]
    assert "on with 3 photos at a time" in caplog.text
    for name in ("embedding", "log_probability"):
        np.testing.assert_allclose(found[name], whole[name], atol=1e-5)
    sizes.clear()
    saved.start(pixels(4))()
    assert sizes == [3, 1]  # it is not tried again


@pytest.mark.parametrize("error", [MemoryError, tf.errors.ResourceExhaustedError])
def test_memory_too_small_for_one_photo_is_told(folder, error):
    class Full:
        def serve(self, some):
            raise error(*(None, None, "OOM")[: 3 if error is not MemoryError else 0])

    saved = Saved(folder / "model")
    saved.models = [Full()]
    with pytest.raises(ArtefactError, match="memory for one photo of 32 px"):
        saved.start(pixels(5))()


def test_another_error_is_not_taken_for_it(folder):
    saved = Saved(folder / "model")
    with pytest.raises((ValueError, TypeError)):
        saved.start(pixels(5)[:, :, :, :1])()


DEVICES = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from kaggle_kit.backends.tensorflow import Saved
pixels = np.load(sys.argv[2])
whole = Saved(Path(sys.argv[1])).start(pixels)()
names = ["/CPU:0", "/CPU:1"]
both = Saved(Path(sys.argv[1]), names)
for model, name in zip(both.models, names):
    places = {weight.device for weight in model.weights}
    assert all(place.endswith(name[1:]) for place in places), places
for n in (len(pixels), 2, 1):
    found = both.start(pixels[:n])()
    for key in whole:
        np.testing.assert_allclose(found[key], whole[key][:n], atol=1e-5)
"""


def test_each_device_has_the_model_and_its_share(folder, tmp_path):
    """Two virtual CPUs in place of GPUs; also with fewer photos than devices."""
    np.save(tmp_path / "pixels.npy", pixels(9))
    command = [sys.executable, "-c", DEVICES, folder / "model", tmp_path / "pixels.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_integers_say_what_floats_say(folder):
    photos = pixels(24)
    expected = Saved(folder / "model").start(photos)()
    found = load_runner(folder / "model.int8.tflite").start(photos)()
    assert found.keys() == expected.keys() == {"embedding", "log_probability"}
    cosines = found["embedding"] @ expected["embedding"].T
    assert np.diag(cosines).min() > 0.97
    assert (np.abs(found["embedding"]).sum(axis=1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=1), 1, atol=1e-5)
    probability = np.exp(found["log_probability"])
    np.testing.assert_allclose(
        probability, np.exp(expected["log_probability"]), atol=0.1
    )


def test_a_photo_has_the_same_integers_alone_and_among_others(folder):
    photos = pixels(9)
    lite = Lite(folder / "model.int8.tflite", tf.lite.Interpreter, n_threads=3)
    together = lite.start(photos)()["embedding"]
    for i in (0, 5, 8):
        alone = lite.start(photos[i : i + 1])()["embedding"]
        np.testing.assert_array_equal(alone[0], together[i])


@pytest.mark.extended
def test_integers_are_a_quarter_of_the_room(settings, tmp_path):
    resnet = config.override(settings, {"model.backbone": "resnet50"})
    export(classifier(resnet.model, 32, 4), resnet, tmp_path / "model")
    lite_int8(tmp_path / "model", pixels(16, seed=1), tmp_path / "model.int8.tflite")
    values = sum(p.stat().st_size for p in (tmp_path / "model/variables").iterdir())
    assert (tmp_path / "model.int8.tflite").stat().st_size < 0.35 * values


def test_the_same_network_and_photos_give_the_same_bytes(folder, tmp_path):
    lite_int8(folder / "model", pixels(16, seed=1), tmp_path / "again.tflite")
    again = (tmp_path / "again.tflite").read_bytes()
    assert again == (folder / "model.int8.tflite").read_bytes()


def test_what_is_no_network_is_named(tmp_path):
    (tmp_path / "x.tflite").write_bytes(b"TFL3 but no more")
    (tmp_path / "model").mkdir()
    for path, kind in (
        (tmp_path / "x.tflite", "LiteRT file"),
        (tmp_path / "model", "SavedModel"),
    ):
        with pytest.raises(ArtefactError, match=f"expected a {kind}"):
            load_runner(path)


def test_integers_beside_a_gpu_are_told(folder, monkeypatch, caplog):
    monkeypatch.setattr(tensorflow, "gpus", lambda: ["/GPU:0"])
    with caplog.at_level("WARNING"):
        assert isinstance(load_runner(folder / "model.int8.tflite"), Lite)
    assert "the GPU is not used" in caplog.text


def test_mixed_precision_is_tensorflows():
    before = tf.config.optimizer.get_experimental_options()
    try:
        mix_precision()
        options = tf.config.optimizer.get_experimental_options()
        assert options["auto_mixed_precision"] is True
    finally:
        off = before | {"auto_mixed_precision": False}
        tf.config.optimizer.set_experimental_options(off)
