"""Images that are late for one part of an embedder, or for all."""

import threading

import numpy as np
import pytest
from PIL import Image

from kaggle_kit import config
from kaggle_kit.backends.pillow import LightEngine
from kaggle_kit.data.decode_threads import Deadline, DecodeThreads
from kaggle_kit.inference.embedder import Embedder
from kaggle_kit.inference.time_budget import Budget, Level, Rates, Work
from kaggle_kit.inference.timely_batches import embed_in_time
from kaggle_kit.local_features.extract import LocalReader


class Part:
    """A part whose embedding of an image is its number; some images are late for it."""

    whitening = None
    width, n_classes = 3, 0
    views = ("serve",)

    def __init__(self, deadline, late=(), tries=10**9):
        self.threads = DecodeThreads(deadline, 2)
        self.late = dict.fromkeys(late, tries)
        self.go_on = threading.Event()

    def decode(self, number):
        if self.late.get(number, 0):
            self.late[number] -= 1
            self.go_on.wait()
        return number

    def read(self, images):
        found = self.threads.map(self.decode, images)
        positions = [i for i, number in enumerate(found) if number is not None]
        return np.array(positions, np.int64), [images[i] for i in positions]

    def embed(self, inputs, view):
        vectors = np.array([[1, 1 + number, 0] for number in inputs], np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors, np.empty((len(inputs), 0), np.float32)

    def close(self):
        self.threads.close()


def embed(parts, deadline, images, limit_s=100, batch_size=8):
    """What a run with a limit makes of all images, and the number that it reached."""
    settings = config.Recognition(batch_size=batch_size)
    embedder = Embedder(parts, settings, deadline)
    budget = Budget(embedder.levels, embedder.rates, limit_s)
    budget.start(Work(test=len(images)))
    batches = list(embed_in_time(embedder, budget, "test", images))
    embedder.close()
    positions = [i for _, found in batches for i in found.positions.tolist()]
    vectors = np.concatenate([found.vectors for _, found in batches])
    return positions, vectors, batches[-1][0], budget


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    """A tenth of a second, which is long for the images here."""
    place = "kaggle_kit.inference.timely_batches"
    monkeypatch.setattr(f"{place}.PATIENCE", ((0.001, 0.1), (0.002, 0.2)))
    monkeypatch.setattr(f"{place}.LEAST_PATIENCE_S", 0.01)


def test_an_image_that_is_late_once_is_embedded_at_the_end():
    deadline = Deadline()
    images = list(range(100, 130))
    plain = embed([Part(Deadline())], Deadline(), images)
    positions, vectors, n_reached, budget = embed(
        [Part(deadline, [103, 111, 129], tries=1)], deadline, images
    )
    assert n_reached == 30 and budget.work.test == 0 and not budget.list_drops()
    assert positions[-3:] == [29, 11, 3] and sorted(positions) == list(range(30))
    assert (vectors[np.argsort(positions)] == plain[1]).all()
    assert not deadline.late


def test_an_image_that_is_always_late_is_left_out():
    deadline = Deadline()
    images = list(range(100, 130))
    positions, _, n_reached, budget = embed(
        [Part(deadline, [103, 129])], deadline, images
    )
    assert n_reached == 30 and set(range(30)) - set(positions) == {3, 29}
    assert deadline.late == {103, 129}
    assert not [drop for drop in budget.list_drops() if drop.what != "test photos"]


def test_an_image_that_is_late_for_one_part_is_left_out_of_all():
    deadline = Deadline()
    images = list(range(100, 116))
    parts = [Part(deadline, [105]), Part(deadline, [103]), Part(deadline)]
    positions, vectors, *_ = embed(parts, deadline, images)
    other = Deadline()
    expected = embed([Part(other) for _ in range(3)], other, images)[1]
    assert positions == [i for i in range(16) if i not in (3, 5)]
    assert (vectors == expected[positions]).all()


def test_lateness_counts_for_no_rate():
    """Otherwise other images would lose their views for it."""
    deadline = Deadline()
    images = list(range(100, 140))
    _, _, _, budget = embed([Part(deadline, images[::8])], deadline, images)
    assert budget.rates[0, "serve"] < 0.01


def test_without_a_limit_every_image_is_waited_for():
    deadline = Deadline()
    part = Part(deadline, [103], tries=1)
    threading.Timer(0.5, part.go_on.set).start()
    positions, *_ = embed([part], deadline, list(range(100, 108)), limit_s=None)
    assert positions == list(range(8)) and not deadline.late


def test_nothing_but_late_images_ends_within_the_limit():
    deadline = Deadline()
    images = list(range(200))
    settings = config.Recognition(batch_size=8)
    embedder = Embedder([Part(deadline, images)], settings, deadline)
    budget = Budget([Level("", ((0, "serve"),))], Rates({(0, "serve"): 1}), 7)
    budget.start(Work(test=200))
    found = list(embed_in_time(embedder, budget, "test", images))
    assert not sum(len(batch.positions) for _, batch in found)
    assert budget.clock() - budget.start_time < 7


def test_local_features_of_a_late_image_are_none_and_those_of_others_are_kept(tmp_path):
    pytest.importorskip("cv2")
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        noise = np.random.default_rng(i).integers(0, 256, (80, 80, 3), np.uint8)
        Image.fromarray(noise).save(path)
    go_on = threading.Event()

    decoded = []

    class Engine(LightEngine):
        def decode(self, image, side=None):
            decoded.append(image)
            if image == paths[2] and not go_on.is_set():
                go_on.wait()
            return super().decode(image, side)

    engine = Engine()
    engine.deadline.patience_s = lambda: 1.0
    reader = LocalReader(config.Local(), engine)
    found = reader.read(paths)
    assert [features is None for features in found] == [i == 2 for i in range(5)]
    assert engine.deadline.late == {paths[2]}
    go_on.set()
    engine.deadline.late.clear()
    assert reader.read(paths)[2] is not None
    assert sorted(decoded) == sorted([*paths, paths[2]])
