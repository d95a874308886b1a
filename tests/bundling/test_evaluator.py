"""Bundles with local features and ensembles, tuning, ablation, and similar images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.bundling import tune as tune_module
from kaggle_kit.bundling.ablate import ablate, list_views
from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.bundling.embedders import bundle_settings, open_evaluator
from kaggle_kit.bundling.evaluator import Outcome, Pool
from kaggle_kit.bundling.queries import Query, subset_queries
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import ArtefactError, ConfigError, DataError
from kaggle_kit.inference.embedder import load_embedder
from kaggle_kit.inference.predict import predict
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.metrics.score import score
from kaggle_kit.storage import tables
from kaggle_kit.storage.csv_files import write_rows
from kaggle_kit.training.trainer import train
from tests.helpers.local_settings import LOCAL


def test_local_features_alone_recognise(local, competition, tmp_path):
    out, _ = local
    predict(out / "bundle", competition, tmp_path / "s.csv")
    scores = score(tmp_path / "s.csv", competition / "solution.csv")
    assert scores.n_guesses == 28
    assert scores.gap > 0.3  # the same guess for all gives less than 0.05


def test_the_bundle_has_the_tuned_ranking_and_all_trials(local):
    out, _ = local
    tuned = json.loads((out / "bundle" / "tuning.json").read_text())
    settings = config.read_json(out / "bundle" / "config.json")
    assert settings.recognition.model_dump(mode="json") == tuned["chosen"]
    gaps = [trial["gap"] for trial in tuned["trials"]]
    kept_gaps = [trial["gap"] for trial in tuned["trials"] if trial["kept"]]
    assert len(gaps) > 20 and kept_gaps == sorted(kept_gaps)
    assert tuned["validation"]["gap"] == pytest.approx(kept_gaps[-1])
    assert tuned["validation"]["gap"] == pytest.approx(max(kept_gaps))


def test_scores_cover_three_kinds_of_queries(local, competition):
    out, report = local
    members = tables.read_subset(out / "run" / "subset.csv")
    landmarks = {m.landmark_id for m in members if m.split == "train"}
    for split in ("validation", "test"):
        queries = [m for m in members if m.split == split]
        assert report[split]["queries"] == {
            "landmark": sum(m.landmark_id in landmarks for m in queries),
            "unknown_landmark": sum(
                m.landmark_id is not None and m.landmark_id not in landmarks
                for m in queries
            ),
            "non_landmark": sum(m.landmark_id is None for m in queries),
        }
        assert min(report[split]["queries"].values()) > 0
        assert report[split]["n_positives"] == report[split]["queries"]["landmark"]
        low, high = report[split]["interval"]["gap"]
        assert 0 <= low <= report[split]["gap"] <= high <= 1
        assert set(report[split]["interval"]["gap_at_share"]) == {"0.011", "0.1", "0.3"}
        assert 0 < report[split]["map_at_10"] <= 1


def test_the_gallery_has_no_test_image_and_no_unknown_landmark(local):
    out, _ = local
    members = {m.image_id: m for m in tables.read_subset(out / "run" / "subset.csv")}
    landmarks = {m.landmark_id for m in members.values() if m.split == "train"}
    recogniser = Recogniser.load(out / "bundle")
    splits = {members[i].split for i in recogniser.gallery.image_ids}
    assert splits == {"train", "validation"}
    assert set(recogniser.gallery.landmark_ids.tolist()) == landmarks
    assert len(recogniser.geometry.stored) == len(recogniser.gallery.image_ids)


def test_an_image_alone_has_the_guess_that_it_has_among_others(
    local, competition, tmp_path
):
    out, _ = local
    predict(out / "bundle", competition, tmp_path / "all.csv")
    together = tables.read_submission(tmp_path / "all.csv")
    shutil.copytree(competition, tmp_path / "one")
    for image_id in list(together)[:4]:
        sample = tmp_path / "one" / "sample_submission.csv"
        sample.write_text(f"id,landmarks\n{image_id},\n")
        predict(out / "bundle", tmp_path / "one", tmp_path / "one.csv")
        alone = tables.read_submission(tmp_path / "one.csv")[image_id]
        assert alone.landmark_id == together[image_id].landmark_id
        assert alone.confidence == pytest.approx(
            together[image_id].confidence, abs=1e-5
        )


def test_a_new_image_of_the_rerun_is_verified_too(local, competition, tmp_path):
    out, _ = local
    shutil.copytree(competition, tmp_path / "rerun")
    files = Competition(tmp_path / "rerun")
    predict(out / "bundle", files.root, tmp_path / "before.csv")
    before = tables.read_submission(tmp_path / "before.csv")
    query = max(before, key=lambda image_id: before[image_id].confidence)
    target = image_path(files.train_dir, "feedfacefeedface")
    target.parent.mkdir(parents=True)
    shutil.copyfile(image_path(files.test_dir, query), target)
    files.train_csv.write_text("id,landmark_id\nfeedfacefeedface,999999\n")
    predict(out / "bundle", files.root, tmp_path / "s.csv")
    after = tables.read_submission(tmp_path / "s.csv")
    assert {guess.landmark_id for guess in after.values()} == {999999}
    assert after[query] == max(after.values(), key=lambda guess: guess.confidence)
    assert after[query].confidence > 1  # larger than any cosine


def test_images_without_points_have_a_guess_too(local, competition, tmp_path):
    """A blank image has no local features; its guess ranks below the others."""
    out, _ = local
    import tensorflow as tf

    shutil.copytree(competition, tmp_path / "rerun")
    files = Competition(tmp_path / "rerun")
    blank = tables.read_sample(files.sample_csv)[0]
    grey = tf.io.encode_jpeg(np.full((60, 80, 3), 128, np.uint8)).numpy()
    image_path(files.test_dir, blank).write_bytes(grey)
    predict(out / "bundle", files.root, tmp_path / "s.csv")
    guesses = tables.read_submission(tmp_path / "s.csv")
    assert guesses[blank] is not None
    best = sorted(guesses.values(), key=lambda guess: -guess.confidence)[:5]
    assert guesses[blank] not in best


# Ensembles.


@pytest.mark.extended
def test_an_ensemble_has_a_weight_for_each_embedder(both, settings):
    out, report = both
    recogniser = Recogniser.load(out / "bundle")
    assert len(recogniser.embedder.parts) == 2
    assert len(report["chosen"]["weights"]) == 2
    trials = json.loads((out / "bundle" / "tuning.json").read_text())["trials"]
    assert sum("weights" in trial for trial in trials) == 4


def test_a_cosine_of_an_ensemble_is_the_weighted_mean_of_its_parts(both, competition):
    out, _ = both
    settings = config.read_json(out / "bundle" / "config.json")
    recognition = settings.recognition.model_copy(update={"weights": (1.0, 3.0)})
    embedder = load_embedder(
        out / "bundle", recognition, LocalReader(settings.local, TensorFlowEngine())
    )
    ids = tables.read_sample(competition / "sample_submission.csv")[:5]
    paths = [image_path(competition / "test", i) for i in ids]
    joined = embedder.embed(paths).vectors
    first, second = (f.vectors for f in embedder.embed_by_part(paths, "x"))
    expected = (first @ first.T + 3 * second @ second.T) / 4
    np.testing.assert_allclose(joined @ joined.T, expected, atol=1e-4)


@pytest.mark.extended
def test_networks_of_an_ensemble_see_images_at_their_own_sizes(
    settings, local, run_dir, competition, tmp_path
):
    """Exported networks have the size of their run and the scales of the first run."""
    runs = []
    for name, changes in (
        ("small", {}),
        ("large", {"data.image_size": 64, "data.stored_size": 64}),
    ):
        network = LOCAL | {"name": name, "vlad": None, "model.backbone": "tiny"}
        network |= {"recognition.verification": None} | changes
        train(config.override(settings, network), local[0] / "subset", tmp_path / name)
        runs.append(tmp_path / name)
    changes = {"recognition.scales": [1.0, 2.0], "data.image_size": 64}
    changes["data.stored_size"] = 64
    bundle = build_bundle(runs, competition, tmp_path / "bundle", changes)
    recogniser = Recogniser.load(tmp_path / "bundle")
    assert [part.side for part in recogniser.embedder.parts] == [128, 128]
    assert bundle.report.validation.score.gap > 0
    predict(tmp_path / "bundle", competition, tmp_path / "s.csv")
    assert score(tmp_path / "s.csv", competition / "solution.csv").n_guesses == 28


@pytest.mark.extended
def test_a_network_without_its_head_gives_the_same_vectors(
    run_dir, competition, tmp_path
):
    """It is exported again after tuning, and its vectors are those of the gallery."""
    changes = {"recognition.tune": True, "recognition.scales": [1.0, 2.0]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune_module, "HEAD_CHOICES", {})  # so that the head is not used
        build_bundle([run_dir], competition, tmp_path / "bundle", changes)
    recogniser = Recogniser.load(tmp_path / "bundle")
    gallery = recogniser.gallery
    paths = [image_path(competition / "train", i) for i in gallery.image_ids]
    embeddings = recogniser.embedder.embed_all(paths, "x")
    assert embeddings.log_probability.shape[1] == 0
    assert [part.side for part in recogniser.embedder.parts] == [64]
    np.testing.assert_allclose(embeddings.vectors, gallery.vectors, atol=2e-3)


def test_a_network_with_a_fixed_input_size_is_refused_with_several_scales(
    settings, shards_dir, competition, subset_dir, run_dir, tmp_path
):
    flat = config.override(
        settings, {"model.pooling": "flatten", "model.head": "dense", "name": "flat"}
    )
    flat = config.override(flat, {"train.epochs": 0})
    train(flat, subset_dir, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"flatten: expected recognition.scales \[1"):
        build_bundle(
            [run_dir, tmp_path / "run"],
            competition,
            tmp_path / "bundle",
            {"recognition.scales": [1.0, 2.0]},
        )
    assert not (tmp_path / "bundle").exists()


def test_runs_of_different_subsets_are_not_joined(
    local, run_dir, competition, tmp_path
):
    with pytest.raises(ArtefactError, match="expected a run of the same subset"):
        build_bundle([local[0] / "run", run_dir], competition, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


# Ablation.


def test_each_part_is_switched_off_in_turn(local, competition, tmp_path):
    out, _ = local
    ablation = ablate([out / "run"], competition, tmp_path / "table.md")
    rows = {row.without: row for row in ablation.rows}
    assert list(rows) == [
        "nothing",
        "tuning",
        "whitening",
        "knowing landmarks in whitening",
        "several neighbours",
        "the gallery's penalty (B)",
        "the query's penalty (C)",
        "both penalties",
        "geometry",
    ]
    for name, key, value in (
        ("whitening", "whiten", None),
        ("several neighbours", "neighbours", 1),
        ("the query's penalty (C)", "query_penalty_weight", 0.0),
        ("geometry", "verification", None),
    ):
        assert rows[name].chosen[key] == value
    assert rows["nothing"].chosen["verification"]
    assert rows["nothing"].chosen["whitening"] == "within"
    for row in rows.values():
        assert row.interval[0] <= row.gap <= row.interval[1]
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == len(rows) + 2
    assert lines[2].startswith("| nothing | ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["recognition.flip"]),
        ({"recognition.flip": False}, []),
        (
            {"recognition.scales": [1.0, 1.4]},
            ["recognition.flip", "recognition.scales"],
        ),
        ({"model.backbone": "none", "vlad": {}, "train.epochs": 0}, []),
    ],
)
def test_views_are_switched_off_if_there_are_several(changes, expected, settings):
    views = list_views(config.override(settings, changes))
    assert [key for _, view_changes in views for key in view_changes] == expected


def test_ablation_of_images_that_all_show_landmarks_has_no_auc(
    local, competition, tmp_path
):
    """Rows marked Ignored are not scored."""
    shutil.copytree(competition, tmp_path / "c")
    path = tmp_path / "c" / "solution.csv"
    truths = tables.read_solution(path)
    rows = [
        (
            i,
            " ".join(map(str, t.landmark_ids)),
            "Public" if t.landmark_ids else "Ignored",
        )
        for i, t in truths.items()
    ]
    write_rows(path, ("id", "landmarks", "Usage"), rows)
    ablate([local[0] / "run"], tmp_path / "c", tmp_path / "table.md")
    last = (tmp_path / "table.md").read_text().splitlines()[-1]
    assert last.endswith("| – |")


def test_ablation_needs_a_solution(local, competition, tmp_path):
    shutil.copytree(competition, tmp_path / "c")
    (tmp_path / "c" / "solution.csv").unlink()
    with pytest.raises(DataError, match="solution.csv"):
        ablate([local[0] / "run"], tmp_path / "c", tmp_path / "table.md")


# Tuning.


def test_tuning_finds_the_maximum_and_reports_every_trial():
    """An artificial score whose maximum is not at the start of the search."""
    start = config.Recognition(tune=True, verification=config.Verification())
    peak = {"exponent": 4.0, "neighbours": 10, "verification.weight": 2.0}

    def precisions_of(settings):
        n_right = (
            500
            + 100 * (settings.exponent == 4)
            + 50 * (settings.exponent == 2)
            + 100 * (settings.neighbours == 10)
            + 100 * (settings.verification.weight == 2)
            + 2 * (settings.query_penalty_weight == 2)  # which may be chance
        )
        return (np.arange(1000) < n_right).astype(float)

    class FakeEvaluator:
        """A substitute for an ``Evaluator``."""

        n_parts, has_head = 1, False

        def __init__(self):
            self.pools = {"validation": Pool([Query("a", Path("a"), 1)], [])}
            self.settings = config.load(Path("demo.yaml"))

        def outcome(self, ranking):
            return Outcome(precisions_of(ranking), {})

    tuned, trials = tune_module.tune(FakeEvaluator(), start)
    for name, value in peak.items():
        assert tuned == tune_module.replace_setting(tuned, name, value)
    assert tuned.query_penalty_weight == start.query_penalty_weight
    assert {"exponent", "neighbours", "verification.weight", "per_landmark"} <= {
        name for trial in trials for name in trial
    }
    assert tune_module.tune(FakeEvaluator(), start) == (tuned, trials)
    pinned, _ = tune_module.tune(FakeEvaluator(), start, pinned=["exponent"])
    assert pinned.exponent == start.exponent
    assert not any("head_exponent" in trial for trial in trials)


def test_without_validation_images_nothing_is_tuned(local, competition, tmp_path):
    """The settings are returned unchanged."""
    out, _ = local
    shutil.copytree(out / "run", tmp_path / "run")
    rows = tables.read_subset(out / "run" / "subset.csv")
    rows = [row for row in rows if row.split != "validation"]
    write_rows(tmp_path / "run" / "subset.csv", ("id", "landmark_id", "split"), rows)
    files = Competition(competition)
    settings = config.read_json(out / "run" / "config.json")
    (tmp_path / "b").mkdir()
    runs = [tmp_path / "run"]
    evaluator = open_evaluator(
        runs,
        bundle_settings(runs, {}),
        subset_queries(runs[0], bundle_settings(runs, {}), files, []).by_split,
        files.train_dir,
        tmp_path / "b",
    )
    assert tune_module.tune(evaluator, settings.recognition) == (
        settings.recognition,
        [],
    )


# Similar images.


def test_a_gallery_image_is_most_similar_to_itself(local, competition, tmp_path):
    out, _ = local
    recogniser = Recogniser.load(out / "bundle")
    gallery = recogniser.gallery
    image_id = gallery.image_ids[3]
    image = image_path(competition / "train", image_id)
    first, *others = recogniser.similar(image, 4)
    assert first.image_id == image_id
    assert first.landmark == gallery.landmark_ids[3]
    assert first.similarity == pytest.approx(1, abs=1e-2)
    assert [o.similarity for o in others] == sorted(
        (o.similarity for o in others), reverse=True
    )
    assert len(others) == 3


def test_a_bundle_has_the_names_of_its_landmarks(local, competition, tmp_path):
    out, _ = local
    shutil.copytree(competition, tmp_path / "c")
    landmark = int(Recogniser.load(out / "bundle").gallery.landmark_ids[0])
    (tmp_path / "c" / "train_label_to_category.csv").write_text(
        f"landmark_id,category\n{landmark},http://commons/Category:The_Tower\n999,Elsewhere\n"
    )
    build_bundle([out / "run"], tmp_path / "c", tmp_path / "bundle")
    assert tables.read_names(tmp_path / "bundle" / "names.csv") == {
        landmark: "The Tower"
    }
    recogniser = Recogniser.load(tmp_path / "bundle")
    names = {
        image.landmark: image.name
        for image_id in tables.read_sample(competition / "sample_submission.csv")[:6]
        for image in recogniser.similar(image_path(competition / "test", image_id), 40)
    }
    assert names[landmark] == "The Tower"
    assert set(names.values()) == {"The Tower", None}


def test_a_file_that_is_no_image_is_refused(local, tmp_path):
    recogniser = Recogniser.load(local[0] / "bundle")
    with pytest.raises(DataError, match=r"none\.jpg: expected an image, found no file"):
        recogniser.similar(tmp_path / "none.jpg", 3)
    (tmp_path / "notes.jpg").write_text("not an image")
    with pytest.raises(DataError, match=r"notes\.jpg: expected an image"):
        recogniser.similar(tmp_path / "notes.jpg", 3)
