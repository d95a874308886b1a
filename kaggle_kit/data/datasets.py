"""Batches of photos from shards, for training and for validating it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.config import Config, image_size
from kaggle_kit.data.augment import augmented, random_changes
from kaggle_kit.data.decode import PARALLEL, dataset_options, resize_to_square
from kaggle_kit.data.shard_file import parsed
from kaggle_kit.data.shards import photo_classes, shard_paths
from kaggle_kit.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """Which photos of every batch a host reads: the share ``index`` of ``of`` alike.

    A host with several ``devices`` gets a batch for each of them in turn.
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

    The order and every random change follow from ``seed``, ``epoch`` and TensorFlow's own
    seed alone, so an epoch that is run again after an interruption is the same epoch.
    (That seed is set once a process: setting it empties TensorFlow's caches.) Photos that
    do not fill a last batch wait for another epoch: batch norm has no variance of one
    photo.

    A photo and its changes do not depend on ``start`` and ``part``: others are read from
    disk, which keeps the order, but not decoded. (keras-cv's changes come from a state, so
    with these a grey photo goes through them in place of each that is left out.)

    Args:
        copies: how often each photo occurs, for each shard in the order of its photos.
        batch_size: photos of a batch, on all hosts and devices together; their number
            divides it.
        start: how many batches to leave out at the beginning.
        part: what of every batch is read here.
    """
    rng = np.random.default_rng((seed, epoch))
    records = _shuffled(shards, copies, data.shuffle_images, rng)
    seeds = tf.data.Dataset.random(seed=int(rng.integers(2**31))).batch(2)

    n_images = int(sum(n.sum() for n in copies))
    batch_size = batch_of(batch_size, n_images, part)
    share = batch_size // part.of
    n_batches = n_images // batch_size
    change = random_changes(data.augment, int(rng.integers(2**31)))

    def wanted(place: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        batch, own = place // batch_size, place % batch_size // share == part.index
        return own & (batch >= start) & (batch < n_batches)

    dataset = tf.data.Dataset.zip(tf.data.Dataset.range(n_images), records, seeds)
    partial = start > 0 or part.of > 1
    if partial and not change:
        dataset = dataset.filter(wanted)
    dataset = _photos(dataset, data, change, wanted)
    if partial and change:
        dataset = dataset.filter(wanted)
    dataset = dataset.map(lambda _, pixels, label: (pixels, label))
    dataset = dataset.batch(share // part.devices, drop_remainder=True).prefetch(2)
    n_left = (n_batches - start) * part.devices
    whole = tf.data.experimental.assert_cardinality(n_left)
    return dataset.apply(whole).with_options(dataset_options())


def batch_of(batch_size: int, n_images: int, part: Part) -> int:
    """How many photos a batch has: no more than there are, and as many on each device."""
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
    """All photos once, in order, whole: ((b, size, size, 3) float32 0..255, (b,) class).

    Of several hosts each reads other batches, all of them equally many: where there are no
    photos left come batches of one grey photo of class -1.

    Args:
        batch_size: photos of a batch, on one device.
    """

    def read(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, label = parsed(record, stored_size)
        return tf.cast(resize_to_square(pixels, size), tf.float32), label

    n_batches = -(-n_images // batch_size)
    n_each = -(-n_batches // (part.of * part.devices)) * part.devices
    dataset = tf.data.TFRecordDataset([str(path) for path in shards])
    if part.of > 1:
        own = dataset.batch(batch_size).shard(part.of, part.index)
        dataset = own.unbatch()
    dataset = dataset.map(read, PARALLEL).batch(batch_size)
    if part.of * part.devices > 1:
        grey = tf.zeros((1, size, size, 3)), tf.constant([-1], tf.int64)
        more = tf.data.Dataset.from_tensors(grey).repeat()
        dataset = dataset.concatenate(more).take(n_each)
    whole = tf.data.experimental.assert_cardinality(n_each)
    return dataset.prefetch(2).apply(whole).with_options(dataset_options())


def resized(dataset: tf.data.Dataset, size: int) -> tf.data.Dataset:
    """Training batches at another size, for a stage of training."""

    def resize(pixels: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.image.resize(pixels, (size, size), "bilinear", antialias=True), label

    return dataset.map(resize, PARALLEL)


def _shuffled(
    shards: Sequence[Path],
    copies: Sequence[NDArray[np.int64]],
    n_waiting: int,
    rng: np.random.Generator,
) -> tf.data.Dataset:
    """The records of all shards, each as often as it is to occur, in a random order.

    Args:
        n_waiting: records in memory, of which the next one is drawn.
    """
    order = rng.permutation(len(shards))
    names = tf.constant([str(shards[i]) for i in order], tf.string)
    often = tf.RaggedTensor.from_row_lengths(
        np.concatenate([copies[i] for i in order]), [len(copies[i]) for i in order]
    )
    dataset = tf.data.Dataset.from_tensor_slices((names, often)).interleave(
        _repeated, cycle_length=4, num_parallel_calls=PARALLEL
    )
    return dataset.shuffle(n_waiting, seed=int(rng.integers(2**31)))


def _photos(
    dataset: tf.data.Dataset,
    data: config.Data,
    change: Callable[[tf.Tensor], tf.Tensor] | None,
    wanted: Callable[[tf.Tensor], tf.Tensor],
) -> tf.data.Dataset:
    """(place, record, seeds) -> (place, pixels, class), decoded and changed at random.

    Args:
        change: keras-cv's changes, for which a photo that is not wanted is grey.
        wanted: whether the photo at a place is.
    """

    def read(
        place: tf.Tensor, record: tf.Tensor, seed_pair: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        def seen() -> tuple[tf.Tensor, tf.Tensor]:
            pixels, label = parsed(record, data.stored_size)
            return augmented(pixels, data, seed_pair), label

        if not change:
            return place, *seen()
        grey = tf.zeros((data.image_size, data.image_size, 3)), tf.zeros((), tf.int64)
        return place, *tf.cond(wanted(place), seen, lambda: grey)

    dataset = dataset.map(read, PARALLEL)
    if not change:
        return dataset
    return dataset.map(lambda place, pixels, label: (place, change(pixels), label))


def _repeated(path: tf.Tensor, copies: tf.Tensor) -> tf.data.Dataset:
    """The records of a shard, each as often as it is to occur."""
    records = tf.data.TFRecordDataset(path)
    often = tf.data.Dataset.from_tensor_slices(copies)
    return tf.data.Dataset.zip(records, often).flat_map(
        lambda record, n: tf.data.Dataset.from_tensors(record).repeat(n)
    )


class Photos:
    """The photos of a shards folder, epoch by epoch, or the ``part`` of each batch here."""

    def __init__(
        self,
        settings: Config,
        folder: Path,
        manifest: dict[str, Any],
        part: Part = WHOLE,
    ):
        self.settings = settings
        self.part = part
        self.shards = shard_paths(folder, manifest, "train")
        self.held_out = shard_paths(folder, manifest, "validation")
        self.classes = photo_classes(folder, manifest, "train")
        self.n_validation = manifest["counts"]["validation"]
        n_train = manifest["counts"]["train"]
        batch_size = batch_of(settings.train.batch_size, n_train, part)
        if not batch_size:
            raise ConfigError(
                f"{folder}: expected a training photo for each of "
                f"{part.of * part.devices} devices, got {n_train}; train on fewer"
            )
        self.steps = n_train // batch_size

    def epoch(
        self, epoch: int, start: int = 0
    ) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
        """The training and validation batches of an epoch, at the size of its stage.

        Args:
            start: how many training batches to leave out.
        """
        data, train = self.settings.data, self.settings.train
        size = image_size(epoch, self.settings)
        rng = np.random.default_rng((self.settings.seed, epoch, 1))
        copies = [np.ones(len(part), np.int64) for part in self.classes]
        if train.balance == "sampling":
            flat = balanced(np.concatenate(self.classes), rng)
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
                self.held_out,
                self.n_validation,
                data.stored_size,
                size,
                max(1, train.batch_size // (self.part.of * self.part.devices)),
                self.part,
            )
        if size != data.image_size:
            batches = resized(batches, size)
        return batches, validation


def balanced(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each photo occurs in an epoch in which all classes are equally frequent.

    Args:
        classes: (n,) class of each photo.

    Returns:
        (n,) whole numbers that add up to n. A photo's expected number is
        n / (number of classes * photos of its class).
    """
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(classes)), inverse))
    expected = (len(classes) / len(counts) / counts)[inverse][order]
    edges = np.floor(np.cumsum(expected) + rng.random()).astype(np.int64)
    edges[-1] = len(classes)
    copies = np.empty(len(classes), np.int64)
    copies[order] = np.diff(edges, prepend=0)
    return copies
