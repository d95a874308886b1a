"""An epoch of training from shards, against the same batches from memory."""

import tempfile
from pathlib import Path

import keras
import numpy as np

from kaggle_kit import config
from kaggle_kit.data.datasets import training_batches
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.shards import shards
from kaggle_kit.data.shards_manifest import shard_paths
from kaggle_kit.model.classifier import classifier
from kaggle_kit.storage import tables
from tests.benchmarks import Row, medians
from tests.benchmarks._images import write_image

N_CLASSES = 8


def measure(n: int = 1024, repeats: int = 3) -> list[Row]:
    """ResNet-50 as ``r50_scratch.yaml`` trains it at last, in batches of 32."""
    settings = config.load(Path("r50_scratch.yaml"))
    side = settings.data.image_size
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "shards"
        manifest = shards(
            settings.data, *_competition(Path(folder) / "competition", n), made
        )
        paths = shard_paths(made, manifest, "train")
        copies = [np.ones(s.images, int) for s in manifest.shards]
        batch = min(32, n)
        batches = training_batches(paths, copies, settings.data, batch, seed=0, epoch=0)
        kept = batches.cache()
        model = classifier(settings.model, side, N_CLASSES)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(1e-4), loss)
        model.fit(kept, verbose=0)
        ours, theirs = medians(
            repeats,
            lambda: model.fit(batches, verbose=0),
            lambda: model.fit(kept, verbose=0),
        )
    texts = [f"{n / seconds:.1f} images/s" for seconds in (ours, theirs)]
    measured = f"epoch of ResNet-50 at {side} px from shards, against from memory"
    return [Row(measured, *texts, theirs / ours, 0.95)]


def _competition(root: Path, n: int) -> tuple[Path, Path]:
    """A competition and a subset of it, all for training."""
    place = Competition(root)
    ids = [f"{i:016x}" for i in range(n)]
    for i, image_id in enumerate(ids):
        write_image(image_path(place.train_dir, image_id), i)
    subset = root / "subset"
    subset.mkdir()
    rows = [(image_id, i % N_CLASSES, "train") for i, image_id in enumerate(ids)]
    tables.write_rows(subset / "subset.csv", ("id", "landmark_id", "split"), rows)
    columns = ("class", "landmark_id", "n_images")
    classes = [(i, i, n // N_CLASSES) for i in range(N_CLASSES)]
    tables.write_rows(subset / "classes.csv", columns, classes)
    return root, subset
