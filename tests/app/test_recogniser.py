"""The app says what the kernel says, without TensorFlow."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from kaggle_kit import tables
from kaggle_kit.app.photo import Photo
from kaggle_kit.app.recogniser import Answers, gallery_candidates
from kaggle_kit.errors import ArtefactError
from kaggle_kit.paths import Competition, image_path
from kaggle_kit.recognition.networks import TensorFlowEngine
from kaggle_kit.recognition.predict import predict
from kaggle_kit.recognition.recogniser import Recogniser

pytest.importorskip("ai_edge_litert", reason="the extra 'app' is not installed")
# Two confidences closer than this may change places: float32 is added up in another order.
EPSILON = 1e-4


def agreement(bundle, competition, out):
    """Check all test photos; how many there are."""
    place = Competition(competition)
    predict(bundle, competition, out)
    kernel = {i: g for i, g in tables.read_submission(out).items() if g}
    answers = Answers(bundle)
    found = {}
    for image_id in kernel:
        path = image_path(place.test_dir, image_id)
        found[image_id] = answers.answer(Photo(path.name, path.read_bytes()))
    landmarks = {i: a.candidates[0].landmark_id for i, a in found.items()}
    assert landmarks == {i: guess.landmark_id for i, guess in kernel.items()}
    ours = np.array([found[i].candidates[0].confidence for i in kernel])
    theirs = np.array([guess.confidence for guess in kernel.values()])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=EPSILON)
    order = np.argsort(-ours, kind="stable")
    rises = np.maximum.accumulate(theirs[order][::-1])[::-1] - theirs[order]
    assert rises.max() < EPSILON  # else photos that are further apart changed places
    return found


def test_answers_are_the_kernels(bundle_dir, competition, tmp_path):
    found = agreement(bundle_dir, competition, tmp_path / "s.csv")
    assert len(found) == 28
    recogniser = Recogniser.load(bundle_dir, bundle_dir, TensorFlowEngine())
    paths = [image_path(competition / "test", image_id) for image_id in found]
    known = recogniser.evidence(
        recogniser.embedder.embed(paths, "test"), recogniser.gallery
    )
    for i, answer in enumerate(found.values()):
        one = known._make(values[i : i + 1] for values in known)
        expected = gallery_candidates(
            one, recogniser.gallery, recogniser.settings.recognition
        )
        ours = [c.landmark_id for c in answer.candidates]
        assert ours == [landmark for landmark, _ in expected][: len(ours)]
        assert answer.c == pytest.approx(float(one.penalty[0]), abs=1e-4)


def test_answers_with_geometry_are_the_kernels(local, competition, tmp_path):
    """Visual words, verification and whitening, without a network."""
    found = agreement(local[0] / "bundle", competition, tmp_path / "s.csv")
    assert any(one.inliers for answer in found.values() for one in answer.similar)


def test_an_answer_adds_up(bundle_dir, competition):
    answers = Answers(bundle_dir)
    settings = answers.settings
    ids = tables.read_sample(competition / "sample_submission.csv")
    for image_id in ids[:6]:
        path = image_path(competition / "test", image_id)
        answer = answers.answer(Photo(path.name, path.read_bytes()))
        for one in answer.similar:
            a = max(one.similarity, 0) - settings.gallery_penalty_weight * one.b
            assert one.a == pytest.approx(a, abs=1e-6)
        best = answer.candidates[0]
        counted = [
            one.a
            for one in answer.similar
            if one.counts and one.landmark_id == best.landmark_id
        ]
        score = sum(counted) - settings.query_penalty_weight * answer.c
        assert best.confidence == pytest.approx(score, abs=1e-6)
        if answer.margin is not None:
            second = answer.candidates[1].confidence
            assert answer.margin == pytest.approx(best.confidence - second)


def test_no_tensorflow_is_there(bundle_dir, competition):
    """In the whole process, from the import to the answer; it is not even installed."""
    path = image_path(
        competition / "test",
        tables.read_sample(competition / "sample_submission.csv")[0],
    )
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'sklearn', 'cv2'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from kaggle_kit.app.recogniser import Answers\n"
        "from kaggle_kit.app.photo import Photo\n"
        "answer = Answers(Path(sys.argv[1])).answer(\n"
        "    Photo('x.jpg', Path(sys.argv[2]).read_bytes()))\n"
        "print(answer.candidates[0].landmark_id)\n"
        "heavy = ('tensorflow', 'keras', 'sklearn', 'cv2', 'pandas', 'matplotlib')\n"
        "print([name for name in heavy if sys.modules.get(name)])\n"
    )
    command = [sys.executable, "-c", code, str(bundle_dir), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "[]"


def test_without_opencv_geometry_is_left_out_and_said(both, monkeypatch, tmp_path):
    """Of a bundle that has a network too."""
    from kaggle_kit.app import recogniser

    bundle = tmp_path / "bundle"
    shutil.copytree(both[0] / "bundle", bundle)
    monkeypatch.setattr(recogniser, "find_spec", lambda name: None)
    answers = Answers(bundle)
    assert not answers.geometry
    assert answers.without_geometry == "OpenCV is not installed"
    assert answers.settings.verification is None


def test_a_bundle_without_a_litert_file_is_named(bundle_dir, tmp_path):
    shutil.copytree(bundle_dir, tmp_path / "bundle")
    for path in (tmp_path / "bundle").glob("embedders/*/*.tflite"):
        path.unlink()
    with pytest.raises(ArtefactError, match="make the bundle again"):
        Answers(tmp_path / "bundle")


def test_of_a_photo_nothing_is_kept(bundle_dir, competition):
    answers = Answers(bundle_dir)
    path = image_path(
        competition / "test",
        tables.read_sample(competition / "sample_submission.csv")[0],
    )
    answers.answer(Photo(path.name, path.read_bytes()))
    assert answers.engine._named == {}
