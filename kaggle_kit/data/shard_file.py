"""One shard: a TFRecord file of resized photos, as it is written and as it is read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.data.decode import decode_files, resize_to_square
from kaggle_kit.data.layout import image_path

FEATURES = {
    "id": tf.io.FixedLenFeature([], tf.string),
    "class": tf.io.FixedLenFeature([], tf.int64),
    "image": tf.io.FixedLenFeature([], tf.string),
}


@dataclass(frozen=True)
class Job:
    """One shard to write: what it is of, and the class of each of its photos."""

    settings: config.Data
    train_dir: Path
    path: Path
    split: str
    image_ids: tuple[str, ...]
    classes: tuple[int, ...]


Written = tuple[dict[str, Any] | None, list[str]]  # what it is, and its broken ids


def write_shard(job: Job) -> Written:
    """Write one shard; none where none of its photos is there and decodes."""

    def encoded(pixels: tf.Tensor) -> tf.Tensor:
        return tf.io.encode_jpeg(
            resize_to_square(pixels, job.settings.stored_size),
            quality=job.settings.jpeg_quality,
            chroma_downsampling=False,
        )

    paths = [image_path(job.train_dir, image_id) for image_id in job.image_ids]
    done = set()
    with tf.io.TFRecordWriter(str(job.path)) as writer:
        images = decode_files(paths, encoded, job.settings.stored_size).prefetch(64)
        for i, image in images.as_numpy_iterator():
            writer.write(_record(job.image_ids[i], job.classes[i], image))
            done.add(int(i))
    broken = [name for i, name in enumerate(job.image_ids) if i not in done]
    if done:
        return _described(job.path, job.split, len(done)), broken
    job.path.unlink()
    return None, broken


def parsed(record: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The pixels, (size, size, 3) uint8, and the class of a record."""
    fields = tf.io.parse_single_example(record, FEATURES)
    pixels = tf.ensure_shape(tf.io.decode_jpeg(fields["image"], 3), (size, size, 3))
    return pixels, fields["class"]


def _record(image_id: str, label: int, image: bytes) -> bytes:
    """One photo as ``FEATURES`` reads it back."""
    feature, strings, integers = (
        tf.train.Feature,
        tf.train.BytesList,
        tf.train.Int64List,
    )
    features = {
        "id": feature(bytes_list=strings(value=[image_id.encode()])),
        "class": feature(int64_list=integers(value=[label])),
        "image": feature(bytes_list=strings(value=[image])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _described(path: Path, split: str, n_images: int) -> dict[str, Any]:
    """A shard as the manifest lists it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "file": path.name,
        "split": split,
        "images": n_images,
        "bytes": path.stat().st_size,
        "sha256": digest,
    }
