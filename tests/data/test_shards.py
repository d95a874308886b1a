"""Shards and the pipelines that read them: what goes in comes out, in bounded memory."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kaggle_kit import config
from kaggle_kit.data.augment import augment
from kaggle_kit.data.datasets import training_batches, validation_batches
from kaggle_kit.data.decode import resize_to_square
from kaggle_kit.data.layout import image_path
from kaggle_kit.data.shard_file import FEATURES
from kaggle_kit.data.shards import shards
from kaggle_kit.data.shards_manifest import read_manifest, shard_paths
from kaggle_kit.errors import ArtefactError, DataError
from kaggle_kit.storage import tables
from tests.helpers.decoding import decode_batches

ROOT = Path(__file__).parents[2]
DATA = config.Data(image_size=32, stored_size=36, shard_images=10)


@pytest.fixture
def made(competition, subset_dir, tmp_path):
    return shards(DATA, competition, subset_dir, tmp_path / "shards")


def records(folder, manifest, split):
    dataset = tf.data.TFRecordDataset(
        [str(p) for p in shard_paths(folder, manifest, split)]
    )
    return [tf.io.parse_single_example(record, FEATURES) for record in dataset]


def test_every_image_of_the_subset_is_in_one_shard(made, subset_dir, tmp_path):
    members = tables.read_subset(subset_dir / "subset.csv")
    classes = tables.read_classes(subset_dir / "classes.csv")
    for split in ("train", "validation"):
        expected = [
            (m.image_id, m.landmark_id)
            for m in members
            if m.split == split and m.landmark_id is not None
        ]
        got = [
            (r["id"].numpy().decode(), classes[int(r["class"])].landmark_id)
            for r in records(tmp_path / "shards", made, split)
        ]
        assert got == expected
        assert getattr(made.counts, split) == len(expected)


def test_shards_hold_no_more_than_their_number(made):
    assert all(0 < shard.images <= 10 for shard in made.shards)
    assert len(made.shards) > 3


def test_stored_image_is_the_image_resized(made, competition, tmp_path):
    record = records(tmp_path / "shards", made, "train")[0]
    stored = np.asarray(tf.io.decode_jpeg(record["image"]), np.float32)
    path = image_path(competition / "train", record["id"].numpy().decode())
    image = Image.open(path).resize((36, 36), Image.Resampling.BILINEAR)
    assert np.abs(stored - np.asarray(image, np.float32)).mean() < 4


def test_same_images_give_the_same_bytes(made, competition, subset_dir, tmp_path):
    again = shards(DATA, competition, subset_dir, tmp_path / "again")
    assert again == made


def test_whole_shards_are_kept_and_others_made_again(
    made, competition, subset_dir, tmp_path
):
    path = tmp_path / "shards" / made.shards[0].file
    before = path.stat().st_ino
    assert shards(DATA, competition, subset_dir, tmp_path / "shards") == made
    assert path.stat().st_ino == before
    path.write_bytes(path.read_bytes()[:-1])
    assert shards(DATA, competition, subset_dir, tmp_path / "shards") == made
    assert path.stat().st_size == made.shards[0].bytes
    other = DATA.model_copy(update={"jpeg_quality": 60})
    changed = shards(other, competition, subset_dir, tmp_path / "shards")
    assert changed.shards != made.shards


def test_broken_and_missing_images_are_left_out_and_named(
    competition, subset_dir, tmp_path
):
    copy = tmp_path / "competition"
    shutil.copytree(competition, copy)
    members = [
        m
        for m in tables.read_subset(subset_dir / "subset.csv")
        if m.split == "train" and m.landmark_id is not None
    ]
    gone, cut, text = (image_path(copy / "train", m.image_id) for m in members[:3])
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    text.write_text("not an image")
    made = shards(DATA, copy, subset_dir, tmp_path / "shards")
    assert made.broken == tuple(m.image_id for m in members[:3])
    assert made.counts.train == len(members) - 3


def test_no_image_at_all_is_an_error_and_leaves_nothing(subset_dir, tmp_path):
    (tmp_path / "competition" / "train" / "0").mkdir(parents=True)
    with pytest.raises(DataError, match="none of"):
        shards(DATA, tmp_path / "competition", subset_dir, tmp_path / "shards")
    assert [p.name for p in tmp_path.iterdir()] == ["competition"]


def test_a_shard_that_was_cut_short_is_refused(made, tmp_path):
    path = tmp_path / "shards" / made.shards[0].file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match=path.name):
        read_manifest(tmp_path / "shards")


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"shards\.json"):
        read_manifest(tmp_path)
    (tmp_path / "shards.json").write_text("{")
    with pytest.raises(ArtefactError, match="make the shards again"):
        read_manifest(tmp_path)


# Pipelines.


def epoch(made, tmp_path, number, data=DATA, batch_size=8):
    paths = shard_paths(tmp_path / "shards", made, "train")
    copies = [np.ones(s.images, int) for s in made.shards if s.split == "train"]
    batches = training_batches(paths, copies, data, batch_size, seed=3, epoch=number)
    return list(batches.as_numpy_iterator())


def test_an_epoch_that_is_run_again_is_the_same_epoch(made, tmp_path):
    changes = config.Augment(
        flip=True, crop=0.3, brightness=0.2, contrast=0.2, saturation=0.2
    )
    data = DATA.model_copy(update={"augment": changes})
    first, again = (epoch(made, tmp_path, 5, data) for _ in range(2))
    for (one, labels), (other, others) in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(labels, others)
    different = epoch(made, tmp_path, 6, data)
    assert not np.array_equal(first[0][0], different[0][0])


def test_no_training_batch_is_smaller_than_the_others(made, tmp_path):
    batches = epoch(made, tmp_path, 0, batch_size=8)
    assert {len(labels) for _, labels in batches} == {8}
    assert len(batches) == made.counts.train // 8


def test_fewer_images_than_a_batch_are_one_batch(made, tmp_path):
    ((images, _),) = epoch(made, tmp_path, 0, batch_size=4096)
    assert len(images) == made.counts.train


def test_validation_reads_every_image_once_in_order(made, tmp_path):
    paths = shard_paths(tmp_path / "shards", made, "validation")
    n = made.counts.validation
    batches = list(validation_batches(paths, n, 36, 32, 4).as_numpy_iterator())
    labels = np.concatenate([labels for _, labels in batches])
    expected = [
        int(r["class"]) for r in records(tmp_path / "shards", made, "validation")
    ]
    assert labels.tolist() == expected


def test_inference_sees_the_whole_image(competition):
    (row, *_) = tables.read_sample(competition / "sample_submission.csv")
    path = image_path(competition / "test", row)
    ((which, pixels),) = decode_batches([path], 32, 8)
    whole = resize_to_square(tf.io.decode_jpeg(path.read_bytes()), 32).numpy()
    assert which.tolist() == [0]
    assert np.abs(pixels[0].astype(float) - whole).mean() < 3


def test_validation_sees_what_inference_sees_but_for_the_jpeg_step(made, tmp_path):
    paths = shard_paths(tmp_path / "shards", made, "validation")
    pixels, _ = next(iter(validation_batches(paths, 4, 36, 32, 4)))
    (first, *_) = records(tmp_path / "shards", made, "validation")
    stored = tf.io.decode_jpeg(first["image"])
    assert stored.shape == (36, 36, 3)
    np.testing.assert_array_equal(pixels[0], resize_to_square(stored, 32))


def test_images_that_do_not_decode_are_skipped_and_the_rest_keep_their_place(
    competition, tmp_path
):
    ids = tables.read_sample(competition / "sample_submission.csv")[:4]
    good = [image_path(competition / "test", i) for i in ids]
    empty = tmp_path / "empty.jpg"
    empty.touch()
    paths = [good[0], empty, good[1], tmp_path / "none.jpg", good[2], good[3]]
    seen = list(decode_batches(paths, 32, 3))
    assert np.concatenate([which for which, _ in seen]).tolist() == [0, 2, 4, 5]


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_every_common_kind_of_picture_becomes_rgb(mode, kind, tmp_path):
    image = Image.linear_gradient("L").convert("RGB").convert(mode)
    path = tmp_path / "x.jpg"
    try:
        image.save(path, kind)
    except OSError:
        pytest.skip(f"{kind} cannot hold {mode}")
    ((_, pixels),) = decode_batches([path], 32, 1)
    assert pixels.shape == (1, 32, 32, 3)
    assert pixels.std() > 20


def test_augmentation_stays_in_range_and_follows_its_seed():
    pixels = np.random.default_rng(0).integers(0, 256, (36, 36, 3), np.uint8)
    changes = config.Augment(flip=True, crop=0.3, brightness=0.5, contrast=0.5)
    data = DATA.model_copy(update={"augment": changes})
    one, same, other = (
        augment(pixels, data, s).numpy() for s in ([1, 2], [1, 2], [3, 4])
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.shape == (32, 32, 3)
    assert one.min() >= 0 and one.max() <= 255


MEMORY = """
import json, sys
import numpy as np
from pathlib import Path
from kaggle_kit import config
from kaggle_kit.data.datasets import training_batches
from tests.helpers.memory import peak_mb
folder, times = Path(sys.argv[1]), int(sys.argv[2])
manifest = json.loads((folder / "shards.json").read_text())
paths = [folder / s["file"] for s in manifest["shards"] if s["split"] == "train"] * times
sizes = [s["images"] for s in manifest["shards"] if s["split"] == "train"] * times
copies = [np.ones(n, int) for n in sizes]
data = config.Data(image_size=224, stored_size=256, shuffle_images=64)
seen = sum(len(y) for _, y in training_batches(paths, copies, data, 8, 0, 0))
print(json.dumps({"seen": seen, "mb": peak_mb()}))
"""


@pytest.mark.extended
def test_memory_does_not_grow_with_the_number_of_images(
    competition, subset_dir, tmp_path
):
    """An epoch of N images and one of 8 N, each in a process of its own."""
    data = config.Data(image_size=224, stored_size=256)
    n = shards(data, competition, subset_dir, tmp_path / "shards").counts.train
    peak = {}
    for times in (4, 32):
        command = [sys.executable, "-c", MEMORY, str(tmp_path / "shards"), str(times)]
        shown = json.loads(subprocess.check_output(command, text=True, cwd=ROOT))
        assert shown["seen"] == n * times // 8 * 8
        peak[times] = shown["mb"]
    decoded_mb = (
        n * 28 * 224 * 224 * 3 * 4 / 2**20
    )  # what the further images would take
    assert decoded_mb > 500
    assert peak[32] - peak[4] < 60, peak


@pytest.mark.parametrize("short", [True, False])
def test_a_disk_too_small_for_all_shards_is_refused_after_the_first(
    short, made, competition, subset_dir, tmp_path, monkeypatch
):
    """By as little as a byte; what was written is gone."""
    first = made.shards[0]
    assert first.images == 10
    n_left = made.counts.train + made.counts.validation - 10
    needed = n_left * first.bytes / 10
    free = int(needed) - 1 if short else int(needed * 2)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(free * 2, free, free)
    )
    out = tmp_path / "again"
    if short:
        with pytest.raises(DataError, match=f"shards of {n_left} more images"):
            shards(DATA, competition, subset_dir, out)
        assert not list(tmp_path.glob("again*"))
    else:
        assert shards(DATA, competition, subset_dir, out) == made
