"""Networks on several devices, with little memory, and in 8-bit integers."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.backends import tensorflow
from kaggle_kit.backends.litert import LiteRunner
from kaggle_kit.backends.tensorflow import (
    SavedModelRunner,
    enable_mixed_precision,
    load_runner,
)
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.classifier import classifier
from kaggle_kit.model.convert_litert import convert_to_int8
from kaggle_kit.model.export import export
from kaggle_kit.training.network import load_best


@pytest.fixture(scope="module")
def folder(settings, run_dir, tmp_path_factory):
    """The network of the small run, as a SavedModel and as a LiteRT file in integers."""
    out = tmp_path_factory.mktemp("networks")
    recognition = settings.recognition.model_copy(update={"head_exponent": 0.1})
    with_head = settings.model_copy(update={"recognition": recognition})
    export(load_best(run_dir, with_head), with_head, out / "model")
    convert_to_int8(out / "model", pixels(16, seed=1), out / "model.int8.tflite")
    return out


def pixels(n, seed=0):
    """Smooth shapes, (n, 32, 32, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 5, 5, 3))
    resized = tf.image.resize(coarse, (32, 32), "bicubic")
    return np.clip(resized, 0, 255).astype(np.uint8)


def test_out_of_memory_a_batch_is_halved(folder, caplog):
    runner = SavedModelRunner(folder / "model")
    expected = runner.start(pixels(13))()
    model, sizes = runner.models[0], []

    class SmallMemory:
        def serve(self, batch):
            sizes.append(len(batch))
            if len(batch) > 3:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM")
            return model.serve(batch)

    runner.models = [SmallMemory()]
    with caplog.at_level("WARNING"):
        outputs = runner.start(pixels(13))()
    assert sizes == [13, 6, 3, 3, 3, 3, 1]
    assert "running 3 images at a time" in caplog.text
    for name in ("embedding", "log_probability"):
        np.testing.assert_allclose(outputs[name], expected[name], atol=1e-5)
    sizes.clear()
    runner.start(pixels(4))()
    assert sizes == [3, 1]  # the larger batch is not tried again


@pytest.mark.parametrize("error", [MemoryError, tf.errors.ResourceExhaustedError])
def test_memory_too_small_for_one_image_is_an_error(folder, error):
    class NoMemory:
        def serve(self, batch):
            raise error(*(None, None, "OOM")[: 3 if error is not MemoryError else 0])

    runner = SavedModelRunner(folder / "model")
    runner.models = [NoMemory()]
    with pytest.raises(ArtefactError, match="memory for one image of 32 px"):
        runner.start(pixels(5))()


def test_another_error_is_not_taken_for_out_of_memory(folder):
    runner = SavedModelRunner(folder / "model")
    with pytest.raises((ValueError, TypeError)):
        runner.start(pixels(5)[:, :, :, :1])()


DEVICES = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from kaggle_kit.backends.tensorflow import SavedModelRunner
pixels = np.load(sys.argv[2])
expected = SavedModelRunner(Path(sys.argv[1])).start(pixels)()
names = ["/CPU:0", "/CPU:1"]
runner = SavedModelRunner(Path(sys.argv[1]), names)
for model, name in zip(runner.models, names):
    devices = {weight.device for weight in model.weights}
    assert all(device.endswith(name[1:]) for device in devices), devices
for n in (len(pixels), 2, 1):
    outputs = runner.start(pixels[:n])()
    for key in expected:
        np.testing.assert_allclose(outputs[key], expected[key][:n], atol=1e-5)
