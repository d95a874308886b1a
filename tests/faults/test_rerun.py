"""The private rerun is of other images than the bundle was made with: never a failure.

Unknown landmarks, and known ones that the rerun lacks, are in
``tests/recognition/test_predict.py``; too little time is in ``test_time.py``.
"""

import io
import random
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from PIL import Image

from kaggle_kit.backends.tensorflow import SavedModelRunner
from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import TableError
from kaggle_kit.inference import predict as predicting
from kaggle_kit.inference.predict import predict
from kaggle_kit.metrics.score import validate
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.storage import tables
from tests.helpers import bad_tables as bad
from tests.helpers import mutated_images as mutants
from tests.helpers.complaints import check_complaint, steady
from tests.helpers.signed_bundles import sign, with_settings

SAMPLE = "sample_submission.csv"


@pytest.fixture(scope="module")
def undisturbed(bundle_dir, competition, tmp_path_factory):
    """The guesses for the competition as it is."""
    out = tmp_path_factory.mktemp("undisturbed") / "submission.csv"
    predict(bundle_dir, competition, out)
    return tables.read_submission(out)


@pytest.fixture
def guesses_of(bundle_dir, tmp_path):
    """Predict a rerun; its guesses, once the file is one that Kaggle takes."""

    def run(place, bundle=bundle_dir):
        out = tmp_path / "submission.csv"
        predict(bundle, place, out)
        assert validate(out, place / SAMPLE).valid
        return tables.read_submission(out)

    return run


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def check_same(guess, other):
    assert guess.landmark_id == other.landmark_id
    assert guess.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_three_times_the_images(rerun, undisturbed, guesses_of):
    """Each image three times under other ids: three times the same guess."""
    original = {f"c{i}-{image_id}": image_id for image_id in undisturbed for i in "012"}
    for copy, image_id in original.items():
        content = image_path(rerun / "test", image_id).read_bytes()
        put(image_path(rerun / "test", copy), content)
    rows = [(copy, "") for copy in original]
    random.Random(0).shuffle(rows)
    tables.write_rows(rerun / SAMPLE, ("id", "landmarks"), rows)
    found = guesses_of(rerun)
    assert len(found) == 3 * len(undisturbed)
    for copy, guess in found.items():
        check_same(guess, undisturbed[original[copy]])


def test_a_table_of_a_hundred_rows_most_of_whose_images_are_missing(rerun, guesses_of):
    labels = tables.read_labels(rerun / "train.csv")
    known = [(label.image_id, label.landmark_id) for label in labels][:20]
    unknown = [(f"feedface{i:08x}", 900_000 + i) for i in range(80)]
    tables.write_rows(rerun / "train.csv", ("id", "landmark_id"), known + unknown)
    found = guesses_of(rerun)
    allowed = {landmark for _, landmark in known}
    assert {guess.landmark_id for guess in found.values()} <= allowed


def test_one_image_of_each_landmark(
    rerun, bundle_dir, undisturbed, guesses_of, tmp_path
):
    """In the table of the rerun, and in the gallery too."""
    first = {}
    for label in tables.read_labels(rerun / "train.csv"):
        first.setdefault(label.landmark_id, label.image_id)
    rows = [(image_id, landmark) for landmark, image_id in first.items()]
    tables.write_rows(rerun / "train.csv", ("id", "landmark_id"), rows)
    found = guesses_of(rerun)  # the bundle's other images of them still count
    for image_id, guess in found.items():
        check_same(guess, undisturbed[image_id])
    bundle = tmp_path / "bundle"
    shutil.copytree(bundle_dir, bundle)
    gallery = Gallery.load(bundle / "gallery")
    _, kept = np.unique(gallery.landmark_ids, return_index=True)
    small = Gallery(
        [gallery.image_ids[i] for i in kept],
        gallery.landmark_ids[kept],
        gallery.vectors[kept],
        gallery.penalties[kept],
        gallery.non_landmarks,
    )
    shutil.rmtree(bundle / "gallery")
    small.save(bundle / "gallery")
    sign(bundle)
    found = guesses_of(rerun, bundle)
    assert None not in found.values()
    assert {guess.landmark_id for guess in found.values()} <= set(first)


