"""Networks that would do more than compute: none is loaded, and nothing of them runs.

``test_saved_models`` has the attacks that take a SavedModel apart.
"""

import re
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit.backends.tensorflow import SavedModelRunner, load_runner
from kaggle_kit.errors import ArtefactError
from kaggle_kit.model.pretrained import load_weights
from tests.helpers.complaints import check_complaint

KIT = Path(__file__).parents[2] / "kaggle_kit"
SPEC = [tf.TensorSpec((None, 8, 8, 3), tf.uint8, "images")]
HACKED = "hacked"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The working folder, where a hack would leave a file."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def embedding(images):
    return tf.math.l2_normalize(tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]), -1)


def plain(images):
    return {"embedding": embedding(images)}


def writing(images):
    with tf.control_dependencies([tf.io.write_file(HACKED, "x")]):
        return {"embedding": embedding(images)}


@tf.function
def deeper(images):
    return writing(images)


def within(images):
    return deeper(images)


def in_a_branch(images):
    tf.cond(
        tf.shape(images)[0] > 0,
        lambda: tf.group(tf.io.write_file(HACKED, "x")),
        lambda: tf.group(),
    )
    return plain(images)


def printing(images):
    tf.print("x", output_stream=f"file://{Path(HACKED).absolute()}")
    return plain(images)


def reading(images):
    secret = tf.strings.length(tf.io.read_file("/etc/hostname"))
    return {"embedding": embedding(images) * tf.cast(secret, tf.float32)}


def python(images):
    done = tf.py_function(lambda: Path(HACKED).write_text("x"), [], tf.int32)
    with tf.control_dependencies([done]):
        return plain(images)


def listing(images):
    found = tf.size(tf.raw_ops.MatchingFiles(pattern="/*"))
    return {"embedding": embedding(images) * tf.cast(found, tf.float32)}


ATTACKS = [writing, within, in_a_branch, printing, reading, python, listing]


def saved(function, folder, **more):
    """A SavedModel whose ``serve`` is a function."""
    module = tf.Module()
    module.scale = tf.Variable(1.0)
    module.serve = tf.function(function, input_signature=SPEC)
    for name, value in more.items():
        setattr(module, name, value)
    tf.saved_model.save(module, str(folder))
    return folder


@pytest.fixture
def model(tmp_path):
    """A SavedModel that computes and no more."""
    return saved(plain, tmp_path / "model")


def check_refused(path, here, load=load_runner):
    with pytest.raises(ArtefactError) as caught:
        load(path)
    check_complaint(caught.value, path)
    assert not list(here.iterdir())


def test_a_network_that_computes_is_loaded(model):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    found = SavedModelRunner(model).start(pixels)()["embedding"]
    np.testing.assert_allclose(found, embedding(pixels), atol=1e-6)


@pytest.mark.parametrize("attack", [writing, within, in_a_branch, printing])
def test_the_attack_would_have_worked(attack, tmp_path, here):
    loaded = tf.saved_model.load(str(saved(attack, tmp_path / "model")))
    loaded.serve(np.zeros((1, 8, 8, 3), np.uint8))
    assert (here / HACKED).exists()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_network_that_touches_files_or_python_is_refused(attack, tmp_path, here):
    check_refused(saved(attack, tmp_path / "model"), here)


@pytest.mark.parametrize("way", ["one", "small"])
def test_so_is_one_that_does_it_where_time_is_short(way, tmp_path, here):
    attack = tf.function(writing, input_signature=SPEC)
    check_refused(saved(plain, tmp_path / "model", **{way: attack}), here)


