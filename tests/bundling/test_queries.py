"""The pools of a bundle: those of its run, or new ones where it has none or others."""

import json
import shutil

import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.bundling.queries import subset_queries
from kaggle_kit.data.layout import Competition
from kaggle_kit.data.non_landmarks import POOLS
from kaggle_kit.demo.pictures import draw_non_landmark
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables


@pytest.fixture
def run(run_dir, tmp_path):
    """A run to be changed."""
    shutil.copytree(run_dir, tmp_path / "run")
    return tmp_path / "run"


def ids_of(queries):
    return {
        name: sorted(
            q.image_id for q in queries.by_split[name] if q.landmark_id is None
        )
        for name in POOLS
    }


def queries_of(run, place, changes=None, listed=()):
    settings = config.override(config.read_json(run / "config.json"), changes or {})
    return subset_queries(run, settings, place, list(listed))


def drop_pools(run):
    """What a session on Kaggle leaves."""
    rows = tables.read_subset(run / "subset.csv")
    kept = [row for row in rows if row.landmark_id is not None]
    tables.write_rows(run / "subset.csv", ("id", "landmark_id", "split"), kept)
    (run / "non_landmarks.json").unlink()


def test_pools_made_with_the_bundle_are_those_made_with_the_subset(run, competition):
    place = Competition(competition)
    before = queries_of(run, place)
    assert sum(map(len, ids_of(before).values())) == 20
    drop_pools(run)
    after = queries_of(run, place)
    assert ids_of(after) == ids_of(before)
    assert after.non_landmarks == before.non_landmarks


def test_a_run_of_an_earlier_version_keeps_its_pools(run, competition):
    """It has no record, and its config has no source."""
    before = queries_of(run, Competition(competition))
    (run / "non_landmarks.json").unlink()
    values = json.loads((run / "config.json").read_text())
    del values["subset"]["non_landmarks"]["source"]
    del values["subset"]["near_duplicates"], values["recognition"]["tune_share"]
    (run / "config.json").write_text(json.dumps(values))
    after = queries_of(run, Competition(competition))
    assert ids_of(after) == ids_of(before)
    assert after.non_landmarks.source == "unlisted"


def test_other_settings_make_other_pools(run, competition):
    place = Competition(competition)
    none = queries_of(run, place, {"subset.non_landmarks.source": "none"})
    assert not any(ids_of(none).values())
    fewer = queries_of(run, place, {"subset.non_landmarks.penalty": 3})
    assert len(ids_of(fewer)["penalty"]) == 3


def test_a_folder_for_a_bundle_needs_its_source(run, competition, tmp_path):
    with pytest.raises(DataError, match=r"--non-landmarks: expected .*source=listed"):
        queries_of(run, Competition(competition), listed=[tmp_path])


def test_a_bundle_is_made_with_images_that_the_user_lists(run, competition, tmp_path):
    for i in range(9):
        (tmp_path / "mine").mkdir(exist_ok=True)
        image = draw_non_landmark(np.random.default_rng(200 + i))
        image.save(tmp_path / "mine" / f"holiday {i}.png")
    changes = {"subset.non_landmarks.source": "listed"}
    made = build_bundle(
        [run],
        competition,
        tmp_path / "bundle",
        changes,
        non_landmarks=[tmp_path / "mine"],
    )
    assert made.report.pools.source == "listed"
    assert made.report.non_landmarks == made.report.pools.penalty == 7
    assert "listed by the user" in (tmp_path / "bundle" / "NOTICE.md").read_text()
    with pytest.raises(DataError, match="no --non-landmarks"):
        build_bundle([run], competition, tmp_path / "other", changes)


def test_pool_images_that_are_gone_are_refused_before_anything_is_written(
    settings, competition, subset_dir, tmp_path
):
    """The subset lists images of a folder that is not given again."""
    from kaggle_kit.data.subset import subset
    from kaggle_kit.training.trainer import train

    (tmp_path / "mine").mkdir()
    for i in range(9):
        image = draw_non_landmark(np.random.default_rng(300 + i))
        image.save(tmp_path / "mine" / f"{i}.jpg")
    changed = config.override(
        settings,
        {
            "subset.non_landmarks.source": "listed",
            "train.epochs": 0,
            "recognition.head_exponent": 0.0,
            "recognition.ranking": "gallery",
        },
    )
    listed = [tmp_path / "mine"]
    subset(changed.subset, 0, competition, tmp_path / "subset", listed)
    train(changed, tmp_path / "subset", tmp_path / "run")
    min((tmp_path / "mine").iterdir()).unlink()
    with pytest.raises(DataError, match="non-landmark images of its subset"):
        build_bundle(
            [tmp_path / "run"], competition, tmp_path / "b", non_landmarks=listed
        )
    assert not (tmp_path / "b").exists()
