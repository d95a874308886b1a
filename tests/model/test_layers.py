"""Layers and losses: their formulas, their limits, save and load, and never a NaN."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit.model.layers import (
    ArcFaceLoss,
    CosineHead,
    GeM,
    SmoothedCrossentropy,
    adacos_scale,
    class_margins,
)

X = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)  # DELF's pooling_test


@pytest.fixture
def mixed():
    """Keras' float16 policy, for the time of a test."""
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


# Pooling.


@pytest.mark.parametrize(
    ("p", "expected"),
    [(3.0, [4.1601677, 4.9866314]), (1.0, [3.0, 4.0]), (300.0, [6.0, 7.0])],
)
def test_gem_has_the_values_of_the_reference(p, expected):
    np.testing.assert_allclose(GeM(p)(X)[0], expected, rtol=1e-2 if p > 3 else 1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_gem_is_its_formula(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    p = rng.uniform(1, 6)
    slow = (np.maximum(x.astype(np.float64), 1e-6) ** p).mean(axis=(1, 2)) ** (1 / p)
    np.testing.assert_allclose(GeM(p)(x), slow, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, -5.0, 1e-8, 1e4, 6e4, 1e30])
@pytest.mark.parametrize("p", [1.0, 3.0, 40.0])
def test_gem_and_its_gradients_are_finite_whatever_comes(value, p):
    layer = GeM(p, trainable_p=True)
    x = tf.constant(np.float32([value, 0, 1, value]).reshape(1, 2, 2, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    gradients = tape.gradient(y, [x, *layer.trainable_weights])
    for found in (y, *gradients):
        assert np.isfinite(found).all()


def test_gem_pools_large_half_precision_activations_without_overflow(mixed):
    x = tf.fill((1, 4, 4, 2), tf.constant(6e4, tf.float16))
    y = GeM(3.0)(x)
    assert y.dtype == tf.float16
    np.testing.assert_allclose(np.asarray(y, np.float32), 6e4, rtol=1e-2)


def test_the_exponent_of_gem_is_not_rounded_to_half_precision(mixed, monkeypatch):
    seen, power = [], keras.ops.power
    monkeypatch.setattr(
        keras.ops, "power", lambda x, p: seen.append(float(p)) or power(x, p)
    )
    GeM(2.7183)(np.ones((1, 4, 4, 2), np.float16))
    assert seen[-2:] == pytest.approx([2.7183, 1 / 2.7183], rel=1e-6)


def test_a_learnt_exponent_stays_at_one_or_above():
    inputs = keras.Input((2, 2, 2))
    model = keras.Model(inputs, GeM(1.5, trainable_p=True, name="gem")(inputs))
    model.compile(keras.optimizers.SGD(50.0), "mse")
    model.fit(X, np.zeros((1, 2), np.float32), epochs=3, verbose=0)
    assert float(model.get_layer("gem").exponent) == 1.0
    fixed = GeM(3.0)
    fixed(X)
    assert not fixed.trainable_weights


# The head.


@pytest.mark.parametrize("sub_centres", [1, 3])
def test_cosine_head_is_its_formula(sub_centres):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4)).astype(np.float32)
    layer = CosineHead(5, 12.0, sub_centres)
    logits = layer(x).numpy()
    w = layer.directions.numpy().reshape(4, 5, sub_centres)
    for i in range(3):
        for c in range(5):
            cosines = [
                x[i] @ w[:, c, k] / np.linalg.norm(x[i]) / np.linalg.norm(w[:, c, k])
                for k in range(sub_centres)
            ]
            assert logits[i, c] == pytest.approx(12 * max(cosines), abs=1e-5)


def test_cosine_head_of_nothing_has_finite_values_and_gradients():
    layer = CosineHead(3, 12.0, 2)
    x = tf.zeros((2, 4))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    for found in (y, *tape.gradient(y, [x, *layer.trainable_weights])):
        assert np.isfinite(found).all()


def test_cosine_head_is_exact_in_half_precision(mixed):
    layer = CosineHead(5, 30.0)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float16)
    y = layer(x)
    assert y.dtype == tf.float32 and layer.directions.dtype == "float32"
    w = layer.directions.numpy()
    x = x.astype(np.float64)
    expected = x @ w / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(w, axis=0)
    np.testing.assert_allclose(y, 30 * expected, atol=1e-4)


def test_cosine_head_stays_float32_when_another_type_is_asked():
    layer = CosineHead(3, 12.0, dtype="mixed_float16")
    assert layer(np.ones((1, 4), np.float16)).dtype == tf.float32
    assert layer.compute_dtype == "float32"
    again = CosineHead.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_a_zero_embedding_in_half_precision_has_a_finite_gradient(mixed):
    layer, x = CosineHead(3, 12.0, 2), tf.zeros((2, 4), tf.float16)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    assert np.isfinite(tape.gradient(y, x)).all()


