"""A head of very many classes, of which each step trains a few: Partial FC.

At 81,313 landmarks with three 512-d directions each the head is half a gigabyte. Trained
whole, a step would need its unit vectors, its gradient and the optimiser's temporaries
beside it, each as large. Here a step takes the rows of the batch's own classes and of
random others out of the tables, trains these as any other weight, and puts them back with
what the optimiser keeps of them. The tables themselves, the directions and Adam's two
moments of each, are all that there is for all classes, three times half a gigabyte here.

A row that is not drawn stays as it is, and so do its moments; they do not decay. With all
classes drawn a step is that of the whole softmax.

Source: An et al., "Partial FC", arXiv:2010.05222.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

MOMENTS = ("rows_momentum", "rows_velocity")


class SampledHead:
    """The rows of a ``CosineHead`` that a step trains, and the tables that they are of.

    To be made in the scope of the strategy. The optimiser is built on ``rows`` in place of
    the head's ``directions``; then ``keep_moments_of`` is to be called.
    """

    def __init__(self, head: Any, n_sampled: int, seed: int):
        self.head = head
        self.seed = seed
        self.n_sampled = min(n_sampled, head.n_classes)
        _, width = head.directions.shape
        self.rows = keras.Variable(
            keras.initializers.Zeros(),
            shape=(self.n_sampled * head.sub_centres, width),
            dtype="float32",
            aggregation="mean",
            name="rows",
        )
        self.tables = [head.directions.value]
        self.parts = [self.rows.value]

    def keep_moments_of(self, optimizer: Any) -> None:
        """Make a table for each of the optimiser's variables that belong to the rows."""
        for variable in optimizer.variables:
            if variable.path.endswith(MOMENTS):
                self.parts.append(variable.value)
                shape = self.head.directions.shape
                zeros = tf.zeros_initializer()
                table = tf.Variable(lambda s=shape, z=zeros: z(s), trainable=False)
                self.tables.append(table)

    def drawn(self, is_own: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """Which classes a step trains, (n,) int32 in order.

        Args:
            is_own: (C,) above 0 for the classes of the batch, which are always drawn.
            number: of the step; it alone and the seed decide which others are.
        """
        shape = (self.head.n_classes,)
        lot = tf.random.stateless_uniform(shape, tf.stack([self.seed, number]))
        lot = tf.where(is_own > 0, 2.0, lot)
        return tf.sort(tf.math.top_k(lot, self.n_sampled, sorted=False).indices)

    def take(self, strategy: tf.distribute.Strategy, classes: tf.Tensor) -> None:
        """Fill the rows, and the optimiser's state of them, with those of ``classes``."""
        places = self._places(classes)
        for part, table in zip(self.parts, self.tables, strict=True):
            strategy.extended.update(
                part, lambda p, t: p.assign(tf.gather(t, places)), args=(table,)
            )

    def put_back(self, strategy: tf.distribute.Strategy, classes: tf.Tensor) -> None:
        """Write the rows, and the optimiser's state of them, into the tables again."""
        places = self._places(classes)
        for part, table in zip(self.parts, self.tables, strict=True):
            strategy.extended.update(
                table,
                lambda t, p: t.scatter_update(tf.IndexedSlices(p, places)),
                args=(part,),
            )

    def instead_of_directions(self, variables: Sequence[Any]) -> list[Any]:
        """These variables, with the rows in place of the directions."""
        kept = [v for v in variables if v is not self.head.directions]
        return [*kept, self.rows]

    def _places(self, classes: tf.Tensor) -> tf.Tensor:
        per_class = tf.range(self.head.sub_centres)
        return tf.reshape(classes[:, None] * self.head.sub_centres + per_class, [-1])
