"""The app gives the answers of the kernel, without TensorFlow."""

import shutil
from importlib.util import find_spec

import pytest

from kaggle_kit import config
from kaggle_kit.data.layout import image_path
from kaggle_kit.inference.answers import rank_landmarks
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.storage import tables
from tests.helpers.agreement import EPSILON, check_agreement
from tests.helpers.app_answers import answer_images
from tests.helpers.signed_bundles import sign

if find_spec("ai_edge_litert") is None:
    pytest.skip("the extra 'app' is not installed", allow_module_level=True)


def test_answers_agree_with_the_kernel(bundle_dir, competition, tmp_path):
    """Also the order of the candidates, and C."""
    answers = check_agreement(bundle_dir, competition, tmp_path / "s.csv")
    assert len(answers) == 28
    recogniser = Recogniser.load(bundle_dir)
    paths = [image_path(competition / "test", image_id) for image_id in answers]
    evidence = recogniser.search(recogniser.embedder.embed_all(paths, "test"))
    for i, answer in enumerate(answers.values()):
        one = evidence.select(slice(i, i + 1))
        expected = rank_landmarks(recogniser, one)
        landmarks = [candidate["landmark"] for candidate in answer["candidates"]]
        assert landmarks == list(expected)[: len(landmarks)]
        assert answer["c"] == pytest.approx(float(one.penalty[0]), abs=EPSILON)


def test_answers_with_geometry_agree_with_the_kernel(local, competition, tmp_path):
    """With visual words, verification and whitening, without a network.

    A kernel would add images that the gallery lacks, so ``train.csv`` has none.
    """
    copy = tmp_path / "competition"
    copy.mkdir()
    for name in ("train", "test", "sample_submission.csv"):
        (copy / name).symlink_to(competition / name)
    gallery = local[0] / "bundle" / "gallery" / "gallery.csv"
    shutil.copyfile(gallery, copy / "train.csv")
    answers = check_agreement(local[0] / "bundle", copy, tmp_path / "s.csv")
    inliers = [
        neighbour["inliers"]
        for answer in answers.values()
        for neighbour in answer["evidence"]
    ]
    assert any(inliers) and None not in inliers


def first_images(competition, n):
    """Paths of the first n test images."""
    ids = tables.read_sample(competition / "sample_submission.csv")[:n]
    return [image_path(competition / "test", image_id) for image_id in ids]


def test_the_numbers_of_an_answer_follow_the_formula(bundle_dir, competition):
    settings = config.read_json(bundle_dir / "config.json").recognition
    for answer in answer_images(bundle_dir, first_images(competition, 6))["answers"]:
        for neighbour in answer["evidence"]:
            penalty = settings.gallery_penalty_weight * neighbour["b"]
            a = max(neighbour["similarity"], 0) - penalty
            assert neighbour["a"] == pytest.approx(a, abs=1e-6)
        best, *others = answer["candidates"]
        confidences = [candidate["confidence"] for candidate in answer["candidates"]]
        assert confidences == sorted(confidences, reverse=True)
        summands = [
            neighbour["a"]
            for neighbour in answer["evidence"]
            if neighbour["counts"] and neighbour["landmark"] == best["landmark"]
        ]
        score = sum(summands) - settings.query_penalty_weight * answer["c"]
        assert best["confidence"] == pytest.approx(score, abs=1e-6)
        if others:
            margin = best["confidence"] - others[0]["confidence"]
            assert answer["margin"] == pytest.approx(margin)


def test_no_heavy_package_is_imported_and_no_upload_stays(bundle_dir, competition):
    """In the whole process, which cannot even import TensorFlow."""
    without = ("tensorflow", "keras", "sklearn", "cv2")
    output = answer_images(bundle_dir, first_images(competition, 2), *without)
    assert len(output["answers"]) == 2
    assert output["heavy"] == [] and output["uploads"] == 0


def test_without_local_features_geometry_is_disabled_with_a_reason(
    both, competition, tmp_path
):
    shutil.copytree(both[0] / "bundle", tmp_path / "bundle")
    shutil.rmtree(tmp_path / "bundle" / "local")
    sign(tmp_path / "bundle")
    output = answer_images(tmp_path / "bundle", first_images(competition, 1))
    assert output["geometry"] is False
    assert "the exported folder has no local features" in output["missing_geometry"]
    assert output["answers"][0]["evidence"][0]["inliers"] is None


def test_a_bundle_without_a_litert_file_is_refused(bundle_dir, competition, tmp_path):
    shutil.copytree(bundle_dir, tmp_path / "bundle")
    for path in (tmp_path / "bundle").glob("embedders/*/*.tflite"):
        path.unlink()
    sign(tmp_path / "bundle")
    with pytest.raises(AssertionError, match="make the bundle again"):
        answer_images(tmp_path / "bundle", first_images(competition, 1))