def test_the_weight_of_cosine_head_keeps_its_name_and_shape():
    for sub_centres in (1, 3):
        layer = CosineHead(5, 12.0, sub_centres)
        layer.build((None, 4))
        assert [(w.name, w.shape) for w in layer.weights] == [
            ("directions", (4, 5 * sub_centres))
        ]


# The losses.


def slow_arcface(labels, logits, scale, margin, smoothing):
    """By the definition, angle by angle, in float64."""
    losses = []
    for y, row in zip(labels, logits.astype(np.float64), strict=True):
        cos, m = row[y] / scale, margin[y]
        theta = np.arccos(cos)
        row[y] = scale * (
            np.cos(theta + m) if theta + m < np.pi else cos - m * np.sin(m)
        )
        log_p = row - row.max() - np.log(np.exp(row - row.max()).sum())
        losses.append(-(1 - smoothing) * log_p[y] - smoothing * log_p.mean())
    return np.array(losses)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_arcface_is_its_formula_on_both_branches(seed, smoothing):
    rng = np.random.default_rng(seed)
    scale, margin = rng.uniform(4, 40), rng.uniform(0.05, 0.5, 6)
    cosines = rng.uniform(-0.9999, 0.9999, (40, 6)).astype(np.float32)
    labels = rng.integers(0, 6, 40)
    cosines[:10, :] = -0.99  # theta + m beyond pi
    loss = ArcFaceLoss(scale, margin, smoothing, reduction=None)
    found = loss(labels, scale * cosines).numpy()
    expected = slow_arcface(labels, scale * cosines, scale, margin, smoothing)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_arcface_without_margins_is_cross_entropy():
    rng = np.random.default_rng(0)
    logits, labels = 8 * rng.uniform(-0.9, 0.9, (9, 4)), rng.integers(0, 4, 9)
    ours = ArcFaceLoss(8.0, [0.0] * 4)(labels, logits)
    keras_own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(ours) == pytest.approx(float(keras_own(labels, logits)), abs=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_cross_entropy_is_that_of_keras(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
    theirs = keras.losses.CategoricalCrossentropy(True, label_smoothing=smoothing)
    expected = float(theirs(np.eye(4)[labels], logits))
    assert float(SmoothedCrossentropy(smoothing)(labels, logits)) == pytest.approx(
        expected, abs=1e-5
    )
    assert float(SmoothedCrossentropy(smoothing)(labels[:, None], logits)) == (
        pytest.approx(expected, abs=1e-5)
    )


@pytest.mark.parametrize("cosine", [-1.0, -1.0000002, 1.0, 1.0000002, 0.0])
def test_arcface_is_finite_where_a_cosine_rounds_beyond_one(cosine):
    logits = tf.constant(np.float32([[30 * cosine, -3, 30]]))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = ArcFaceLoss(30.0, [0.5] * 3)([0], logits)
    assert np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, logits)).all()


@pytest.mark.parametrize("margin", [0.05, 0.5])
def test_arcface_is_its_clipped_formula_up_to_the_ends(margin):
    near = 1 - np.float32([0, 1e-7, 5e-7, 1e-6, 1e-5, 1e-4])
    cosines = np.concatenate([near, -near, np.linspace(-0.999, 0.999, 401)])
    cosines = cosines.astype(np.float32)
    theta = np.arccos(np.clip(cosines.astype(np.float64), -1 + 1e-7, 1 - 1e-7))
    beyond = np.cos(theta) - margin * np.sin(np.pi - margin)
    turned = np.cos(theta) > np.cos(np.pi - margin)
    expected = np.where(turned, np.cos(theta + margin), beyond)
    logits = np.stack([cosines, np.zeros_like(cosines)], axis=1)
    found = ArcFaceLoss(1.0, [margin] * 2, reduction=None)(0 * cosines, logits)
    changed = -np.log(np.expm1(np.asarray(found, np.float64)))  # of two logits, one 0
    np.testing.assert_allclose(changed, expected, atol=1e-5)