"""


def test_each_device_has_the_model_and_its_share(folder, tmp_path):
    """Two virtual CPUs in place of GPUs; also with fewer images than devices."""
    np.save(tmp_path / "pixels.npy", pixels(9))
    command = [sys.executable, "-c", DEVICES, folder / "model", tmp_path / "pixels.npy"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]


def test_integers_give_nearly_the_outputs_of_floats(folder):
    images = pixels(24)
    expected = SavedModelRunner(folder / "model").start(images)()
    outputs = load_runner(folder / "model.int8.tflite").start(images)()
    assert outputs.keys() == expected.keys() == {"embedding", "log_probability"}
    embeddings = outputs["embedding"]
    assert np.diag(embeddings @ expected["embedding"].T).min() > 0.97
    assert (np.abs(embeddings).sum(axis=1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    probability = np.exp(outputs["log_probability"])
    np.testing.assert_allclose(
        probability, np.exp(expected["log_probability"]), atol=0.1
    )


def test_an_image_has_the_same_embedding_alone_and_among_others(folder):
    images = pixels(9)
    runner = LiteRunner(folder / "model.int8.tflite", tf.lite.Interpreter, n_threads=3)
    together = runner.start(images)()["embedding"]
    for i in (0, 5, 8):
        alone = runner.start(images[i : i + 1])()["embedding"]
        np.testing.assert_array_equal(alone[0], together[i])


@pytest.mark.extended
def test_integers_take_about_a_quarter_of_the_size(settings, tmp_path):
    resnet = config.override(settings, {"model.backbone": "resnet50"})
    export(classifier(resnet.model, 32, 4), resnet, tmp_path / "model")
    convert_to_int8(
        tmp_path / "model", pixels(16, seed=1), tmp_path / "model.int8.tflite"
    )
    size = sum(p.stat().st_size for p in (tmp_path / "model/variables").iterdir())
    assert (tmp_path / "model.int8.tflite").stat().st_size < 0.35 * size


def test_the_same_network_and_images_give_the_same_bytes(folder, tmp_path):
    convert_to_int8(folder / "model", pixels(16, seed=1), tmp_path / "second.tflite")
    second = (tmp_path / "second.tflite").read_bytes()
    assert second == (folder / "model.int8.tflite").read_bytes()


def test_a_network_whose_embedding_has_no_fixed_width_is_refused(tmp_path):
    signature = [tf.TensorSpec((None, 32, 32, 3), tf.uint8, "images")]

    @tf.function(input_signature=signature)
    def serve(images):
        flat = tf.reshape(tf.cast(images, tf.float32), (-1, 32 * 32 * 3))
        return {"embedding": flat[:, : tf.shape(flat)[0]]}

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=serve)
    with pytest.raises(ArtefactError, match="expected a SavedModel"):
        load_runner(tmp_path / "model")


def save_views(folder, **views):
    """A SavedModel with a function for each view: images of a side to a dictionary."""
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    for name, (function, side) in views.items():
        spec = [tf.TensorSpec((None, side, side, 3), tf.uint8, "images")]
        setattr(module, name, tf.function(function, input_signature=spec))
    tf.saved_model.save(module, str(folder))
    return folder


def mean(images):
    return {"embedding": tf.reduce_mean(tf.cast(images, tf.float32), [1, 2])}


def folded(images):
    """Runs for an even number of images alone."""
    rows = tf.reshape(mean(images)["embedding"], (-1, 2, 3))
    return {"embedding": tf.reduce_mean(rows, 1)}


@pytest.mark.parametrize(
    "views",
    [
        {"one": (mean, 32)},
        {"serve": (mean, 32), "small": (mean, 64)},
        {"serve": (mean, 32), "one": (lambda x: {"other": mean(x)["embedding"]}, 32)},
        {"serve": (lambda x: mean(x)["embedding"], 32)},
        {"serve": (mean, 8193)},
    ],
)
def test_views_that_do_not_go_together_are_refused(views, tmp_path):
    with pytest.raises(ArtefactError, match="expected a SavedModel"):
        load_runner(save_views(tmp_path / "model", **views))


def test_a_network_that_fails_as_it_runs_is_an_error_of_its_file(tmp_path):
    runner = load_runner(save_views(tmp_path / "model", serve=(folded, 32)))
    assert len(runner.start(pixels(4))()["embedding"]) == 2
    with pytest.raises(ArtefactError, match=r"model: expected a SavedModel, got"):
        runner.start(pixels(3))()


def test_files_that_are_no_network_are_refused(tmp_path):
    (tmp_path / "x.tflite").write_bytes(b"TFL3 but no more")
    (tmp_path / "model").mkdir()
    for path, kind in (
        (tmp_path / "x.tflite", "LiteRT file"),
        (tmp_path / "model", "SavedModel"),
    ):
        with pytest.raises(ArtefactError, match=f"expected a {kind}"):
            load_runner(path)


def test_integers_on_a_machine_with_a_gpu_give_a_warning(folder, monkeypatch, caplog):
    monkeypatch.setattr(tensorflow, "gpus", lambda: ["/GPU:0"])
    with caplog.at_level("WARNING"):
        assert isinstance(load_runner(folder / "model.int8.tflite"), LiteRunner)
    assert "the GPU is not used" in caplog.text


def test_mixed_precision_sets_the_option_of_tensorflow():
    before = tf.config.optimizer.get_experimental_options()
    try:
        enable_mixed_precision()
        options = tf.config.optimizer.get_experimental_options()
        assert options["auto_mixed_precision"] is True
    finally:
        restored = before | {"auto_mixed_precision": False}
        tf.config.optimizer.set_experimental_options(restored)
