"""What goes into a bundle beside the network, and what recognition makes of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.bundling import tune as tuning
from kaggle_kit.bundling.ablate import ablate, views
from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.bundling.embedders import open_evaluator
from kaggle_kit.bundling.evaluator import Pool, Query
from kaggle_kit.bundling.runs import bundle_settings, subset_queries
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
    found = score(tmp_path / "s.csv", competition / "solution.csv")
    assert found.n_guesses == 28
    assert found.gap > 0.3  # one landmark guessed for all: below 0.05


def test_the_bundle_says_how_it_ranks_and_how_that_was_chosen(local):
    out, _ = local
    tuned = json.loads((out / "bundle" / "tuning.json").read_text())
    settings = config.read_json(out / "bundle" / "config.json")
    assert settings.recognition.model_dump(mode="json") == tuned["chosen"]
    gaps = [trial["gap"] for trial in tuned["trials"]]
    kept = [trial["gap"] for trial in tuned["trials"] if trial["kept"]]
    assert len(gaps) > 20 and kept == sorted(kept)
    assert tuned["validation"]["gap"] == pytest.approx(kept[-1])
    assert tuned["validation"]["gap"] == pytest.approx(max(kept))


def test_three_kinds_of_queries_are_scored_apart_from_training(local, competition):
    out, report = local
    members = tables.read_subset(out / "run" / "subset.csv")
    landmarks = {m.landmark_id for m in members if m.split == "train"}
    for split in ("validation", "test"):
        mine = [m for m in members if m.split == split]
        assert report[split]["queries"] == {
            "landmark": sum(m.landmark_id in landmarks for m in mine),
            "unknown_landmark": sum(
                m.landmark_id is not None and m.landmark_id not in landmarks
                for m in mine
            ),
            "non_landmark": sum(m.landmark_id is None for m in mine),
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
    known = {m.landmark_id for m in members.values() if m.split == "train"}
    recogniser = Recogniser.load(out / "bundle")
    splits = {members[i].split for i in recogniser.gallery.image_ids}
    assert splits == {"train", "validation"}
    assert set(recogniser.gallery.landmark_ids.tolist()) == known
    assert len(recogniser.geometry.stored) == len(recogniser.gallery.image_ids)


def test_one_image_alone_has_the_very_guess_it_has_among_others(
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
    place = Competition(tmp_path / "rerun")
    predict(out / "bundle", place.root, tmp_path / "before.csv")
    before = tables.read_submission(tmp_path / "before.csv")
    query = max(before, key=lambda image_id: before[image_id].confidence)
    target = image_path(place.train_dir, "feedfacefeedface")
    target.parent.mkdir(parents=True)
    shutil.copyfile(image_path(place.test_dir, query), target)
    place.train_csv.write_text("id,landmark_id\nfeedfacefeedface,999999\n")
    predict(out / "bundle", place.root, tmp_path / "s.csv")
    found = tables.read_submission(tmp_path / "s.csv")
    assert {guess.landmark_id for guess in found.values()} == {999999}
    assert found[query] == max(found.values(), key=lambda guess: guess.confidence)
    assert found[query].confidence > 1  # more than a cosine can give


def test_images_without_a_point_are_guessed_too(local, competition, tmp_path):
    """A blank image has no local features, and still a guess, below the others."""
    out, _ = local
    import tensorflow as tf

    shutil.copytree(competition, tmp_path / "rerun")
    place = Competition(tmp_path / "rerun")
    blank = tables.read_sample(place.sample_csv)[0]
    grey = tf.io.encode_jpeg(np.full((60, 80, 3), 128, np.uint8)).numpy()
    image_path(place.test_dir, blank).write_bytes(grey)
    predict(out / "bundle", place.root, tmp_path / "s.csv")
    found = tables.read_submission(tmp_path / "s.csv")
    assert found[blank] is not None
    best = sorted(found.values(), key=lambda guess: -guess.confidence)[:5]
    assert found[blank] not in best


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
    whole = embedder.embed(paths).vectors
    first, second = (f.vectors for f in embedder.embed_by_part(paths, "x"))
    expected = (first @ first.T + 3 * second @ second.T) / 4
    np.testing.assert_allclose(whole @ whole.T, expected, atol=1e-4)


@pytest.mark.extended
def test_networks_of_an_ensemble_see_images_at_their_own_sizes(
    settings, local, run_dir, competition, tmp_path
):
    """A run's own size and the first run's scales hold in what is shipped, too."""
    runs = []
    for name, changes in (
        ("small", {}),
        ("large", {"data.image_size": 64, "data.stored_size": 64}),
    ):
        net = LOCAL | {"name": name, "vlad": None, "model.backbone": "tiny"}
        net |= {"recognition.verification": None} | changes
        train(config.override(settings, net), local[0] / "subset", tmp_path / name)
        runs.append(tmp_path / name)
    changes = {"recognition.scales": [1.0, 2.0], "data.image_size": 64}
    changes["data.stored_size"] = 64
    built = build_bundle(runs, competition, tmp_path / "bundle", changes)
    recogniser = Recogniser.load(tmp_path / "bundle")
    assert [part.side for part in recogniser.embedder.parts] == [128, 128]
    assert built.report.validation["gap"] > 0
    predict(tmp_path / "bundle", competition, tmp_path / "s.csv")
    assert score(tmp_path / "s.csv", competition / "solution.csv").n_guesses == 28


@pytest.mark.extended
def test_a_head_that_is_dropped_leaves_the_network_as_it_was(
    run_dir, competition, tmp_path
):
    """Exported again after tuning, it still gives the vectors that the gallery has."""
    changes = {"recognition.tune": True, "recognition.scales": [1.0, 2.0]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "WITH_HEAD", {})  # so that the head finds no use
        build_bundle([run_dir], competition, tmp_path / "bundle", changes)
    recogniser = Recogniser.load(tmp_path / "bundle")
    gallery = recogniser.gallery
    paths = [image_path(competition / "train", i) for i in gallery.image_ids]
    found = recogniser.embedder.embed_all(paths, "x")
    assert found.log_probability.shape[1] == 0
    assert [part.side for part in recogniser.embedder.parts] == [64]
    np.testing.assert_allclose(found.vectors, gallery.vectors, atol=2e-3)


def test_a_network_of_one_size_does_not_see_several(
    settings, shards_dir, competition, subset_dir, run_dir, tmp_path
):
    flat = config.override(
        settings, {"model.pooling": "flatten", "model.head": "dense", "name": "flat"}
    )
    flat = config.override(flat, {"train.epochs": 0})
    train(flat, subset_dir, tmp_path / "run")
    with pytest.raises(ConfigError, match="flatten knows one size only"):
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
    found = ablate([out / "run"], competition, tmp_path / "table.md")
    rows = {row.without: row for row in found.rows}
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
def test_views_are_left_out_where_there_are_several(changes, expected, settings):
    found = views(config.override(settings, changes))
    assert [key for _, change in found for key in change] == expected


def test_ablation_of_images_that_all_show_landmarks_has_no_auc(
    local, competition, tmp_path
):
    """And rows marked Ignored do not count, as in 'score'."""
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


def test_ablation_asks_for_a_solution(local, competition, tmp_path):
    shutil.copytree(competition, tmp_path / "c")
    (tmp_path / "c" / "solution.csv").unlink()
    with pytest.raises(DataError, match="solution.csv"):
        ablate([local[0] / "run"], tmp_path / "c", tmp_path / "table.md")


# Tuning.


def test_tuning_finds_what_there_is_to_find_and_reports_every_trial():
    """A made-up score with its peak away from where the search begins."""
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

    class Scored:
        """Stands in for an ``Evaluator``."""

        n_parts, has_head = 1, False

        def __init__(self):
            self.pools = {"validation": Pool([Query("a", Path("a"), 1)], [])}
            self.settings = config.load(Path("demo.yaml"))

        def precisions(self, ranking):
            return precisions_of(ranking)

    chosen, trials = tuning.tune(Scored(), start)
    for name, value in peak.items():
        assert chosen == tuning.replaced(chosen, name, value)
    assert chosen.query_penalty_weight == start.query_penalty_weight
    assert {"exponent", "neighbours", "verification.weight", "per_landmark"} <= {
        name for trial in trials for name in trial
    }
    again, same = tuning.tune(Scored(), start)
    assert (again, same) == (chosen, trials)
    pinned, _ = tuning.tune(Scored(), start, pinned=["exponent"])
    assert pinned.exponent == start.exponent
    assert not any("head_exponent" in trial for trial in trials)


def test_without_validation_images_nothing_is_tuned(local, competition, tmp_path):
    """The settings stay as they are where there is nothing to choose by."""
    out, _ = local
    shutil.copytree(out / "run", tmp_path / "run")
    rows = tables.read_subset(out / "run" / "subset.csv")
    kept = [row for row in rows if row.split != "validation"]
    write_rows(tmp_path / "run" / "subset.csv", ("id", "landmark_id", "split"), kept)
    place = Competition(competition)
    settings = config.read_json(out / "run" / "config.json")
    (tmp_path / "b").mkdir()
    runs = [tmp_path / "run"]
    evaluator = open_evaluator(
        runs,
        bundle_settings(runs, {}),
        subset_queries(runs[0], place),
        place.train_dir,
        tmp_path / "b",
    )
    assert tuning.tune(evaluator, settings.recognition) == (settings.recognition, [])


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


def test_names_of_landmarks_travel_with_the_bundle(local, competition, tmp_path):
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
        found.landmark: found.name
        for image_id in tables.read_sample(competition / "sample_submission.csv")[:6]
        for found in recogniser.similar(image_path(competition / "test", image_id), 40)
    }
    assert names[landmark] == "The Tower"
    assert set(names.values()) == {"The Tower", None}


def test_a_file_that_is_no_image_is_named(local, tmp_path):
    recogniser = Recogniser.load(local[0] / "bundle")
    with pytest.raises(DataError, match=r"none\.jpg: expected an image, found no file"):
        recogniser.similar(tmp_path / "none.jpg", 3)
    (tmp_path / "notes.jpg").write_text("not an image")
    with pytest.raises(DataError, match=r"notes\.jpg: expected an image"):
        recogniser.similar(tmp_path / "notes.jpg", 3)
