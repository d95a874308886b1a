"""Write and parse one shard: a TFRecord file of resized images."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit import config
from kaggle_kit.data.decode import PARALLEL, decode_file
from kaggle_kit.data.layout import image_path
from kaggle_kit.frameworks import tf
from kaggle_kit.storage.json_files import JsonObject
from kaggle_kit.storage.manifest import describe_file

QUEUE = 256  # images queued for the threads
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

    def encode(path: Path) -> bytes | None:
        pixels = decode_file(path, job.settings.stored_size)
        if pixels is None:
            return None
        quality = job.settings.jpeg_quality
        image = tf.io.encode_jpeg(pixels, quality=quality, chroma_downsampling=False)
        content: bytes = image.numpy()
        return content

    broken = []
    rows = list(zip(job.image_ids, job.classes, strict=True))
    with (
        tf.device("/CPU:0"),
        tf.io.TFRecordWriter(str(job.path)) as writer,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        for start in range(0, len(rows), QUEUE):
            chunk = rows[start : start + QUEUE]
            paths = [image_path(job.train_dir, image_id) for image_id, _ in chunk]
            for row, image in zip(chunk, pool.map(encode, paths), strict=True):
                if image is None:
                    broken.append(row[0])
                else:
                    writer.write(_record(*row, image))
    n_written = len(rows) - len(broken)
    if not n_written:
        job.path.unlink()
        return JobResult(None, tuple(broken))
    file = describe_file(job.path)
    shard = Shard(job.path.name, job.split, n_written, file.bytes, file.sha256)
    return JobResult(shard, tuple(broken))


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
