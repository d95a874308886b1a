"""Predict when it is killed at any moment, and when it has too little time."""

import functools
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.data.layout import image_path
from kaggle_kit.inference import embedder as embedder_module
from kaggle_kit.inference import predict as predict_module
from kaggle_kit.inference import recogniser as recogniser_module
from kaggle_kit.inference import submission_file
from kaggle_kit.inference.embedder import Embedder, concatenate
from kaggle_kit.inference.embedder_parts import Network
from kaggle_kit.inference.predict import predict
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.local_features.rerank import Geometry
from kaggle_kit.metrics.score import Validation, validate
from kaggle_kit.model.export import export
from kaggle_kit.rehearsal.rehearse import rehearse
from kaggle_kit.retrieval.gallery import build_gallery, sort_rarest_first
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.storage.json_files import to_json
from kaggle_kit.storage.tables import Label
from kaggle_kit.training.network import load_best
from tests.helpers.longer import but_for
from tests.helpers.many_images import multiply_test_images

KERNEL = Path(__file__).parents[2] / "kernels" / "inference" / "landmark-inference.py"


def validated(n_guesses, n_images=28):
    """What ``validate`` says of a submission with so many guesses."""
    return Validation(valid=True, n_images=n_images, n_guesses=n_guesses)


def slow_down(monkeypatch, seconds, sleep=time.sleep):
    """Make each view of an image take some seconds; ``serve`` has two, one mirrored."""
    embed = Network.embed

    def embed_slowly(self, inputs, view):
        sleep(len(inputs) * {"serve": 2, "one": 1}[view] * seconds)
        return embed(self, inputs, view)

    monkeypatch.setattr(Network, "embed", embed_slowly)


class Clock:
    """A clock that only ``sleep`` advances; other work on the machine is ignored."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The clock that ``predict`` uses."""
    clock = Clock()
    for module in (embedder_module, submission_file, predict_module):
        monkeypatch.setattr(module, "time", clock)
    budget = functools.partial(predict_module.Budget, clock=clock.monotonic)
    monkeypatch.setattr(predict_module, "Budget", budget)
    return clock


# Killed.

