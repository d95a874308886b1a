"""A bundle with a network in 8-bit integers, and no other."""

import json
import shutil

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference.predict import Prediction, predict
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.metrics.score import score
from kaggle_kit.storage import tables
from kaggle_kit.storage.manifest import verify
from tests.helpers.signed_bundles import sign

CHANGES = {"recognition.int8": True, "recognition.whiten": 8, "recognition.tune": True}


@pytest.fixture(scope="module")
def built(run_dir, competition, tmp_path_factory):
    """The bundle and its report. The run has a head, which tuning may remove."""
    out = tmp_path_factory.mktemp("int8") / "bundle"
    return out, build_bundle([run_dir], competition, out, CHANGES).as_json()


def test_the_bundle_has_no_network_in_floats(built):
    out, _ = built
    names = {path.name for path in (out / "embedders" / "0").iterdir()}
    assert names == {"config.json", "model.int8.tflite", "model.whitening.npz"}
    assert config.read_json(out / "config.json").recognition.int8


def test_the_scores_in_floats_are_reported_too(built, bundle_dir):
    out, report = built
    tuning = json.loads((out / "tuning.json").read_text("utf-8"))
    manifest = verify(out).content
    for values in (report, tuning, manifest):
        gap, in_float = (
            values[key]["gap"] for key in ("validation", "validation_in_float")
        )
        assert 0 < gap <= 1 and gap == pytest.approx(in_float, abs=0.25)
    assert verify(bundle_dir).content["validation_in_float"] is None


def test_the_gallery_has_the_vectors_of_the_integers(built, competition):
    """Its images, embedded again, have a cosine of 1 to their vectors in the gallery."""
    out, _ = built
    recogniser = Recogniser.load(out)
    gallery = recogniser.gallery
    paths = [image_path(competition / "train", i) for i in gallery.image_ids]
    vectors = recogniser.embedder.embed_all(paths, "again").vectors
    cosines = (vectors * gallery.vectors.astype(np.float32)).sum(axis=1)
    np.testing.assert_allclose(cosines, 1, atol=2e-3)


def test_prediction_works_and_a_last_batch_of_one_is_right(
    built, competition, tmp_path
):
    out, _ = built
    assert predict(out, competition, tmp_path / "s.csv") == Prediction(28, 28, 0, [])
    scores = score(tmp_path / "s.csv", competition / "solution.csv")
    assert scores.n_guesses == 28
    before = tables.read_submission(tmp_path / "s.csv")
    copy = tmp_path / "copy"
    shutil.copytree(competition, copy)
    (image_id, guess) = list(before.items())[-1]
    (copy / "sample_submission.csv").write_text(f"id,landmarks\n{image_id},\n")
    predict(out, copy, tmp_path / "alone.csv")
    (alone,) = tables.read_submission(tmp_path / "alone.csv").values()
    assert alone.landmark_id == guess.landmark_id
    assert alone.confidence == pytest.approx(guess.confidence, abs=1e-5)


def test_a_bundle_without_its_network_is_refused(built, competition, tmp_path):
    out, _ = built
    shutil.copytree(out, tmp_path / "bundle")
    (tmp_path / "bundle" / "embedders" / "0" / "model.int8.tflite").unlink()
    sign(tmp_path / "bundle")
    with pytest.raises(ArtefactError, match="expected an embedder"):
        predict(tmp_path / "bundle", competition, tmp_path / "s.csv")


def test_the_same_run_gives_the_same_bytes(built, run_dir, competition, tmp_path):
    out, _ = built
    build_bundle([run_dir], competition, tmp_path / "second", CHANGES)
    assert verify(tmp_path / "second").files == verify(out).files
