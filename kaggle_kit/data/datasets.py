"""Training and validation batches of images, read from shards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.config import Config, image_size
from kaggle_kit.data.augment import augment, random_layers
from kaggle_kit.data.decode import PARALLEL, dataset_options, resize_to_square
from kaggle_kit.data.shard_file import parse_record
from kaggle_kit.data.shards_manifest import ShardsManifest, image_classes, shard_paths
from kaggle_kit.errors import ConfigError
from kaggle_kit.frameworks import tf


@dataclass(frozen=True)
class Part:
    """The part of every batch that a host reads.

    Attributes:
        index: of the host, from 0.
        of: number of hosts; each reads an equal part of a batch.
        devices: number of devices of each host; each gets an equal part of the host's part.
    """

    index: int = 0
    of: int = 1
    devices: int = 1


WHOLE = Part()


def training_batches(
    shards: Sequence[Path],
    copies: Sequence[NDArray[np.int64]],
    data: config.Data,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    part: Part = WHOLE,
) -> tf.data.Dataset:
    """One epoch of shuffled, augmented batches: ((b, s, s, 3) float32 0..255, (b,) class).

    The order and the augmentation depend only on ``seed``, ``epoch`` and TensorFlow's
    global seed, so a resumed epoch repeats the interrupted one exactly. (The global seed is
    set once per process, since setting it clears TensorFlow's caches.) The images of an
    incomplete last batch are left out, because batch norm needs more than one image.

    An image and its augmentation do not depend on ``start`` and ``part``. Images that are
    not needed are read from disk, which keeps the order, but not decoded. (keras-cv layers
    draw from a state, so they process a grey image for each image that is not needed.)

    Args:
        copies: for each shard, how often each of its images occurs in the epoch.
        data: sizes, shuffle buffer and augmentation.
        batch_size: images in a batch, over all hosts and devices; a multiple of their
            number.
        seed, epoch: of the random changes.
        start: batches to skip at the beginning.
        part: of every batch that this host reads.
    """
    rng = np.random.default_rng((seed, epoch))
    records = _shuffle(shards, copies, data.shuffle_images, rng)
    seeds = tf.data.Dataset.random(seed=int(rng.integers(2**31))).batch(2)

    n_images = int(sum(n.sum() for n in copies))
    batch_size = effective_batch_size(batch_size, n_images, part)
    share = batch_size // part.of
    n_batches = n_images // batch_size
    change = random_layers(data.augment, int(rng.integers(2**31)))

    def is_needed(position: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        batch = position // batch_size
        in_part = position % batch_size // share == part.index
        return in_part & (batch >= start) & (batch < n_batches)

    dataset = tf.data.Dataset.zip(tf.data.Dataset.range(n_images), records, seeds)
    partial = start > 0 or part.of > 1
    if partial and not change:
        dataset = dataset.filter(is_needed)
    dataset = _decode_and_augment(dataset, data, change, is_needed)
    if partial and change:
        dataset = dataset.filter(is_needed)
    dataset = dataset.map(lambda _, pixels, label: (pixels, label))
    dataset = dataset.batch(share // part.devices, drop_remainder=True).prefetch(2)
    n_left = (n_batches - start) * part.devices
    cardinality = tf.data.experimental.assert_cardinality(n_left)
    return dataset.apply(cardinality).with_options(dataset_options())


def effective_batch_size(batch_size: int, n_images: int, part: Part) -> int:
    """The size of a training batch: at most ``n_images``, and a multiple of the devices."""
    n_devices = part.of * part.devices
    return min(batch_size, n_images // n_devices * n_devices)


def validation_batches(
    shards: Sequence[Path],
    n_images: int,
    stored_size: int,
    size: int,
    batch_size: int,
    part: Part = WHOLE,
) -> tf.data.Dataset:
    """All images once, in order, whole: ((b, size, size, 3) float32 0..255, (b,) class).

    Each of several hosts reads different batches, and all read the same number of batches:
    hosts without images left get batches of one grey image of class -1.

    Args:
        n_images: images in all shards.
        stored_size, size: side of the images in the shards, and in the batches.
        batch_size: images in a batch, on one device.
        part: of the batches that this host reads.
    """

    def read(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, label = parse_record(record, stored_size)
        return tf.cast(resize_to_square(pixels, size), tf.float32), label

    n_batches = -(-n_images // batch_size)
    n_each = -(-n_batches // (part.of * part.devices)) * part.devices
    dataset = tf.data.TFRecordDataset([str(path) for path in shards])
    if part.of > 1:
        batches = dataset.batch(batch_size).shard(part.of, part.index)
        dataset = batches.unbatch()
    dataset = dataset.map(read, PARALLEL).batch(batch_size)
    if part.of * part.devices > 1:
        grey = tf.zeros((1, size, size, 3)), tf.constant([-1], tf.int64)
        padding = tf.data.Dataset.from_tensors(grey).repeat()
        dataset = dataset.concatenate(padding).take(n_each)
    cardinality = tf.data.experimental.assert_cardinality(n_each)
    return dataset.prefetch(2).apply(cardinality).with_options(dataset_options())


def _resize_batches(dataset: tf.data.Dataset, size: int) -> tf.data.Dataset:
    """Resize training batches, for a stage with another image size."""

    def resize(pixels: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.image.resize(pixels, (size, size), "bilinear", antialias=True), label

    return dataset.map(resize, PARALLEL)


def _shuffle(
    shards: Sequence[Path],
    copies: Sequence[NDArray[np.int64]],
    buffer_size: int,
    rng: np.random.Generator,
) -> tf.data.Dataset:
    """The records of all shards, each as often as ``copies`` says, in random order.

    Args:
        buffer_size: records in memory, from which the next one is drawn.
    """
    order = rng.permutation(len(shards))
    names = tf.constant([str(shards[i]) for i in order], tf.string)
    per_shard = tf.RaggedTensor.from_row_lengths(
        np.concatenate([copies[i] for i in order]), [len(copies[i]) for i in order]
    )
    dataset = tf.data.Dataset.from_tensor_slices((names, per_shard)).interleave(
        _repeat_records, cycle_length=4, num_parallel_calls=PARALLEL
    )
    return dataset.shuffle(buffer_size, seed=int(rng.integers(2**31)))


def _decode_and_augment(
    dataset: tf.data.Dataset,
    data: config.Data,
    change: Callable[[tf.Tensor], tf.Tensor] | None,
    is_needed: Callable[[tf.Tensor], tf.Tensor],
) -> tf.data.Dataset:
    """(position, record, seeds) -> (position, pixels, class).

    Args:
        change: the augmentation of keras-cv; an image that is not needed is grey for it.
        is_needed: whether the image at a position is needed.
    """

    def read(
        position: tf.Tensor, record: tf.Tensor, seed_pair: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        def decode() -> tuple[tf.Tensor, tf.Tensor]:
            pixels, label = parse_record(record, data.stored_size)
            return augment(pixels, data, seed_pair), label

        if not change:
            return position, *decode()
        grey = tf.zeros((data.image_size, data.image_size, 3)), tf.zeros((), tf.int64)
        return position, *tf.cond(is_needed(position), decode, lambda: grey)

    dataset = dataset.map(read, PARALLEL)
    if not change:
        return dataset
    return dataset.map(
        lambda position, pixels, label: (position, change(pixels), label)
    )


def _repeat_records(path: tf.Tensor, copies: tf.Tensor) -> tf.data.Dataset:
    """The records of a shard, each as often as ``copies`` says."""
    records = tf.data.TFRecordDataset(path)
    numbers = tf.data.Dataset.from_tensor_slices(copies)
    return tf.data.Dataset.zip(records, numbers).flat_map(
        lambda record, n: tf.data.Dataset.from_tensors(record).repeat(n)
    )


class TrainingImages:
    """The images of a shards folder, as batches of each epoch.

    Args:
        settings: of the training.
        folder: of the shards.
        manifest: of the shards.
        part: of every batch that this host reads.

    Raises:
        ConfigError: there are fewer training images than devices.
        ArtefactError: the tables in the folder do not match the shards.
    """

    def __init__(
        self,
        settings: Config,
        folder: Path,
        manifest: ShardsManifest,
        part: Part = WHOLE,
    ):
        self.settings = settings
        self.part = part
        self.shards = shard_paths(folder, manifest, "train")
        self.validation_shards = shard_paths(folder, manifest, "validation")
        self.classes = image_classes(folder, manifest, "train")
        self.n_validation = manifest.counts.validation
        n_train = manifest.counts.train
        batch_size = effective_batch_size(settings.train.batch_size, n_train, part)
        if not batch_size:
            raise ConfigError(
                f"{folder}: expected at least {part.of * part.devices} training "
                f"images, one for each device, got {n_train}; train on fewer devices"
            )
        self.steps = n_train // batch_size

    def epoch(
        self, epoch: int, start: int = 0
    ) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
        """The training and validation batches of an epoch, at the image size of its stage.

        Args:
            epoch: counted from 0.
            start: training batches to skip.

        Returns:
            Training batches, and validation batches or None without such images.
        """
        data, train = self.settings.data, self.settings.train
        size = image_size(epoch, self.settings)
        rng = np.random.default_rng((self.settings.seed, epoch, 1))
        copies = [np.ones(len(part), np.int64) for part in self.classes]
        if train.balance == "sampling":
            flat = balanced_copies(np.concatenate(self.classes), rng)
            copies = np.split(flat, np.cumsum([len(p) for p in copies])[:-1])
        batches = training_batches(
            self.shards,
            copies,
            data,
            train.batch_size,
            self.settings.seed,
            epoch,
            start,
            self.part,
        )
        validation = None
        if self.n_validation:
            validation = validation_batches(
                self.validation_shards,
                self.n_validation,
                data.stored_size,
                size,
                max(1, train.batch_size // (self.part.of * self.part.devices)),
                self.part,
            )
        if size != data.image_size:
            batches = _resize_batches(batches, size)
        return batches, validation


def balanced_copies(
    classes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw how often each image occurs in an epoch with equally frequent classes.

    Args:
        classes: (n,) class of each image.

    Returns:
        (n,) integers whose sum is n. The expected value for an image is
        n / (number of classes * images of its class).
    """
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(classes)), inverse))
    expected = (len(classes) / len(counts) / counts)[inverse][order]
    edges = np.floor(np.cumsum(expected) + rng.random()).astype(np.int64)
    edges[-1] = len(classes)
    copies = np.empty(len(classes), np.int64)
    copies[order] = np.diff(edges, prepend=0)
    return copies
