"""Shards that were damaged, or written by a stranger: one line, and no image is made up."""

import json
import os
import random
import shutil

import numpy as np
import pytest
import tensorflow as tf

from kaggle_kit.data.datasets import training_batches, validation_batches
from kaggle_kit.data.shards_manifest import image_classes, read_manifest, shard_paths
from kaggle_kit.errors import ArtefactError
from kaggle_kit.training.distribute import Workers


@pytest.fixture
def folder(shards_dir, tmp_path):
    """A copy of shards, to be changed."""
    shutil.copytree(shards_dir, tmp_path / "shards")
    return tmp_path / "shards"


def batches_of(folder, settings):
    """All that training and validation read."""
    manifest = read_manifest(folder)
    classes = image_classes(folder, manifest, "train")
    copies = [np.ones(len(c), np.int64) for c in classes]
    paths = shard_paths(folder, manifest, "train")
    workers = Workers(tf.distribute.get_strategy())
    batches = training_batches(paths, copies, settings.data, 8, 0, 0)
    read = list(workers.batches(batches))
    n, size = manifest.counts.validation, settings.data.image_size
    paths = shard_paths(folder, manifest, "validation")
    stored = settings.data.stored_size
    batches = validation_batches(paths, n, stored, size, 8)
    return read + list(workers.batches(batches))


def check_refused(folder, settings):
    with pytest.raises(ArtefactError) as caught:
        batches_of(folder, settings)
    text = str(caught.value)
    assert text.isprintable() and "make the shards again" in text and len(text) < 600


def resized(folder, path):
    """Let the manifest tell the size that a shard has."""
    manifest = json.loads((folder / "shards.json").read_text())
    for shard in manifest["shards"]:
        if shard["file"] == path.name:
            shard["bytes"] = path.stat().st_size
    (folder / "shards.json").write_text(json.dumps(manifest))


def test_whole_shards_are_read(folder, settings):
    assert len(batches_of(folder, settings)) > 3


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_is_found(seed, folder, settings, tried):
    rng = random.Random(seed)
    path = rng.choice(sorted(folder.glob("*.tfrecord")))
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    check_refused(folder, settings)
    tried["damaged shards refused"] += 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("told", [False, True])
def test_a_cut_shard_is_found_whether_or_not_its_size_is_told(
    share, told, folder, settings, tried
):
    path = folder / "train-00000.tfrecord"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    if told:
        resized(folder, path)
    check_refused(folder, settings)
    tried["damaged shards refused"] += 1


def masked_crc(content):
    """The checksum that TensorFlow writes, bit by bit (CRC-32C, rotated)."""
    crc = 2**32 - 1
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 2**32 - 1
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize("length", [2**60, 2**64 - 1, 2**36, 0])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_record_of_another_length_with_a_right_checksum_is_found(
    length, is_first, folder, settings, tried
):
    """TensorFlow would allocate it: its process dies of 2^36 bytes."""
    path = folder / "train-00000.tfrecord"
    content = path.read_bytes()
    start = length.to_bytes(8, "little")
    start += masked_crc(start).to_bytes(4, "little")
    second = 16 + int.from_bytes(content[:8], "little")
    assert content[8:12] == masked_crc(content[:8]).to_bytes(4, "little")
    at = 0 if is_first else second
    path.write_bytes(content[:at] + start + content[at + 12 :])
    check_refused(folder, settings)
    tried["damaged shards refused"] += 1


def test_a_shard_that_is_a_pipe_is_found(folder, settings, tried):
    path = folder / "train-00000.tfrecord"
    path.unlink()
    os.mkfifo(path)
    resized(folder, path)
    check_refused(folder, settings)


def record(**features):
    kinds = {int: "int64_list", bytes: "bytes_list"}
    lists = {int: tf.train.Int64List, bytes: tf.train.BytesList}
    made = {}
    for name, value in features.items():
        kind = type(value)
        made[name.rstrip("_")] = tf.train.Feature(
            **{kinds[kind]: lists[kind](value=[value])}
        )
    example = tf.train.Example(features=tf.train.Features(feature=made))
    return example.SerializeToString()


def jpeg(side):
    return tf.io.encode_jpeg(tf.zeros((side, side, 3), tf.uint8)).numpy()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no protocol buffer",
        record(id=b"abc"),
        record(id=b"abc", class_=0, image=b"no image"),
        record(id=b"abc", class_=0, image=jpeg(900)),
        record(id=b"abc", class_=b"0", image=jpeg(36)),
        record(id=7, class_=0, image=jpeg(36)),
    ],
    ids=range(7),
)
def test_a_record_that_is_none_is_found(content, folder, settings, tried):
    path = folder / "train-00000.tfrecord"
    n = sum(1 for _ in tf.data.TFRecordDataset(str(path)))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(n):
            writer.write(content)
    resized(folder, path)
    check_refused(folder, settings)
    tried["damaged shards refused"] += 1
