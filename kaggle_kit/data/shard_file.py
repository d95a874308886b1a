"""Write and parse one shard: a TFRecord file of resized images."""

from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from kaggle_kit import config
from kaggle_kit.data.decode import decode_files, resize_to_square
from kaggle_kit.data.layout import image_path
from kaggle_kit.storage.json_files import JsonObject
from kaggle_kit.storage.manifest import describe_file

FEATURES = {
    "id": tf.io.FixedLenFeature([], tf.string),
    "class": tf.io.FixedLenFeature([], tf.int64),
    "image": tf.io.FixedLenFeature([], tf.string),
}


@dataclass(frozen=True)
class Job:
    """A shard to write.

    Attributes:
        settings: size and JPEG quality of the stored images.
        train_dir: the folder of the images.
        path: of the shard.
        split: of its images.
        image_ids, classes: of its images, in order.
    """

    settings: config.Data
    train_dir: Path
    path: Path
    split: str
    image_ids: tuple[str, ...]
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Shard(JsonObject):
    """A shard as the manifest lists it.

    Attributes:
        file: its name.
        split: train or validation.
        images: the number of its images.
        bytes: its size.
        sha256: of its content, in hexadecimal.
    """

    file: str
    split: str
    images: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class JobResult:
    """A shard that was written, and the images that are missing from it.

    Attributes:
        shard: None if no image decodes; there is no file then.
        broken: ids of the images that are missing or do not decode.
    """

    shard: Shard | None
    broken: tuple[str, ...]


def write_shard(job: Job) -> JobResult:
    """Decode, resize and encode the images of a shard, and write those that decode."""

    def encode(pixels: tf.Tensor) -> tf.Tensor:
        return tf.io.encode_jpeg(
            resize_to_square(pixels, job.settings.stored_size),
            quality=job.settings.jpeg_quality,
            chroma_downsampling=False,
        )

    paths = [image_path(job.train_dir, image_id) for image_id in job.image_ids]
    written = set()
    with tf.io.TFRecordWriter(str(job.path)) as writer:
        images = decode_files(paths, encode, job.settings.stored_size).prefetch(64)
        for i, image in images.as_numpy_iterator():
            writer.write(_record(job.image_ids[i], job.classes[i], image))
            written.add(int(i))
    broken = tuple(name for i, name in enumerate(job.image_ids) if i not in written)
    if not written:
        job.path.unlink()
        return JobResult(None, broken)
    file = describe_file(job.path)
    shard = Shard(job.path.name, job.split, len(written), file.bytes, file.sha256)
    return JobResult(shard, broken)


def parse_record(record: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Parse a record: its pixels, (size, size, 3) uint8, and its class, () int64."""
    fields = tf.io.parse_single_example(record, FEATURES)
    pixels = tf.ensure_shape(tf.io.decode_jpeg(fields["image"], 3), (size, size, 3))
    return pixels, fields["class"]


def _record(image_id: str, label: int, image: bytes) -> bytes:
    """Serialize an image; ``FEATURES`` describes the result."""
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