def test_images_that_are_none_are_blank_and_the_others_as_ever(
    rerun, undisturbed, guesses_of, caplog
):
    """Empty, missing, text, a page of a server, a folder; PNG and GIF are read."""
    ids = list(undisturbed)
    bad = ids[2:7]
    empty, missing, text, page, folder = (image_path(rerun / "test", i) for i in bad)
    empty.write_bytes(b"")
    missing.unlink()
    text.write_text("not an image")
    page.write_text("<html>404</html>")
    folder.unlink()
    folder.mkdir()
    other = image_path(rerun / "test", ids[10])
    with Image.open(other) as image:
        image.load()
    image.save(other, "PNG")
    put(rerun / "test" / "f" / "f" / "f" / "ffffffffffffffff.jpg", other.read_bytes())
    put(rerun / "test" / "Thumbs.db", b"x")
    put(rerun / "train" / "f" / ".DS_Store", b"x")
    with caplog.at_level("WARNING"):
        found = guesses_of(rerun)
    assert list(found) == ids  # no row for files that the sample does not have
    assert [i for i, guess in found.items() if guess is None] == bad
    assert "5 images are missing or do not decode" in caplog.text
    # decoded whole, where a JPEG is decoded at about the size it is seen at
    assert found[ids[10]]
    for image_id in set(ids) - {*bad, ids[10]}:
        check_same(found[image_id], undisturbed[image_id])


def test_ids_twice_in_the_sample_are_one_line_before_anything_is_written(
    rerun, bundle_dir, tmp_path
):
    rows = (rerun / SAMPLE).read_text().splitlines()
    (rerun / SAMPLE).write_text("\n".join([*rows, rows[3]]) + "\n")
    with pytest.raises(TableError) as caught:
        predict(bundle_dir, rerun, tmp_path / "submission.csv")
    text = str(caught.value)
    assert text.isprintable() and str(rerun / SAMPLE) in text
    assert rows[3].split(",")[0] in text
    assert not (tmp_path / "submission.csv").exists()


@pytest.mark.parametrize("n", [1, 9, 17])  # batches are of 8
def test_a_last_batch_of_one_image(n, rerun, undisturbed, guesses_of):
    ids = list(undisturbed)[:n]
    tables.write_rows(rerun / SAMPLE, ("id", "landmarks"), [(i, "") for i in ids])
    found = guesses_of(rerun)
    assert list(found) == ids
    for image_id in ids:
        check_same(found[image_id], undisturbed[image_id])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_images_of_forty_megapixels(kind, rerun, undisturbed, guesses_of):
    ids = list(undisturbed)[:3]
    for image_id in ids:
        path = image_path(rerun / "test", image_id)
        with Image.open(path) as image:
            large = image.resize((7680, 5208), Image.Resampling.NEAREST)
        file = io.BytesIO()
        large.save(file, kind, **({"compress_level": 1} if kind == "PNG" else {}))
        path.write_bytes(file.getvalue())
    tables.write_rows(rerun / SAMPLE, ("id", "landmarks"), [(i, "") for i in ids])
    found = guesses_of(rerun)
    for image_id in ids:
        assert found[image_id].confidence == pytest.approx(
            undisturbed[image_id].confidence, abs=0.1
        )


