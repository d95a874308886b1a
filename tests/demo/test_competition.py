"""The drawn competition has the layout of the real one, and pictures to tell apart."""

import numpy as np
from PIL import Image

from kaggle_kit.data.index import image_ids
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.demo import competition as drawn
from kaggle_kit.storage import tables


def test_layout_is_that_of_the_competition(competition):
    place = Competition(competition)
    labels = tables.read_labels(place.train_csv)
    sample = tables.read_sample(place.sample_csv)
    solution = tables.read_solution(place.solution_csv)
    assert set(sample) == set(solution) == set(image_ids(place.test_dir))
    listed = {label.image_id for label in labels}
    found = set(image_ids(place.train_dir))
    assert listed < found and len(found - listed) == 20
    landmarks = {label.landmark_id for label in labels}
    assert len(landmarks) == 4
    shown = [truth.landmark_ids for truth in solution.values()]
    assert sum(not ids for ids in shown) == 12
    assert set().union(*shown) == landmarks
    assert {truth.usage for truth in solution.values()} == {"Public", "Private"}


def test_images_are_whole(competition):
    place = Competition(competition)
    for image_id in image_ids(place.test_dir):
        with Image.open(image_path(place.test_dir, image_id)) as image:
            image.load()
            assert image.mode == "RGB"
            assert np.asarray(image).std() > 5


def test_same_seed_draws_the_same_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(drawn, "N_LANDMARKS", 2)
    monkeypatch.setattr(drawn, "TRAIN_IMAGES", (2, 4))
    monkeypatch.setattr(drawn, "TRAIN_OTHERS", 4)
    monkeypatch.setattr(drawn, "TEST_OTHERS", 4)
    contents = []
    for name in ("one", "two"):
        drawn.draw(tmp_path / name, seed=5)
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        contents.append(
            [(p.relative_to(tmp_path / name), p.read_bytes()) for p in files]
        )
    assert contents[0] == contents[1]
    drawn.draw(tmp_path / "one", seed=6)
    assert (tmp_path / "one" / "train.csv").read_bytes() != dict(contents[1])[
        (tmp_path / "two" / "train.csv").relative_to(tmp_path / "two")
    ]
