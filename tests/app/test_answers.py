"""The app says what the kernel says, without TensorFlow."""

import shutil
from importlib.util import find_spec

import pytest

from kaggle_kit import config
from kaggle_kit.data.layout import image_path
from kaggle_kit.inference.answers import rank_landmarks
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.storage import tables
from tests.helpers.agreement import EPSILON, agreement
from tests.helpers.asked import asked
from tests.helpers.signed_bundles import sign

if find_spec("ai_edge_litert") is None:
    pytest.skip("the extra 'app' is not installed", allow_module_level=True)


def test_answers_are_the_kernels(bundle_dir, competition, tmp_path):
    """The order of the candidates, too, and how unlike a landmark a photo is."""
    found = agreement(bundle_dir, competition, tmp_path / "s.csv")
    assert len(found) == 28
    recogniser = Recogniser.load(bundle_dir)
    paths = [image_path(competition / "test", image_id) for image_id in found]
    known = recogniser.search(recogniser.embedder.embed_all(paths, "test"))
    for i, answer in enumerate(found.values()):
        one = known.select(slice(i, i + 1))
        expected = rank_landmarks(recogniser, one)
        ours = [candidate["landmark"] for candidate in answer["candidates"]]
        assert ours == list(expected)[: len(ours)]
        assert answer["c"] == pytest.approx(float(one.penalty[0]), abs=EPSILON)


def test_answers_with_geometry_are_the_kernels(local, competition, tmp_path):
    """Visual words, verification and whitening, without a network.

    The competition has no photo that the gallery lacks: a kernel would add it.
    """
    same = tmp_path / "competition"
    same.mkdir()
    for name in ("train", "test", "sample_submission.csv"):
        (same / name).symlink_to(competition / name)
    gallery = local[0] / "bundle" / "gallery" / "gallery.csv"
    shutil.copyfile(gallery, same / "train.csv")
    found = agreement(local[0] / "bundle", same, tmp_path / "s.csv")
    inliers = [
        one["inliers"] for answer in found.values() for one in answer["evidence"]
    ]
    assert any(inliers) and None not in inliers


def some(competition, n):
    ids = tables.read_sample(competition / "sample_submission.csv")[:n]
    return [image_path(competition / "test", image_id) for image_id in ids]


def test_an_answer_adds_up(bundle_dir, competition):
    settings = config.read_json(bundle_dir / "config.json").recognition
    for answer in asked(bundle_dir, some(competition, 6))["answers"]:
        for one in answer["evidence"]:
            a = max(one["similarity"], 0) - settings.gallery_penalty_weight * one["b"]
            assert one["a"] == pytest.approx(a, abs=1e-6)
        best, *others = answer["candidates"]
        confidences = [candidate["confidence"] for candidate in answer["candidates"]]
        assert confidences == sorted(confidences, reverse=True)
        counted = [
            one["a"]
            for one in answer["evidence"]
            if one["counts"] and one["landmark"] == best["landmark"]
        ]
        score = sum(counted) - settings.query_penalty_weight * answer["c"]
        assert best["confidence"] == pytest.approx(score, abs=1e-6)
        if others:
            margin = best["confidence"] - others[0]["confidence"]
            assert answer["margin"] == pytest.approx(margin)


def test_nothing_heavy_is_loaded_and_no_photo_kept(bundle_dir, competition):
    """In the whole process, from the import to the answer; TensorFlow is not even there."""
    without = ("tensorflow", "keras", "sklearn", "cv2")
    said = asked(bundle_dir, some(competition, 2), *without)
    assert len(said["answers"]) == 2
    assert said["heavy"] == [] and said["uploads"] == 0


def test_without_local_features_geometry_is_left_out_and_said(
    both, competition, tmp_path
):
    shutil.copytree(both[0] / "bundle", tmp_path / "bundle")
    shutil.rmtree(tmp_path / "bundle" / "local")
    sign(tmp_path / "bundle")
    said = asked(tmp_path / "bundle", some(competition, 1))
    assert said["geometry"] is False
    assert "the exported folder has no local features" in said["missing_geometry"]
    assert said["answers"][0]["evidence"][0]["inliers"] is None


def test_a_bundle_without_a_litert_file_is_named(bundle_dir, competition, tmp_path):
    shutil.copytree(bundle_dir, tmp_path / "bundle")
    for path in (tmp_path / "bundle").glob("embedders/*/*.tflite"):
        path.unlink()
    sign(tmp_path / "bundle")
    with pytest.raises(AssertionError, match="make the bundle again"):
        asked(tmp_path / "bundle", some(competition, 1))
