"""A head of very many classes, of which each step trains a sample: Partial FC.

At 81,313 landmarks with three 512-d directions each, the head is half a gigabyte. To train
it whole, a step would also need its unit vectors, its gradient and the optimizer's
temporaries, each as large. Here a step reads the rows of the batch's classes, and of random
other classes, from the tables, trains these rows like any other weight, and writes them
back with their optimizer moments. The tables, the directions and the two moments that Adam
keeps of them, are all that exists for all classes: three times half a gigabyte here.

A row that is not sampled does not change, and neither do its moments; they do not decay.
With all classes sampled, a step is that of the full softmax.

Source: An et al., "Partial FC", arXiv:2010.05222. They divide the classes among the GPUs, each
of which samples its own; here every device has all tables, and all train the same sample.
"""

from collections.abc import Sequence
from typing import Any

from kaggle_kit.frameworks import keras, tf

MOMENTS = ("rows_momentum", "rows_velocity")


class SampledHead:
    """The rows of a ``CosineHead`` that a step trains, and the tables they come from.

    Create it in the scope of the strategy. Build the optimizer on ``rows`` in place of the
    head's ``directions``, then call ``add_moment_tables``.

    Attributes:
        rows: (n_sampled * sub_centres, width) the variable that is trained.
        tables: for all classes, the directions and the optimizer's moments of them.
        samples: for the sampled classes, the variable that belongs to each table.
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
        self.samples = [self.rows.value]

    def replace_directions(self, variables: Sequence[Any]) -> list[Any]:
        """These variables, with the rows in place of the directions."""
        others = [v for v in variables if v is not self.head.directions]
        return [*others, self.rows]

    def add_moment_tables(self, optimizer: Any) -> None:
        """Add a table for each optimizer variable that belongs to the rows."""
        for variable in optimizer.variables:
            if variable.path.endswith(MOMENTS):
                self.samples.append(variable.value)
                shape = self.head.directions.shape
                zeros = tf.zeros_initializer()
                table = tf.Variable(lambda s=shape, z=zeros: z(s), trainable=False)
                self.tables.append(table)

    def sample(self, counts: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """The classes that a step trains, (n_sampled,) int32, ascending.

        Args:
            counts: (C,) the images of each class in the batch; a class that has one is
                always sampled.
            number: of the step; with the seed it decides which other classes are sampled.
        """
        shape = (self.head.n_classes,)
        rank = tf.random.stateless_uniform(shape, tf.stack([self.seed, number]))
        rank = tf.where(counts > 0, 2.0, rank)
        return tf.sort(tf.math.top_k(rank, self.n_sampled, sorted=False).indices)

    def read_rows(self, strategy: tf.distribute.Strategy, classes: tf.Tensor) -> None:
        """Load the centres of the sampled ``classes``, and their moments, from the tables."""
        indices = self._row_indices(classes)
        for sample, table in zip(self.samples, self.tables, strict=True):
            strategy.extended.update(
                sample, lambda s, t: s.assign(tf.gather(t, indices)), args=(table,)
            )

    def write_rows(self, strategy: tf.distribute.Strategy, classes: tf.Tensor) -> None:
        """Store the centres of the sampled ``classes``, and their moments, in the tables."""
        indices = self._row_indices(classes)
        for sample, table in zip(self.samples, self.tables, strict=True):
            strategy.extended.update(
                table,
                lambda t, s: t.scatter_update(tf.IndexedSlices(s, indices)),
                args=(sample,),
            )

    def _row_indices(self, classes: tf.Tensor) -> tf.Tensor:
        per_class = tf.range(self.head.sub_centres)
        return tf.reshape(classes[:, None] * self.head.sub_centres + per_class, [-1])
