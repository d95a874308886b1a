"""From a bundle to a submission, also where the rerun is not what it was trained for."""

import shutil

import pytest

from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference import predict as predicting
from kaggle_kit.inference import submission_file
from kaggle_kit.inference.embedder import Embedder
from kaggle_kit.inference.predict import Prediction, predict
from kaggle_kit.metrics.score import Validation, validate
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from tests.helpers.signed_bundles import sign, with_settings


@pytest.fixture(scope="module")
def submission(bundle_dir, competition, tmp_path_factory):
    """The guesses for the competition as it is."""
    out = tmp_path_factory.mktemp("submission") / "submission.csv"
    assert predict(bundle_dir, competition, out) == Prediction(28, 28, 0, [])
    return out


def guesses_of(bundle_dir, rerun, tmp_path):
    predict(bundle_dir, rerun, tmp_path / "submission.csv")
    return tables.read_submission(tmp_path / "submission.csv")


def test_rows_are_the_samples_ids_in_its_order(submission, competition):
    sample = (competition / "sample_submission.csv").read_text().splitlines()
    rows = submission.read_text().splitlines()
    assert [r.split(",")[0] for r in rows] == [r.split(",")[0] for r in sample]
    assert validate(submission, competition / "sample_submission.csv").valid


def test_same_bundle_and_photos_give_the_same_bytes(
    submission, bundle_dir, competition, tmp_path
):
    predict(bundle_dir, competition, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == submission.read_bytes()


def test_photos_that_do_not_decode_have_a_row_without_a_guess(
    submission, bundle_dir, rerun, tmp_path, caplog
):
    before = tables.read_submission(submission)
    bad = list(before)[3:6]
    gone, cut, text = (image_path(rerun / "test", image_id) for image_id in bad)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:700])
    text.write_text("not a photo")
    with caplog.at_level("WARNING"):
        after = guesses_of(bundle_dir, rerun, tmp_path)
    assert [i for i, guess in after.items() if guess is None] == bad
    assert "3 images are missing or do not decode" in caplog.text
    for image_id in set(before) - set(bad):
        assert after[image_id].landmark_id == before[image_id].landmark_id


def test_no_photo_decodes_and_the_submission_is_still_valid(
    bundle_dir, rerun, tmp_path
):
    for path in (rerun / "test").rglob("*.jpg"):
        path.write_bytes(b"")
    after = guesses_of(bundle_dir, rerun, tmp_path)
    assert set(after.values()) == {None}


def test_landmarks_that_only_the_rerun_knows_are_guessed(bundle_dir, rerun, tmp_path):
    """Their photos are embedded in the kernel and join the gallery."""
    sample = tables.read_sample(rerun / "sample_submission.csv")
    rows = []
    for place, image_id in enumerate(sample[:6]):
        new_id = f"feedfacefeedfac{place}"
        target = image_path(rerun / "train", new_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image_path(rerun / "test", image_id), target)
        rows.append((new_id, 999990 + place))
    write_rows(rerun / "train.csv", ("id", "landmark_id"), rows)
    guesses = guesses_of(bundle_dir, rerun, tmp_path)
    assert None not in guesses.values()
    assert {g.landmark_id for g in guesses.values()} <= {999990 + i for i in range(6)}


def test_new_photos_beyond_the_limit_are_left_out(bundle_dir, rerun, tmp_path, caplog):
    changes = {"recognition.new_gallery_limit": 0}
    bundle = with_settings(bundle_dir, tmp_path / "bundle", changes)
    with (rerun / "train.csv").open("a") as file:
        file.write("feedfacefeedface,999999\n")
    with caplog.at_level("WARNING"):
        guesses = guesses_of(bundle, rerun, tmp_path)
    assert "new_gallery_limit" in caplog.text
    assert all(guess.landmark_id != 999999 for guess in guesses.values())


def test_a_landmark_that_the_rerun_lacks_is_never_guessed(
    submission, bundle_dir, rerun, tmp_path
):
    labels = tables.read_labels(rerun / "train.csv")
    before = tables.read_submission(submission)
    gone = next(iter(before.values())).landmark_id
    rows = [label[:2] for label in labels if label.landmark_id != gone]
    write_rows(rerun / "train.csv", ("id", "landmark_id"), rows)
    after = guesses_of(bundle_dir, rerun, tmp_path)
    assert gone not in {guess.landmark_id for guess in after.values()}
    assert None not in after.values()


def test_a_rerun_of_other_landmarks_altogether_is_survived(bundle_dir, rerun, tmp_path):
    (rerun / "train.csv").write_text("id,landmark_id\n0123456789abcdef,5\n")
    after = guesses_of(bundle_dir, rerun, tmp_path)
    assert set(after.values()) == {None}


def test_one_photo_gets_the_answer_it_gets_among_others(
    submission, bundle_dir, rerun, tmp_path
):
    """A last batch of one image is right, too."""
    before = tables.read_submission(submission)
    image_id = list(before)[7]
    sample = rerun / "sample_submission.csv"
    sample.write_text(f"id,landmarks\n{image_id},\n")
    alone = guesses_of(bundle_dir, rerun, tmp_path)
    assert list(alone) == [image_id]
    assert alone[image_id].landmark_id == before[image_id].landmark_id
    assert alone[image_id].confidence == pytest.approx(
        before[image_id].confidence, abs=1e-4
    )


def test_a_valid_file_is_there_before_the_model_is_loaded(
    bundle_dir, competition, tmp_path, monkeypatch
):
    def killed(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(predicting.Recogniser, "load", killed)
    out = tmp_path / "submission.csv"
    with pytest.raises(KeyboardInterrupt):
        predict(bundle_dir, competition, out)
    counts = validate(out, competition / "sample_submission.csv")
    assert counts == Validation(valid=True, n_images=28, n_guesses=0)


def test_the_file_improves_while_photos_are_read(
    submission, bundle_dir, competition, tmp_path, monkeypatch
):
    out = tmp_path / "submission.csv"
    sample = competition / "sample_submission.csv"
    sizes = []
    embed = Embedder.embed

    def watched(self, *args):
        sizes.append(validate(out, sample).n_guesses)
        return embed(self, *args)

    monkeypatch.setattr(Embedder, "embed", watched)
    monkeypatch.setattr(submission_file, "REFRESH_S", 0)
    predict(bundle_dir, competition, out)
    assert sizes[:4] == [0, 8, 16, 24]
    assert out.read_bytes() == submission.read_bytes()


def test_a_bundle_without_its_model_is_named(bundle_dir, competition, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(bundle_dir, bundle)
    shutil.rmtree(bundle / "embedders" / "0" / "model" / "variables")
    sign(bundle)
    with pytest.raises(ArtefactError, match="expected a SavedModel"):
        predict(bundle, competition, tmp_path / "submission.csv")
