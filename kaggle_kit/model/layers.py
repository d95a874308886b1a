"""Layers and losses that Keras does not have. They compute in float32."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_kit.frameworks import KerasTensor, keras, ops

EPSILON = 1e-6
MIN_SINE = 2e-7**0.5  # of a cosine of 1 - 1e-7
MIN_SCALE = 2.0  # of AdaCos, whose formula gives less for fewer than 6 classes


@keras.saving.register_keras_serializable("kaggle_kit")
class GeM(keras.layers.Layer):
    """Generalised-mean pooling over the positions of a feature map.

    ``(mean max(x, 1e-6)^p)^(1/p)``: p = 1 is the mean, and a large p approaches the
    maximum. The features are divided by their maximum before the power, to avoid overflow.

    Shapes: (batch, h, w, c) -> (batch, c).

    Args:
        p: the exponent, at least 1.
        trainable_p: whether p, one for all channels, is trained.

    Source: Radenović et al., arXiv:1711.02512.
    """

    def __init__(self, p: float = 3.0, trainable_p: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.p = p
        self.trainable_p = trainable_p

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the exponent, a scalar."""
        self.exponent = self.add_weight(
            name="p",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(self.p),
            constraint=AtLeastOne(),
            trainable=self.trainable_p,
            autocast=False,  # float16 would round p
        )

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """(batch, h, w, c) -> (batch, c)."""
        x = ops.maximum(ops.cast(inputs, "float32"), EPSILON)
        p = self.exponent
        largest = ops.stop_gradient(ops.max(x, axis=(1, 2), keepdims=True))
        mean = ops.mean(ops.power(x / largest, p), axis=(1, 2))
        pooled = ops.power(mean, 1 / p) * largest[:, 0, 0]
        return ops.cast(pooled, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments, for serialization by Keras."""
        own = {"p": self.p, "trainable_p": self.trainable_p}
        return super().get_config() | own


@keras.saving.register_keras_serializable("kaggle_kit")
class AtLeastOne(keras.constraints.Constraint):
    """Constrains a weight to at least 1."""

    def __call__(self, w: KerasTensor) -> KerasTensor:
        """The weight, of any shape, with values below 1 replaced by 1."""
        return ops.maximum(w, ops.cast(1, w.dtype))


@keras.saving.register_keras_serializable("kaggle_kit")
class CosineHead(keras.layers.Layer):
    """Scaled cosine between an embedding and the trained centres of each class.

    ``logit_c = scale * max_k x.w_ck / (|x| |w_ck|)``. A class with different appearances,
    such as inside and outside, can have several centres (Deng et al., "Sub-center
    ArcFace", ECCV 2020). Shapes: (batch, d) -> (batch, n_classes) float32, for any
    ``dtype``.

    Args:
        n_classes: C.
        scale: the largest logit; the softmax of unscaled cosines would be almost uniform.
        sub_centres: centres per class.
        by_rows: store a centre in a row of the weight instead of a column, so that the
            centres of some classes can be gathered and scattered.
    """

    def __init__(
        self,
        n_classes: int,
        scale: float,
        sub_centres: int = 1,
        by_rows: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs | {"dtype": "float32"})
        self.n_classes = n_classes
        self.scale = scale
        self.sub_centres = sub_centres
        self.by_rows = by_rows

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Create the centres: (d, C * sub_centres), transposed with ``by_rows``."""
        shape = (input_shape[-1], self.n_classes * self.sub_centres)
        self.directions = self.add_weight(
            name="directions",
            shape=shape[::-1] if self.by_rows else shape,
            initializer="glorot_uniform",
        )

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """(batch, d) -> (batch, n_classes) logits."""
        if self.by_rows:
            return self.logits(inputs, self.directions)
        return self._logits(inputs, _unit(ops.cast(self.directions, "float32"), axis=0))

    def logits(self, inputs: KerasTensor, rows: KerasTensor) -> KerasTensor:
        """The logits of the classes whose centres are given as rows.

        Shapes: (batch, d), (n * sub_centres, d) -> (batch, n).
        """
        directions = _unit(ops.cast(rows, "float32"), axis=-1)
        return self._logits(inputs, ops.transpose(directions))

    def _logits(self, inputs: KerasTensor, columns: KerasTensor) -> KerasTensor:
        """(batch, d), (d, n * sub_centres) of unit length -> (batch, n)."""
        cosine = ops.matmul(_unit(ops.cast(inputs, "float32"), axis=-1), columns)
        if self.sub_centres > 1:
            shape = (-1, columns.shape[1] // self.sub_centres, self.sub_centres)
            cosine = ops.max(ops.reshape(cosine, shape), axis=-1)
        return self.scale * cosine

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments, for serialization by Keras."""
        own = {
            "n_classes": self.n_classes,
            "scale": self.scale,
            "sub_centres": self.sub_centres,
            "by_rows": self.by_rows,
        }
        return super().get_config() | own


@keras.saving.register_keras_serializable("kaggle_kit")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits with label smoothing, for integer labels.

    ``-(1 - e) log p_y - (e / C) sum_c log p_c``, where e is ``label_smoothing``. Shapes:
    (batch,), (batch, C) -> (batch,).
    """

    def __init__(
        self, label_smoothing: float = 0.0, name: str = "crossentropy", **kwargs: Any
    ):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """The losses: (batch,) labels, (batch, C) logits -> (batch,)."""
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        log_p = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        own = ops.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
        e = self.label_smoothing
        return -(1 - e) * own - e * ops.mean(log_p, axis=-1)

    def among(
        self, y_true: KerasTensor, y_pred: KerasTensor, classes: KerasTensor
    ) -> KerasTensor:
        """The losses, (batch,), from logits of a subset of the classes.

        Args:
            y_true: (batch,) labels, among all classes.
            y_pred: (batch, n) logits.
            classes: (n,) the classes of the logits in rising order, which include all of
                ``y_true``.
        """
        return SmoothedCrossentropy.call(self, _index_in(classes, y_true), y_pred)

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments, for serialization by Keras."""
        return super().get_config() | {"label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("kaggle_kit")
class ArcFaceLoss(SmoothedCrossentropy):
    """Cross-entropy after adding a margin to the angle of the true class.

    The network computes ``scale * cos(theta)``, as in inference. The loss replaces the
    cosine of the true class y by::

        cos(theta_y + m_y)          if theta_y + m_y < pi
        cos(theta_y) - m_y sin(m_y) otherwise, so that it stays monotone

    Args:
        scale: of the head.
        margins: (C,) radians.
        label_smoothing: as in ``SmoothedCrossentropy``.

    Source: Deng et al., arXiv:1801.07698, with one margin for all classes. The second case
    is from their code; ``class_margins`` gives margins by class.
    """

    def __init__(
        self,
        scale: float,
        margins: Sequence[float],
        label_smoothing: float = 0.0,
        name: str = "arcface",
        **kwargs: Any,
    ):
        super().__init__(label_smoothing, name=name, **kwargs)
        self.scale = scale
        self.margins = tuple(map(float, margins))

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """As in ``SmoothedCrossentropy``, with margins."""
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        return super().call(labels, self._add_margins(y_pred, labels, labels))

    def among(
        self, y_true: KerasTensor, y_pred: KerasTensor, classes: KerasTensor
    ) -> KerasTensor:
        """As in ``SmoothedCrossentropy``, with margins."""
        logits = self._add_margins(y_pred, y_true, _index_in(classes, y_true))
        return super().among(y_true, logits, classes)

    def _add_margins(
        self, logits: KerasTensor, labels: KerasTensor, index: KerasTensor
    ) -> KerasTensor:
        """Add the margins of ``labels`` to the logits at ``index`` of each row."""
        margin = ops.take(ops.convert_to_tensor(self.margins, "float32"), labels)
        logits = ops.cast(logits, "float32")
        own = ops.take_along_axis(logits, index[:, None], axis=-1)[:, 0]
        changed = self.scale * _cosine_with_margin(own / self.scale, margin)
        is_own = ops.one_hot(index, logits.shape[-1], dtype="float32")
        return logits + is_own * (changed - own)[:, None]

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments, for serialization by Keras."""
        own = {"scale": self.scale, "margins": list(self.margins)}
        return super().get_config() | own


def class_margins(
    counts: ArrayLike, smallest: float, largest: float
) -> NDArray[np.float64]:
    """Margins by class size, in radians: the rarer a class, the larger its margin.

    For a class of n images the margin is linear in ``t = n^(-1/4)``, from ``smallest`` for
    the largest class to ``largest`` for the smallest class.

    Args:
        counts: (C,) images of each class.
        smallest, largest: margins of the largest and of the smallest class.

    Returns:
        (C,) radians.

    Source: the third place of 2020 (Ha et al., arXiv:2010.05350). Of the kit: an empty class
    counts as one image, and if all classes have the same size, all margins are the mean of
    both ends.

    >>> class_margins([1, 10_000], 0.05, 0.5)
    array([0.5 , 0.05])
    """
    t = np.maximum(np.asarray(counts, np.float64), 1) ** -0.25
    spread = t.max() - t.min()
    share = (t - t.min()) / spread if spread else np.full(t.shape, 0.5)
    return smallest + (largest - smallest) * share


def adacos_scale(n_classes: int) -> float:
    """The scale of a cosine head for a number of classes C, ``sqrt(2) ln(C - 1)``.

    It is at least 2: a lower scale makes the softmax almost uniform for any cosines.

    Source: the fixed scale of AdaCos, Zhang et al., arXiv:1905.00292; their other one changes
    during training. The lower bound is the kit's.
    """
    return max(MIN_SCALE, math.sqrt(2) * math.log(max(2, n_classes) - 1))


def _index_in(classes: KerasTensor, labels: KerasTensor) -> KerasTensor:
    """The index of each label, (batch,), in classes in rising order."""
    labels = ops.cast(labels, "int32")
    return ops.cast(ops.searchsorted(ops.cast(classes, "int32"), labels), "int32")


def _unit(x: KerasTensor, axis: int) -> KerasTensor:
    """Normalize vectors to length 1; vectors shorter than 1e-6, and their gradients, are 0.

    Dividing those by 1e-6 would give a gradient too large for float16.
    """
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    x = ops.where(squares > EPSILON**2, x, 0.0)
    return x * ops.rsqrt(ops.maximum(squares, EPSILON**2))


def _cosine_with_margin(cosine: KerasTensor, margin: KerasTensor) -> KerasTensor:
    """The cosine after adding a margin to the angle, (batch,); see ``ArcFaceLoss``."""
    # (1 - c)(1 + c) is more accurate than 1 - c^2. The lower bound keeps the gradient of
    # the root finite and, unlike a clipped cosine, nonzero at a cosine of -1.
    sine = ops.sqrt(ops.maximum((1 - cosine) * (1 + cosine), MIN_SINE**2))
    added = cosine * ops.cos(margin) - sine * ops.sin(margin)
    beyond_pi = cosine - margin * ops.sin(margin)
    return ops.where(cosine > -ops.cos(margin), added, beyond_pi)