def test_arcface_pulls_even_what_points_the_other_way():
    logits = tf.constant([[-8.0, 8.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = ArcFaceLoss(8.0, [0.5, 0.5])([0], logits)
    np.testing.assert_allclose(tape.gradient(loss, logits), [[-1, 1]], atol=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_no_extreme_input_gives_a_nan(seed):
    rng = np.random.default_rng(seed)
    head, loss = CosineHead(4, 30.0, 2), ArcFaceLoss(30.0, [0.5] * 4, 0.1)
    head.build((None, 6))
    w = head.directions.numpy()
    rows = [np.zeros(6), w[:, 0], -w[:, 0], 1e4 * w[:, 3], rng.normal(size=6) * 65504]
    x = tf.constant(np.float32(rows)[rng.permutation(5)])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = loss(rng.integers(0, 4, 5), head(x))
    for found in (y, *tape.gradient(y, [x, head.directions.value])):
        assert np.isfinite(found).all()


def test_arcface_weighs_its_samples_as_keras_does():
    rng = np.random.default_rng(0)
    logits, labels = rng.uniform(-7, 7, (4, 3)), np.array([0, 1, 2, 0])
    weights = np.array([1.0, 2.0, 0.0, 4.0])
    each = ArcFaceLoss(8.0, [0.1, 0.2, 0.3], reduction=None)(labels, logits).numpy()
    whole = ArcFaceLoss(8.0, [0.1, 0.2, 0.3])
    expected = pytest.approx((each * weights).sum() / 4, abs=1e-5)
    assert float(whole(labels, logits, weights)) == expected
    assert float(whole(labels[:, None], logits, weights[:, None])) == expected


def test_arcface_comes_back_from_its_config():
    loss = ArcFaceLoss(8.0, np.array([0.1, 0.2]), 0.1)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()


def test_gradient_of_arcface_is_the_difference_quotient():
    rng = np.random.default_rng(1)
    logits = rng.uniform(-5, 5, (4, 3)).astype(np.float64)
    labels, loss = np.array([0, 1, 2, 0]), ArcFaceLoss(8.0, [0.1, 0.3, 0.5])
    x = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = loss(labels, x)
    found = tape.gradient(y, x).numpy()
    for place in np.ndindex(4, 3):
        step = np.zeros_like(logits)
        step[place] = 1e-2
        ends = [float(loss(labels, logits + sign * step)) for sign in (1, -1)]
        assert found[place] == pytest.approx((ends[0] - ends[1]) / 2e-2, abs=2e-3)


# Margins and scale.


def test_margins_have_the_values_of_the_published_code():
    counts = [1, 2, 5, 10, 20, 50, 100, 500, 1000, 6272]
    expected = [0.500, 0.419, 0.332, 0.278, 0.233, 0.184, 0.153, 0.100, 0.083, 0.050]
    np.testing.assert_allclose(class_margins(counts, 0.05, 0.5), expected, atol=5e-4)


def test_margins_of_equal_classes_and_of_empty_ones_are_numbers():
    assert class_margins([7, 7, 7], 0.1, 0.5).tolist() == pytest.approx([0.3] * 3)
    assert class_margins([3], 0.1, 0.5).tolist() == pytest.approx([0.3])
    assert class_margins([0, 1, 16], 0.1, 0.5).tolist() == pytest.approx(
        [0.5, 0.5, 0.1]
    )


@pytest.mark.parametrize(
    ("n_classes", "scale"), [(44, 5.32), (1000, 9.77), (81_313, 15.99)]
)
def test_adacos_scale_has_the_values_of_its_formula(n_classes, scale):
    assert adacos_scale(n_classes) == pytest.approx(scale, abs=5e-3)


def test_adacos_scale_of_few_classes_is_of_use():
    assert [adacos_scale(n) for n in (1, 2, 3)] == [2.0, 2.0, 2.0]


# All of it together.


def network():
    inputs = keras.Input((4, 4, 6))
    x = GeM(3.0, trainable_p=True, name="gem")(inputs)
    x = keras.layers.Dense(5)(x)
    return keras.Model(inputs, CosineHead(3, 8.0, 2, name="head")(x))


BATCH = np.random.default_rng(0).uniform(0, 3, (24, 4, 4, 6)).astype(np.float32)
LABELS = np.arange(24) % 3
LOAD = """
import sys, keras, numpy as np
import kaggle_kit.model.layers
model = keras.saving.load_model(sys.argv[1])
x, y = np.load(sys.argv[2]), np.arange(24) % 3
np.save(sys.argv[3], model.predict(x, verbose=0))
print(model.evaluate(x, y, verbose=0))
"""


def test_a_compiled_model_comes_back_whole_in_another_process(tmp_path):
    model = network()
    model.compile("adam", ArcFaceLoss(8.0, [0.1, 0.2, 0.3], 0.1), jit_compile=False)
    model.fit(BATCH, LABELS, epochs=2, verbose=0)
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", BATCH)
    command = [sys.executable, "-c", LOAD, "m.keras", "x.npy", "y.npy"]
    shown = subprocess.check_output(command, cwd=tmp_path, text=True)
    expected = model.evaluate(BATCH, LABELS, verbose=0)
    assert float(shown.splitlines()[-1]) == pytest.approx(expected, rel=1e-5)
    outputs = model.predict(BATCH, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), outputs, atol=1e-6)


def test_learns_in_mixed_precision_without_a_nan(mixed):
    keras.utils.set_random_seed(0)
    model = network()
    model.compile(keras.optimizers.Adam(0.05), ArcFaceLoss(8.0, [0.1, 0.2, 0.3]))
    signal = BATCH + 3 * np.eye(6, dtype=np.float32)[LABELS][:, None, None]
    history = model.fit(signal, LABELS, epochs=20, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < 0.5 * history[0]