def test_where_memory_ends_smaller_batches_go_on_to_the_same_guesses(
    rerun, bundle_dir, undisturbed, guesses_of, tmp_path, caplog
):
    """To the very bytes of a bundle whose batches are as small from the start."""
    sizes = []
    load = SavedModelRunner.__init__

    class Small:
        """A network on a device that has memory for three images."""

        def __init__(self, model):
            self.model = model

        def serve(self, pixels):
            sizes.append(len(pixels))
            if len(pixels) > 3:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM")
            return self.model.serve(pixels)

        one = serve

    def loading(self, *args):
        load(self, *args)
        self.models = [Small(model) for model in self.models]

    with pytest.MonkeyPatch.context() as patch, caplog.at_level("WARNING"):
        patch.setattr(SavedModelRunner, "__init__", loading)
        found = guesses_of(rerun)
    limited = (tmp_path / "submission.csv").read_bytes()
    assert "out of memory: running 2 images at a time" in caplog.text
    assert sizes[:3] == [8, 4, 2] and max(sizes[3:]) <= 2
    for image_id, guess in found.items():
        check_same(guess, undisturbed[image_id])
    changes = {"recognition.batch_size": 2}
    guesses_of(rerun, with_settings(bundle_dir, tmp_path / "bundle", changes))
    assert (tmp_path / "submission.csv").read_bytes() == limited


@pytest.mark.parametrize(
    "times", [pytest.param(1, id="some"), pytest.param(40, marks=pytest.mark.slow)]
)
def test_a_rerun_of_changed_images(times, rerun, undisturbed, guesses_of, tried):
    """In test and in train: a valid submission, in which the good images' guesses are."""
    rng = random.Random(times)
    originals = [image_path(rerun / "test", i).read_bytes() for i in undisturbed]
    originals += mutants.originals()
    rows = [(i, "") for i in undisturbed]
    for i in range(times * 60):
        image_id = f"bad{i:013x}"
        put(image_path(rerun / "test", image_id), mutants.mutated(rng, originals))
        rows.append((image_id, ""))
    rng.shuffle(rows)
    tables.write_rows(rerun / SAMPLE, ("id", "landmarks"), rows)
    with (rerun / "train.csv").open("a") as table:
        for i in range(20):
            image_id = f"new{i:013x}"
            put(image_path(rerun / "train", image_id), mutants.mutated(rng, originals))
            table.write(f"{image_id},{999_900 + i}\n")
    found = guesses_of(rerun)
    assert list(found) == [image_id for image_id, _ in rows]
    blank = [i for i, guess in found.items() if guess is None]
    assert not set(blank) & set(undisturbed)
    assert 0 < len(blank) < times * 60
    tried["changed images predicted"] += times * 60 + 20


class Stop(Exception):
    """Where the network would be loaded."""


def test_bad_tables_leave_no_submission_or_a_valid_one(tmp_path, monkeypatch, tried):
    """A bad sample nothing; a bad ``train.csv`` the file without guesses, and one line."""

    def load(*_, **options):
        raise Stop

    monkeypatch.setattr(predicting.Recogniser, "load", load)
    place, out = tmp_path / "place", tmp_path / "submission.csv"
    put(place / "test" / "x", b"x")

    @steady(150)
    @given(
        sample=bad.table([("id", "id"), ("landmarks", "guess")]),
        train=bad.table([("id", "id"), ("landmark_id", "landmark_id")]),
    )
    def check(sample, train):
        out.unlink(missing_ok=True)
        (place / SAMPLE).write_bytes(sample)
        (place / "train.csv").write_bytes(train)
        ids, labels = bad.plain_sample(sample), bad.plain_labels(train)
        tried["reruns with generated tables"] += 1
        with pytest.raises((Stop, TableError)) as caught:
            predict(tmp_path, place, out)
        if ids is None:
            check_complaint(caught.value, place / SAMPLE)
            assert [p.name for p in tmp_path.iterdir()] == ["place"]
            return
        rows = out.read_text().splitlines()
        assert rows == ["id,landmarks", *(f"{image_id}," for image_id in ids)]
        if labels is None:
            check_complaint(caught.value, place / "train.csv")
        else:
            assert caught.type is Stop

    check()
