"""Layers and losses that Keras does not have; float32 inside, whatever is around them."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops
from numpy.typing import ArrayLike, NDArray

EPSILON = 1e-6
LEAST_SINE = 2e-7**0.5  # that of a cosine of 1 - 1e-7
LEAST_SCALE = 2.0  # of AdaCos, whose formula gives less for fewer than 6 classes


@keras.saving.register_keras_serializable("kaggle_kit")
class GeM(keras.layers.Layer):
    """Generalised mean over the places of a feature map.

    ``(mean max(x, 1e-6)^p)^(1/p)``: p = 1 is the mean, and a large p comes near the maximum. What is
    raised to the power is divided by its maximum first, so nothing overflows.

    Shapes: (batch, h, w, c) -> (batch, c).

    Args:
        p: the exponent, at least 1.
        trainable_p: whether p is learnt, one for all channels.

    Source: Radenović et al., arXiv:1711.02512.
    """

    def __init__(self, p: float = 3.0, trainable_p: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.p = p
        self.trainable_p = trainable_p

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the exponent, one number."""
        self.exponent = self.add_weight(
            name="p",
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(self.p),
            constraint=AtLeastOne(),
            trainable=self.trainable_p,
            autocast=False,  # float16 would round it
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
        """What makes it again, for Keras's files."""
        own = {"p": self.p, "trainable_p": self.trainable_p}
        return super().get_config() | own


@keras.saving.register_keras_serializable("kaggle_kit")
class AtLeastOne(keras.constraints.Constraint):
    """Keeps a weight at 1 or above."""

    def __call__(self, w: KerasTensor) -> KerasTensor:
        """The weight, any shape, or 1 where it is less."""
        return ops.maximum(w, ops.cast(1, w.dtype))


@keras.saving.register_keras_serializable("kaggle_kit")
class CosineHead(keras.layers.Layer):
    """Scaled cosine between an embedding and learnt directions of each class.

    ``logit_c = scale * max_k x.w_ck / (|x| |w_ck|)``. A class of several looks (inside and
    outside, say) may have a direction for each (Deng et al., "Sub-center ArcFace", ECCV
    2020). Shapes: (batch, d) -> (batch, n_classes) float32, whatever ``dtype`` is asked.

    Args:
        n_classes: C.
        scale: the largest logit; softmax of plain cosines would be almost flat.
        sub_centres: directions per class.
        by_rows: keep a direction in a row of the weight and not in a column, so that
            those of some classes can be taken out and put back.
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
        """Make the directions: (d, C * sub_centres), or the reverse with ``by_rows``."""
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
        """The logits of the classes whose directions are given.

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
        """What makes it again, for Keras's files."""
        own = {
            "n_classes": self.n_classes,
            "scale": self.scale,
            "sub_centres": self.sub_centres,
            "by_rows": self.by_rows,
        }
        return super().get_config() | own


@keras.saving.register_keras_serializable("kaggle_kit")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits with label smoothing, for labels that are class numbers.

    ``(1 - e) * -log p_y + e * mean_c -log p_c``. Shapes: (batch,), (batch, C) -> (batch,).
    """

    def __init__(
        self, label_smoothing: float = 0.0, name: str = "crossentropy", **kwargs: Any
    ):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """The losses: (batch,) class numbers, (batch, C) logits -> (batch,)."""
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        log_p = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)
        right = ops.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
        e = self.label_smoothing
        return -(1 - e) * right - e * ops.mean(log_p, axis=-1)

    def among(
        self, y_true: KerasTensor, y_pred: KerasTensor, classes: KerasTensor
    ) -> KerasTensor:
        """The losses, (batch,), where logits are of some classes only.

        Args:
            y_true: (batch,) class numbers, among all classes.
            y_pred: (batch, n) logits.
            classes: (n,) the classes of these logits, in rising order; every class of
                ``y_true`` is among them.
        """
        return SmoothedCrossentropy.call(self, _places(classes, y_true), y_pred)

    def get_config(self) -> dict[str, Any]:
        """What makes it again, for Keras's files."""
        return super().get_config() | {"label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("kaggle_kit")
class ArcFaceLoss(SmoothedCrossentropy):
    """Cross-entropy after the right class's angle has been made larger by a margin.

    The network gives ``scale * cos(theta)``, as it does in use; only the loss knows of
    margins::

        cos(theta_y + m_y)          where theta_y + m_y < pi
        cos(theta_y) - m_y sin(m_y) where it is not, so that it goes on falling

    Args:
        scale: that of the head.
        margins: (C,) radians.
        label_smoothing: as in ``SmoothedCrossentropy``.

    Source: Deng et al., arXiv:1801.07698.
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
        """As in ``SmoothedCrossentropy``, after the margins."""
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        return super().call(labels, self._widened(y_pred, labels, labels))

    def among(
        self, y_true: KerasTensor, y_pred: KerasTensor, classes: KerasTensor
    ) -> KerasTensor:
        """As in ``SmoothedCrossentropy``, after the margins of ``y_true``."""
        widened = self._widened(y_pred, y_true, _places(classes, y_true))
        return super().among(y_true, widened, classes)

    def _widened(
        self, logits: KerasTensor, labels: KerasTensor, place: KerasTensor
    ) -> KerasTensor:
        """Logits after the margins of ``labels``, whose own logits are at ``place``."""
        margin = ops.take(ops.convert_to_tensor(self.margins, "float32"), labels)
        logits = ops.cast(logits, "float32")
        own = ops.take_along_axis(logits, place[:, None], axis=-1)[:, 0]
        changed = self.scale * _with_margin(own / self.scale, margin)
        is_own = ops.one_hot(place, logits.shape[-1], dtype="float32")
        return logits + is_own * (changed - own)[:, None]

    def get_config(self) -> dict[str, Any]:
        """What makes it again, for Keras's files."""
        own = {"scale": self.scale, "margins": list(self.margins)}
        return super().get_config() | own


def margins(counts: ArrayLike, smallest: float, largest: float) -> NDArray[np.float64]:
    """Margins by class size, (C,) radians: the rarer the class, the larger.

    With ``t = n^(-1/4)``, linear in t from ``smallest`` for the largest class to
    ``largest`` for the smallest. An empty class counts as one photo. Classes that are all
    of one size, for which the formula is 0 / 0, have the mean of both: none is rare.

    Source: the third place of 2020 (Ha et al., arXiv:2010.05350).

    >>> margins([1, 10_000], 0.05, 0.5)
    array([0.5 , 0.05])
    """
    t = np.maximum(np.asarray(counts, np.float64), 1) ** -0.25
    spread = t.max() - t.min()
    share = (t - t.min()) / spread if spread else np.full(t.shape, 0.5)
    return smallest + (largest - smallest) * share


def adacos_scale(n_classes: int) -> float:
    """The scale of logits that suits a number of classes, ``sqrt(2) ln(C - 1)``.

    At least 2: below that, softmax is flat however sure the network is.

    Source: Zhang et al., arXiv:1905.00292.
    """
    return max(LEAST_SCALE, math.sqrt(2) * math.log(max(2, n_classes) - 1))


def _places(classes: KerasTensor, labels: KerasTensor) -> KerasTensor:
    """The place of each label, (batch,), among classes in rising order."""
    labels = ops.cast(labels, "int32")
    return ops.cast(ops.searchsorted(ops.cast(classes, "int32"), labels), "int32")


def _unit(x: KerasTensor, axis: int) -> KerasTensor:
    """Vectors at length 1; one shorter than 1e-6 becomes 0, and so does its gradient.

    Divided by 1e-6 instead, it would have a gradient too large for float16.
    """
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    x = ops.where(squares > EPSILON**2, x, 0.0)
    return x * ops.rsqrt(ops.maximum(squares, EPSILON**2))


def _with_margin(cosine: KerasTensor, margin: KerasTensor) -> KerasTensor:
    """The cosine of an angle that is larger by a margin, (batch,); see ``ArcFaceLoss``."""
    # (1 - c)(1 + c) loses less than 1 - c^2; the floor keeps the root's slope finite
    # and, unlike a clipped cosine, leaves the right class a gradient at -1
    sine = ops.sqrt(ops.maximum((1 - cosine) * (1 + cosine), LEAST_SINE**2))
    larger = cosine * ops.cos(margin) - sine * ops.sin(margin)
    beyond = cosine - margin * ops.sin(margin)
    return ops.where(cosine > -ops.cos(margin), larger, beyond)
