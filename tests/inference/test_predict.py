"""From a bundle to a submission, also for a rerun with other landmarks."""

import shutil

import pytest

from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import ArtefactError
from kaggle_kit.inference import predict as predict_module
from kaggle_kit.inference import submission_file
from kaggle_kit.inference.embedder import Embedder
from kaggle_kit.inference.predict import Prediction, predict
from kaggle_kit.metrics.score import Validation, validate
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from tests.helpers.signed_bundles import sign, with_settings


@pytest.fixture(scope="module")
def submission(bundle_dir, competition, tmp_path_factory):
    """The submission for the unchanged competition."""
    out = tmp_path_factory.mktemp("submission") / "submission.csv"
    assert predict(bundle_dir, competition, out) == Prediction(28, 28, 0, [])
    return out


def predict_guesses(bundle_dir, rerun, tmp_path):
    predict(bundle_dir, rerun, tmp_path / "submission.csv")
    return tables.read_submission(tmp_path / "submission.csv")


def test_rows_have_the_ids_of_the_sample_in_its_order(submission, competition):
    sample = (competition / "sample_submission.csv").read_text().splitlines()
    rows = submission.read_text().splitlines()
    assert [r.split(",")[0] for r in rows] == [r.split(",")[0] for r in sample]
    assert validate(submission, competition / "sample_submission.csv").valid


def test_same_bundle_and_images_give_the_same_bytes(
    submission, bundle_dir, competition, tmp_path
):
    predict(bundle_dir, competition, tmp_path / "second.csv")
    assert (tmp_path / "second.csv").read_bytes() == submission.read_bytes()


def test_images_that_do_not_decode_have_a_row_without_a_guess(
    submission, bundle_dir, rerun, tmp_path, caplog
):
    before = tables.read_submission(submission)
    bad = list(before)[3:6]
    missing, truncated, text = (image_path(rerun / "test", i) for i in bad)
    missing.unlink()
    truncated.write_bytes(truncated.read_bytes()[:700])
    text.write_text("not an image")
    with caplog.at_level("WARNING"):
        after = predict_guesses(bundle_dir, rerun, tmp_path)
    assert [i for i, guess in after.items() if guess is None] == bad
    assert "3 images are missing or do not decode" in caplog.text
    for image_id in set(before) - set(bad):
        assert after[image_id].landmark_id == before[image_id].landmark_id


def test_no_image_decodes_and_the_submission_is_still_valid(
    bundle_dir, rerun, tmp_path
):
    for path in (rerun / "test").rglob("*.jpg"):
        path.write_bytes(b"")
    after = predict_guesses(bundle_dir, rerun, tmp_path)
    assert set(after.values()) == {None}


def test_landmarks_that_only_the_rerun_has_are_guessed(bundle_dir, rerun, tmp_path):
    """Their images are embedded in the kernel and join the gallery."""
    sample = tables.read_sample(rerun / "sample_submission.csv")
    rows = []
    for i, image_id in enumerate(sample[:6]):
        new_id = f"feedfacefeedfac{i}"
        target = image_path(rerun / "train", new_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image_path(rerun / "test", image_id), target)
        rows.append((new_id, 999990 + i))
    write_rows(rerun / "train.csv", ("id", "landmark_id"), rows)
    guesses = predict_guesses(bundle_dir, rerun, tmp_path)
    assert None not in guesses.values()
    assert {g.landmark_id for g in guesses.values()} <= {999990 + i for i in range(6)}


def test_new_images_beyond_the_limit_are_not_added(bundle_dir, rerun, tmp_path, caplog):
    changes = {"recognition.new_gallery_limit": 0}
    bundle = with_settings(bundle_dir, tmp_path / "bundle", changes)
    with (rerun / "train.csv").open("a") as file:
        file.write("feedfacefeedface,999999\n")
    with caplog.at_level("WARNING"):
        guesses = predict_guesses(bundle, rerun, tmp_path)
    assert "new_gallery_limit" in caplog.text
    assert all(guess.landmark_id != 999999 for guess in guesses.values())


def test_a_landmark_that_the_rerun_lacks_is_never_guessed(
    submission, bundle_dir, rerun, tmp_path
):
    labels = tables.read_labels(rerun / "train.csv")
    before = tables.read_submission(submission)
    missing = next(iter(before.values())).landmark_id
    rows = [label[:2] for label in labels if label.landmark_id != missing]
    write_rows(rerun / "train.csv", ("id", "landmark_id"), rows)
    after = predict_guesses(bundle_dir, rerun, tmp_path)
    assert missing not in {guess.landmark_id for guess in after.values()}
    assert None not in after.values()


def test_a_rerun_with_no_landmark_of_the_gallery_gives_no_guess(
    bundle_dir, rerun, tmp_path
):
    (rerun / "train.csv").write_text("id,landmark_id\n0123456789abcdef,5\n")
    after = predict_guesses(bundle_dir, rerun, tmp_path)
    assert set(after.values()) == {None}


def test_an_image_alone_has_the_guess_that_it_has_among_others(
    submission, bundle_dir, rerun, tmp_path
):
    """It is a last batch of one image."""
    before = tables.read_submission(submission)
    image_id = list(before)[7]
    sample = rerun / "sample_submission.csv"
    sample.write_text(f"id,landmarks\n{image_id},\n")
    alone = predict_guesses(bundle_dir, rerun, tmp_path)
    assert list(alone) == [image_id]
    assert alone[image_id].landmark_id == before[image_id].landmark_id
    assert alone[image_id].confidence == pytest.approx(
        before[image_id].confidence, abs=1e-4
    )


def test_a_valid_file_is_written_before_the_model_is_loaded(
    bundle_dir, competition, tmp_path, monkeypatch
):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict_module.Recogniser, "load", interrupt)
    out = tmp_path / "submission.csv"
    with pytest.raises(KeyboardInterrupt):
        predict(bundle_dir, competition, out)
    counts = validate(out, competition / "sample_submission.csv")
    assert counts == Validation(valid=True, n_images=28, n_guesses=0)


def test_guesses_are_written_while_images_are_read(
    submission, bundle_dir, competition, tmp_path, monkeypatch
):
    out = tmp_path / "submission.csv"
    sample = competition / "sample_submission.csv"
    sizes = []
    embed = Embedder.embed

    def embed_and_record(self, *args):
        sizes.append(validate(out, sample).n_guesses)
        return embed(self, *args)

    monkeypatch.setattr(Embedder, "embed", embed_and_record)
    monkeypatch.setattr(submission_file, "REFRESH_S", 0)
    predict(bundle_dir, competition, out)
    assert sizes[:4] == [0, 8, 16, 24]
    assert out.read_bytes() == submission.read_bytes()


def test_a_bundle_without_its_model_is_refused(bundle_dir, competition, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(bundle_dir, bundle)
    shutil.rmtree(bundle / "embedders" / "0" / "model" / "variables")
    sign(bundle)
    with pytest.raises(ArtefactError, match="expected a SavedModel"):
        predict(bundle, competition, tmp_path / "submission.csv")