def test_a_table_that_is_filled_when_it_is_loaded_is_refused(tmp_path, here):
    """As any resource: what makes it ready runs on loading."""
    names = tmp_path / "names.txt"
    names.write_text("a\nb\n")
    initial = tf.lookup.TextFileInitializer(
        str(names),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    table = tf.lookup.StaticHashTable(initial, -1)
    check_refused(saved(plain, tmp_path / "model", table=table), here)


def test_a_model_of_the_first_tensorflow_is_refused(tmp_path, here):
    """It has an operation that is run on loading."""
    folder = tmp_path / "model"
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        builder = v1.saved_model.Builder(str(folder))
        main = tf.group(tf.io.write_file(HACKED, "x"))
        builder.add_meta_graph_and_variables(session, ["serve"], main_op=main)
        builder.save()
    check_refused(folder, here)


def converted(function, path, ops):
    """A LiteRT file of a function."""
    module = tf.Module()
    module.serve = tf.function(function, input_signature=SPEC)
    concrete = module.serve.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    converter.target_spec.supported_ops = ops
    path.write_bytes(converter.convert())
    return path


def test_a_lite_file_with_operations_of_tensorflow_is_refused(tmp_path, here):
    """Flex operations may be any of TensorFlow's, such as one that writes a file."""
    both = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    path = converted(reading, tmp_path / "model.tflite", both)
    assert b"FlexReadFile" in path.read_bytes()
    with pytest.raises(ArtefactError, match="got 'Flex.*do not use") as caught:
        load_runner(path)
    check_complaint(caught.value, path)


# Keras' own files.


def bomb(path):
    """A ``.keras`` file with a layer that is Python code."""
    layer = keras.layers.Lambda(
        lambda x: (Path(HACKED).touch(), x)[1], output_shape=(8,)
    )
    keras.Sequential([keras.Input((8,)), layer]).save(path)
    return path


def test_a_keras_file_with_code_in_it_is_no_file_of_weights(tmp_path, here):
    path = bomb(tmp_path / "bomb.keras")
    shutil.rmtree(here)  # the layer ran when it was made
    here.mkdir()
    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    check_refused(path, here, lambda path: load_weights(network, str(path)))


def odd_weights(path, what):
    """A file of weights whose parts are not what they are called."""
    with h5py.File(path, "w") as file:
        if what == "a layer that is not there":
            file.attrs["layer_names"] = ["dense"]
        elif what == "layers without a name":
            file.attrs["layer_names"] = 3
        elif what == "weights that are not there":
            file.attrs["layer_names"] = ["dense"]
            file.create_group("dense").attrs["weight_names"] = ["kernel"]
        elif what == "a layer without weights":
            file.attrs["layer_names"] = ["dense"]
            file.create_group("dense")
        elif what == "layers that are numbers":
            file["layers"] = np.ones(3)
        elif what == "weights without a number":
            file["layers/dense/vars/kernel"] = np.ones((8, 2))
        elif what == "weights of text":
            file["layers/dense/vars/0"] = "text"
        else:
            file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/hostname", "/x")


@pytest.mark.parametrize(
    "what",
    [
        *("a layer that is not there", "layers without a name"),
        *("weights that are not there", "a layer without weights"),
        *("layers that are numbers", "weights without a number", "weights of text"),
        "a link to another file",
    ],
)
def test_a_file_of_weights_of_another_form_is_refused(what, tmp_path, here):
    path = tmp_path / "x.weights.h5"
    odd_weights(path, what)
    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="dense")])
    check_refused(path, here, lambda path: load_weights(network, str(path)))


def test_keras_refuses_it_too_unless_it_is_told_to_be_unsafe(tmp_path):
    with pytest.raises(ValueError, match="[Uu]nsafe|deserializ"):
        keras.saving.load_model(bomb(tmp_path / "bomb.keras"))


@pytest.mark.parametrize(
    "word",
    [
        *(
            "load_model(",
            "enable_unsafe_deserialization",
            "safe_mode",
            "allow_pickle=True",
        ),
        *(
            "yaml.unsafe_load",
            "yaml.full_load",
            "pickle.load(",
            "pickle.loads(",
            "eval(",
        ),
        *("exec(", "os.system(", "shell=True", "marshal.", "joblib.", "dill."),
    ],
)
def test_the_kit_has_no_call_that_runs_what_a_file_says(word):
    for path in KIT.rglob("*.py"):
        if path.name == "subprocess_call.py" and word.startswith("pickle."):
            continue  # it reads what the kit itself wrote to a pipe
        lines = path.read_text("utf-8").splitlines()
        harmless = re.compile(r"\.eval\(|literal_eval\(")
        assert not [line for line in lines if word in harmless.sub("", line)], path
