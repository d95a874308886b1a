"""ResNet-50 at 224 px from JPEGs to a submission, against a loop as notebooks have it.

The weights are random: what is measured is speed. That 8-bit integers recognise as well
as floats is measured by each bundle that has them, on its validation images.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.backends.base import INT8, MODEL
from kaggle_kit.backends.tensorflow import load_runner
from kaggle_kit.config import Config
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.inference.predict import predict
from kaggle_kit.model.classifier import classifier
from kaggle_kit.model.convert_litert import convert_to_int8
from kaggle_kit.model.export import export
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.whitening import normalise
from kaggle_kit.storage import tables
from kaggle_kit.storage.tables import Guess
from tests.benchmarks import Row, medians
from tests.benchmarks._images import write_image
from tests.helpers.decoding import decode_batches
from tests.helpers.signed_bundles import sign

GALLERY = 1000
CALIBRATION = 8


def measure(n: int = 4096, side: int = 224, repeats: int = 3) -> list[Row]:
    """Predict n images in integers, and a quarter of them in floats."""
    few = max(1, n // 4)
    return _compared(n, side, repeats, True) + _compared(few, side, repeats, False)


def _compared(n: int, side: int, repeats: int, int8: bool) -> list[Row]:
    """All of ``predict``; the notebook's loop, and the model alone, on some of them."""
    with tempfile.TemporaryDirectory() as folder:
        place = Competition(Path(folder) / "competition")
        ids = _competition(place, n)
        settings = _settings(side, int8)
        bundle = _bundle(settings, place, ids, Path(folder) / "bundle")
        out = Path(folder) / "submission.csv"
        paths = [image_path(place.test_dir, image_id) for image_id in ids]
        few = max(1, n // 8)
        notebook = _Notebook(side)
        network = load_runner(bundle / "embedders" / "0" / (INT8 if int8 else MODEL))
        size = settings.recognition.batch_size
        ready = [
            pixels for _, pixels in decode_batches(paths[: min(n, 256)], side, size)
        ]

        def ours() -> None:
            predict(bundle, place.root, out)

        def theirs() -> None:
            notebook.submission(paths[:few], ids[:few], out)

        def alone() -> None:
            for pixels in ready:
                network.start(pixels)()

        for run in (ours, theirs, alone):
            run()
        mine, other, bare = medians(repeats, ours, theirs, alone)
    kind = "8-bit integers" if int8 else "floats"
    measured = f"predict, ResNet-50 at {side} px in {kind}, {n} JPEGs to submission.csv"
    rates = n / mine, few / other
    model = sum(map(len, ready)) / bare
    return [
        Row(measured, *map(_rate, rates), rates[0] / rates[1], 3 if int8 else None),
        Row(
            "the same, model alone",
            _rate(n / mine),
            _rate(model),
            n / mine / model,
            0.9,
        ),
    ]


class _Notebook:
    """``load_img`` and ``model.predict`` in batches, then the nearest of a gallery."""

    def __init__(self, side: int):
        self.side = side
        self.model = keras.applications.ResNet50(
            weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3)
        )
        self.gallery = normalise(_normal((GALLERY, 2048)))

    def submission(self, paths: Sequence[Path], ids: Sequence[str], out: Path) -> None:
        """Guess for each image and write the file."""
        guesses: dict[str, Guess | None] = {}
        for start in range(0, len(paths), 32):
            batch = np.stack([self._loaded(path) for path in paths[start : start + 32]])
            vectors = normalise(self.model.predict(batch, verbose=0))
            cosines = vectors @ self.gallery.T
            for image_id, row in zip(ids[start : start + 32], cosines, strict=False):
                guesses[image_id] = Guess(int(row.argmax()), float(row.max()))
        tables.write_submission(out, ids, guesses)

    def _loaded(self, path: Path) -> NDArray[np.float32]:
        image = keras.utils.load_img(path, target_size=(self.side, self.side))
        array = keras.utils.img_to_array(image)
        return keras.applications.resnet50.preprocess_input(array)


def _settings(side: int, int8: bool) -> Config:
    changes = {
        "data.image_size": side,
        "data.stored_size": side,
        "train.epochs": 0,
        "recognition.flip": False,
        "recognition.int8": int8,
    }
    return config.override(config.load(Path("demo.yaml")), changes)


def _competition(place: Competition, n: int) -> list[str]:
    """n test images, of which at most 64 differ, and no training image."""
    ids = [f"{i:016x}" for i in range(n)]
    for i, image_id in enumerate(ids):
        path = image_path(place.test_dir, image_id)
        if i < 64:
            write_image(path, i)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image_path(place.test_dir, ids[i % 64]), path)
    rows = [(f"{2**63 + i:016x}", i) for i in range(GALLERY)]
    tables.write_rows(place.train_csv, ("id", "landmark_id"), rows)
    tables.write_rows(place.sample_csv, ("id", "landmarks"), [(i, "") for i in ids])
    return ids


def _bundle(
    settings: Config, place: Competition, ids: Sequence[str], out: Path
) -> Path:
    """What ``predict`` reads: a network of random weights and a gallery of its width."""
    keras.utils.set_random_seed(0)
    size = settings.data.image_size
    network = out / "embedders" / "0"
    network.mkdir(parents=True)
    export(classifier(settings.model, size, 2), settings, network / MODEL)
    some = [image_path(place.test_dir, image_id) for image_id in ids[:CALIBRATION]]
    if settings.recognition.int8:
        ((_, pixels),) = decode_batches(some, size, CALIBRATION)
        convert_to_int8(network / MODEL, list(pixels), network / INT8)
    config.write_json(settings, out / "config.json")
    columns = ("class", "landmark_id", "n_images")
    tables.write_rows(out / "classes.csv", columns, [(0, 0, 1), (1, 1, 1)])
    vectors = normalise(_normal((GALLERY, settings.model.embedding or 2048)))
    Gallery(
        [f"{2**63 + i:016x}" for i in range(GALLERY)],
        np.arange(GALLERY),
        vectors.astype(np.float16),
        np.zeros(GALLERY, np.float32),
        vectors[:10].astype(np.float16),
    ).save(out / "gallery")
    sign(out)
    return out


def _normal(shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _rate(images_per_s: float) -> str:
    return f"{images_per_s:.1f} images/s"