# The kernel; it writes after every batch, and slowly, so that a kill may hit any moment.
SLOW_KERNEL = """
import runpy, sys, time
sys.path.insert(0, {bundle!r})
from kaggle_kit.storage import tables
write = tables.write_submission
def write_slowly(path, image_ids, guesses):
    write(path, Slow(image_ids), guesses)
class Slow(list):
    def __iter__(self):
        for x in super().__iter__():
            time.sleep(0.003)
            yield x
tables.write_submission = write_slowly
import importlib.abc
class Find(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "kaggle_kit.inference.predict":
            sys.meta_path.remove(self)
            from kaggle_kit.inference import submission_file
            submission_file.REFRESH_S = 0
sys.meta_path.insert(0, Find())
sys.path.remove({bundle!r})
runpy.run_path({kernel!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def kernel(bundle_dir, competition, tmp_path_factory):
    """A function that starts the kernel; it returns the process and its submission."""
    inputs = tmp_path_factory.mktemp("input")
    (inputs / "kit").symlink_to(bundle_dir)
    (inputs / "competition").symlink_to(competition)
    code = SLOW_KERNEL.format(bundle=str(inputs / "kit"), kernel=str(KERNEL))
    environment = {**os.environ, "KAGGLE_KIT_INPUT": str(inputs), "PYTHONPATH": ""}

    def start():
        working = tmp_path_factory.mktemp("working")
        with (working / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-B", "-c", code],
                cwd=working,
                env=environment,
                stdout=log,
                stderr=log,
            )
        return process, working / "submission.csv"

    return start


def await_file(process, path):
    while not path.exists():
        assert process.poll() is None, path.with_name("log.txt").read_text()
        time.sleep(0.002)


def check_killed(kernel, competition, n):
    """Kill n kernels at random moments, and validate the files that they leave."""
    process, out = kernel()
    await_file(process, out)
    start = time.monotonic()
    assert process.wait() == 0, out.with_name("log.txt").read_text()
    duration = time.monotonic() - start
    sample = competition / "sample_submission.csv"
    assert validate(out, sample) == validated(28)
    complete = tables.read_submission(out)
    rng = random.Random(0)
    counts = []
    while len(counts) < n:
        process, out = kernel()
        await_file(process, out)
        # mostly late moments, when the file changes
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.betavariate(3, 1) * duration)
        process.kill()
        code = process.wait()
        validation = validate(out, sample)
        assert validation == validated(validation.n_guesses)
        for image_id, guess in tables.read_submission(out).items():
            assert guess is None or guess.landmark_id == complete[image_id].landmark_id
        if code == -signal.SIGKILL:
            counts.append(validation.n_guesses)
        else:  # it ended before the kill
            assert code == 0
            duration *= 0.95
    return counts


@pytest.mark.parametrize("n", but_for([1], [1, 5]))
def test_a_kernel_that_is_killed_leaves_a_valid_file(n, kernel, competition):
    check_killed(kernel, competition, n)


@pytest.mark.slow
def test_a_kernel_that_is_killed_at_any_moment_leaves_a_valid_file(kernel, competition):
    counts = check_killed(kernel, competition, 50)
    assert len(set(counts)) > 2, counts  # empty, complete, and in between


# Too little time.


def test_rows_only_improve(bundle_dir, competition, tmp_path, monkeypatch):
    """A row with a guess has a guess in every later version of the file."""
    files = []
    write = tables.write_submission

    def write_and_record(path, image_ids, guesses):
        write(path, image_ids, guesses)
        files.append(tables.read_submission(path))

    monkeypatch.setattr(tables, "write_submission", write_and_record)
    monkeypatch.setattr(submission_file, "REFRESH_S", 0)
    predict(bundle_dir, competition, tmp_path / "submission.csv", 3600)
    assert len(files) > 4
    assert not any(files[0].values()) and all(files[-1].values())
    for before, after in itertools.pairwise(files):
        assert list(before) == list(after)
        assert all(after[i] for i, guess in before.items() if guess)


def test_enough_time_gives_the_same_bytes_as_no_limit(
    bundle_dir, competition, tmp_path
):
    plain = predict(bundle_dir, competition, tmp_path / "plain.csv")
    timed = predict(bundle_dir, competition, tmp_path / "timed.csv", 3600)
    assert plain == timed and timed.dropped == []
    assert (tmp_path / "plain.csv").read_bytes() == (
        tmp_path / "timed.csv"
    ).read_bytes()


def check_half_the_time(bundle_dir, competition, tmp_path, monkeypatch, runs):
    """With the real clock: the limit leaves half of the time that the images need."""
    slow_down(monkeypatch, 0.05)
    place, out = (
        multiply_test_images(competition, tmp_path / "many", 6),
        tmp_path / "submission.csv",
    )
    start = time.monotonic()
    assert predict(bundle_dir, place, out, 3600).dropped == []
    limit_s = time.monotonic() - start - 168 * 2 * 0.05 / 2
    for run in range(runs):
        start = time.monotonic()
        result = predict(bundle_dir, place, out, limit_s)
        assert time.monotonic() - start < limit_s, run
        validation = validate(out, place / "sample_submission.csv")
        assert validation == validated(result.guesses, n_images=168)
        assert result.dropped
        print(f"run {run}: {time.monotonic() - start:.1f} of {limit_s:.1f} s, {result}")


@pytest.mark.timed
def test_half_the_time_is_not_exceeded(bundle_dir, competition, tmp_path, monkeypatch):
    check_half_the_time(bundle_dir, competition, tmp_path, monkeypatch, 1)


@pytest.mark.slow
def test_half_the_time_is_not_exceeded_every_time(
    bundle_dir, competition, tmp_path, monkeypatch
):
    check_half_the_time(bundle_dir, competition, tmp_path, monkeypatch, 20)


@pytest.mark.parametrize("seed", range(5))
def test_half_the_time_is_used_up_on_a_machine_of_varying_speed(
    bundle_dir, competition, tmp_path, clock, monkeypatch, seed
):
    """Some batches take twice as long as others; all but the last one fit."""
    rng = random.Random(seed)
    slow_down(monkeypatch, 1.0, lambda s: clock.sleep(s * rng.uniform(0.7, 1.4)))
    place = multiply_test_images(competition, tmp_path / "many", 6)
    limit_s = (168 * 1.05 + 4 * 8 + 5) / 0.96  # a view takes 1.05 s on average
    result = predict(bundle_dir, place, tmp_path / "submission.csv", limit_s)
    assert clock.now - 1000 < limit_s
    assert result.guesses >= 160
    drops = {drop.what: drop.photos for drop in result.dropped}
    assert 130 < drops["views"] <= 152


def test_a_limit_in_the_past_leaves_a_valid_file(
    bundle_dir, competition, tmp_path, caplog
):
    out = tmp_path / "submission.csv"
    with caplog.at_level("WARNING"):
        result = predict(bundle_dir, competition, out, 100, time.monotonic() - 100)
    assert (result.guesses, result.unreadable) == (0, 0)
    drops = {drop.what: drop for drop in result.dropped}
    assert list(drops) == ["test photos"]
    assert drops["test photos"].photos == drops["test photos"].of == 28
    assert "out of time for test photos" in caplog.text
    validation = validate(out, competition / "sample_submission.csv")
    assert validation == validated(0)


def test_images_are_reached_in_the_order_of_the_sample(
    bundle_dir, competition, tmp_path, monkeypatch
):
    """An image that is not reached has an empty row, and does not count as unreadable."""
    embed = Embedder.embed
    now = time.monotonic()
    n_batches = 0
    monkeypatch.setattr(submission_file, "REFRESH_S", 0)

    def embed_and_end(self, *args):
        nonlocal n_batches
        n_batches += 1
        if n_batches == 2:
            for budget in budgets:
                budget.end = now
        return embed(self, *args)

    budgets = []
    admit = predict_module.Budget.admit

    def admit_and_record(self, *args):
        budgets.append(self)
        return admit(self, *args)

    monkeypatch.setattr(Embedder, "embed", embed_and_end)
    monkeypatch.setattr(predict_module.Budget, "admit", admit_and_record)
    out = tmp_path / "submission.csv"
    result = predict(bundle_dir, competition, out, 3600)
    rows = list(tables.read_submission(out).values())
    assert [guess is not None for guess in rows] == [True] * 16 + [False] * 12
    assert (result.guesses, result.unreadable) == (16, 0)
    drops = {drop.what: drop.photos for drop in result.dropped}
    assert drops["test photos"] == 12


@pytest.mark.slow  # and on a machine with nothing else to do
def test_a_rehearsed_kernel_does_not_exceed_its_limit(run_dir, competition, tmp_path):
    """With a network that is really slow: four views of an image, some twice as large."""
    changes = {"data.image_size": 768, "data.stored_size": 768}
    changes |= {"recognition.scales": [1.0, 2.0]}
    build_bundle([run_dir], competition, tmp_path / "bundle", changes)
    place = multiply_test_images(competition, tmp_path / "many", 12)
    start = time.monotonic()
    predict(tmp_path / "bundle", place, tmp_path / "submission.csv")
    needed_s = time.monotonic() - start
    start = time.monotonic()
    code = "import kaggle_kit.inference.predict"
    subprocess.run([sys.executable, "-c", code], check=True)
    limit_s = (time.monotonic() - start + needed_s / 2 + 5) / 0.96
    result = rehearse(tmp_path / "bundle", place, tmp_path / "out", limit_s)
    assert result.seconds < limit_s
    counts = to_json(result.counts)
    assert counts["n_images"] == 336 and counts["n_guesses"] > 100
    assert "out of time for views" in (tmp_path / "out" / "log.txt").read_text()
    print(f"needs {needed_s:.1f} s, limit {limit_s:.1f} s: {result}")


# Fewer views, embedders or images.


def test_fewer_views_are_computed_by_the_same_weights(
    settings, run_dir, competition, tmp_path
):
    """A level with one view equals a network of one view, and is similar to all views."""
    embedders = {}
    for name, changes in {
        "all": {"recognition.scales": [0.5, 1.0, 2.0]},
        "one": {"recognition.scales": [2.0, 1.0], "recognition.flip": False},
        "single": {"recognition.scales": [1.0], "recognition.flip": False},
    }.items():
        large = {"data.image_size": 64, "data.stored_size": 64}
        export_settings = config.override(settings, large | changes)
        export(load_best(run_dir, export_settings), export_settings, tmp_path / name)
        embedders[name] = Embedder(
            [Network(tmp_path / name, TensorFlowEngine())], export_settings.recognition
        )
    ids = tables.read_sample(competition / "sample_submission.csv")
    paths = [image_path(competition / "test", i) for i in ids]
    vectors = {}
    for name, embedder in embedders.items():
        for level in embedder.levels:
            vectors[name, level.lacks] = embedder.embed(paths, level).vectors
    levels = [("all", ""), ("all", "views"), ("all", "size")]
    assert list(vectors) == [*levels, ("one", ""), ("one", "views"), ("single", "")]
    cosines = (vectors["all", "views"] * vectors["all", ""]).sum(axis=1)
    assert 0.7 < cosines.min() < cosines.max() < 1 - 1e-6
    np.testing.assert_allclose(
        vectors["one", "views"], vectors["all", "views"], atol=1e-5
    )


def test_embedders_are_dropped_and_restored_at_the_right_image(both, competition):
    out, _ = both
    recogniser = Recogniser.load(out / "bundle")
    embedder = recogniser.embedder
    ids = tables.read_sample(competition / "sample_submission.csv")
    paths = [image_path(competition / "test", i) for i in ids]
    paths[9] = paths[9].with_name("missing.jpg")
    expected = embedder.embed_all(paths, "x")
    full = embedder.levels[0]
    first_only = full._replace(uses=full.uses[:1])
    size = embedder.settings.batch_size
    batches = []
    for i, start in enumerate(range(0, len(paths), size)):
        images, upcoming = (paths[k : k + size] for k in (start, start + size))
        level = first_only if i in (1, 2) else full
        batch = embedder.embed(images, level, upcoming)
        batches.append(batch._replace(positions=batch.positions + start))
    assert len(batches) == 4
    np.testing.assert_array_equal(concatenate(batches).positions, expected.positions)
    width = embedder.widths[0]
    for i, batch in enumerate(batches):
        rows = np.isin(expected.positions, batch.positions)
        if i in (1, 2):
            assert batch.parts[:, 0].all() and not batch.parts[:, 1].any()
            assert not batch.vectors[:, width:].any()
            assert batch.vectors.any(axis=1).all()
        else:
            assert batch.parts.all()
            np.testing.assert_allclose(batch.vectors, expected.vectors[rows], atol=1e-5)


def test_images_of_one_embedder_are_compared_with_that_one(both, competition):
    """The cosine of a query and a gallery image is that of the parts that both have."""
    out, _ = both
    recogniser = Recogniser.load(out / "bundle")
    embedder = recogniser.embedder
    weights = embedder.settings.weights
    ids = tables.read_sample(competition / "sample_submission.csv")[:8]
    paths = [image_path(competition / "test", i) for i in ids]
    first, second = (f.vectors for f in embedder.embed_by_part(paths, "x"))
    full = embedder.levels[0]
    both_parts = embedder.embed(paths)
    first_part = embedder.embed(paths, full._replace(uses=full.uses[:1]))
    mixed = concatenate([both_parts.select(slice(4)), first_part.select(slice(4, 8))])
    labels = [Label(image_id, i) for i, image_id in enumerate(ids)]
    gallery = build_gallery(
        labels,
        mixed.vectors,
        recogniser.gallery.non_landmarks,
        embedder.settings,
    )
    evidence = recogniser.with_gallery(gallery).search(mixed)
    by_first = first @ first.T
    w = np.array(weights) / sum(weights)
    by_both = w[0] * by_first + w[1] * (second @ second.T)
    for i in range(8):
        for row, cosine in zip(evidence.rows[i], evidence.cosines[i], strict=True):
            expected = by_both if i < 4 and row < 4 else by_first
            assert cosine == pytest.approx(expected[i, row], abs=3e-3)


def test_verification_starts_with_the_most_confident_and_stops_in_time(
    local, competition, tmp_path, clock, monkeypatch
):
    """A query takes 1 s; four queries are verified first to measure that rate."""
    out, _ = local
    count_inliers = Geometry.count_inliers
    verified = []

    def count_and_record(self, queries, *args):
        verified.extend(queries)
        clock.sleep(4)
        return count_inliers(self, queries, *args)

    monkeypatch.setattr(recogniser_module, "BLOCK", 4)
    monkeypatch.setattr(predict_module, "BLOCK", 4)
    monkeypatch.setattr(predict_module, "PROBE", 4)
    monkeypatch.setattr(Geometry, "count_inliers", count_and_record)
    guesses, drops = {}, {}
    for planned_s in (32.5, 18.5, 4.5):  # for 28, 14 and no queries
        path = tmp_path / "submission.csv"
        start, limit_s = clock.now, (planned_s + 5) / 0.96
        result = predict(out / "bundle", competition, path, limit_s)
        assert clock.now - start < limit_s
        guesses[planned_s] = list(tables.read_submission(path).values())
        drops[planned_s] = {d.what: d.photos for d in result.dropped}
    assert drops == {
        32.5: {},
        18.5: {"verification": 16},
        4.5: {"verification": 28},
    }
    ids = list(tables.read_submission(path))
    paths = [image_path(competition / "test", image_id) for image_id in ids]
    order = [paths.index(query) for query in verified[4 : 4 + 28]]
    sort_keys = [-guess.confidence for guess in guesses[4.5]]
    assert order == sorted(range(28), key=sort_keys.__getitem__)
    for i, row in enumerate(order):
        expected = guesses[32.5 if i < 12 else 4.5][row]
        assert guesses[18.5][row] == expected
    assert guesses[18.5] != guesses[4.5]


@pytest.mark.parametrize("seed", range(5))
def test_any_prefix_of_the_new_images_favours_rare_landmarks(seed):
    """A landmark in the prefix has at most one image more than one in the rest."""
    rng = random.Random(seed)
    labels = [Label(f"{i:03}", rng.choice([1, 1, 1, 1, 2, 2, 3])) for i in range(60)]
    gallery = [rng.choice([1, 2]) for _ in range(9)]
    order = sort_rarest_first(labels, gallery)
    assert sorted(order) == sorted(labels)
    for end in range(len(order)):
        counts = {k: gallery.count(k) for k in (1, 2, 3)}
        for label in order[:end]:
            counts[label.landmark_id] += 1
        in_rest = {label.landmark_id for label in order[end:]}
        in_prefix = {label.landmark_id for label in order[:end]}
        for rare in in_rest:
            for other in in_prefix:
                bound = max(counts[rare] + 1, gallery.count(other) + 1)
                assert counts[other] <= bound


def test_as_many_new_images_are_embedded_as_time_allows(
    bundle_dir, competition, tmp_path, clock, monkeypatch
):
    """Rarest landmarks first: each new one gets an image before any gets a second one."""
    place = tmp_path / "rerun"
    shutil.copytree(competition, place)
    ids = tables.read_sample(competition / "sample_submission.csv")
    rows = []
    for landmark in (999990, 999991, 999992, 999993):
        for i in range(40):
            source = image_path(competition / "test", ids[landmark % 4])
            new_id = f"feed{landmark}{i:06}"
            target = image_path(place / "train", new_id)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            rows.append((new_id, landmark))
    write_rows(place / "train.csv", ("id", "landmark_id"), rows)
    slow_down(monkeypatch, 1.0, clock.sleep)
    out = tmp_path / "submission.csv"
    # two batches of 8 with both views, 12 test images with one, and 80 new ones
    result = predict(bundle_dir, place, out, (2 * 16 + 12 + 80.5 + 5) / 0.96)
    assert clock.now - 1000 == 2 * 16 + 12 + 80
    drops = {drop.what: drop.photos for drop in result.dropped}
    assert drops == {"views": 12 + 80, "new photos": 80}
    landmarks = {guess.landmark_id for guess in tables.read_submission(out).values()}
    assert landmarks == {999990, 999991, 999992, 999993}
