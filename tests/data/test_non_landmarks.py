"""An image is a non-landmark only if somebody says so, and never one that is trained on."""

import shutil

import numpy as np
import pytest
from PIL import Image

from kaggle_kit import config
from kaggle_kit.data.index import image_ids
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.near_duplicates import hash_files
from kaggle_kit.data.non_landmark_sources import find_images
from kaggle_kit.data.non_landmarks import (
    OFF,
    draw_pools,
    find_candidates,
    make_pools,
    read_record,
)
from kaggle_kit.data.subset import subset
from kaggle_kit.demo.pictures import draw_non_landmark
from kaggle_kit.errors import ArtefactError, DataError, TableError
from kaggle_kit.storage import tables


def settings(source, **sizes):
    return config.Subset(non_landmarks=config.Pools(source=source, **sizes))


@pytest.fixture
def place(rerun):
    """A drawn competition to change: some images of ``train/`` are not in its table."""
    return Competition(rerun)


def draw_others(folder, n, seed=100, suffix="jpg"):
    """n images without a landmark, under any names, in any depth."""
    for i in range(n):
        path = folder / f"of {i % 3}" / f"IMG {i}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_non_landmark(np.random.default_rng(seed + i)).save(path)
    return folder


def pools_of(place, chosen, listed=()):
    candidates = find_candidates(chosen.non_landmarks, place, list(listed))
    hashes = None
    if chosen.near_duplicates == "together":
        ids = tables.read_labels(place.train_csv).column("image_id").tolist()
        hashes = hash_files([image_path(place.train_dir, i) for i in ids])
    return make_pools(chosen, 0, place, candidates, hashes)


def unlisted(place):
    listed = {label.image_id for label in tables.read_labels(place.train_csv)}
    return sorted(set(image_ids(place.train_dir)) - listed)


# Sources.


def test_without_a_source_there_are_no_pools_and_the_result_says_so(place, tmp_path):
    made = subset(config.Subset(), 0, place.root, tmp_path / "s")
    assert made.non_landmarks.as_json() == {
        "source": "none",
        "origin": OFF,
        **dict.fromkeys(("penalty", "validation", "test", "left_out"), 0),
    }
    rows = tables.read_subset(tmp_path / "s" / "subset.csv")
    assert all(row.landmark_id is not None for row in rows)


def test_a_filtered_table_makes_no_landmark_a_non_landmark(place, tmp_path):
    """Whoever drops half of the rows gets no pool of the dropped landmarks' images."""
    labels = list(tables.read_labels(place.train_csv))
    half = sorted({label.landmark_id for label in labels})[:2]
    rows = [label[:2] for label in labels if label.landmark_id in half]
    tables.write_rows(place.train_csv, ("id", "landmark_id"), rows)
    made = subset(config.Subset(), 0, place.root, tmp_path / "s")
    assert made.landmarks == 2 and made.penalty == made.non_landmarks.penalty == 0


def test_unlisted_images_are_taken_if_asked_for_with_a_warning(place, caplog):
    made = pools_of(place, settings("unlisted"))
    assert {m.image_id for m in made.members} == set(unlisted(place))
    assert f"{place.train_dir}: 20 images are not in train.csv" in caplog.text
    assert "nobody vouches for them" in caplog.text


def test_a_folder_of_the_users_is_listed_by_content(place, tmp_path):
    folder = draw_others(tmp_path / "mine", 9)
    shutil.copy(folder / "of 0" / "IMG 0.jpg", folder / "the same again.JPG")
    (folder / "notes.txt").write_text("no image")
    made = pools_of(place, settings("listed"), [folder])
    assert len(made.members) == 9
    assert all(tables.IMAGE_ID.fullmatch(m.image_id) for m in made.members)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    again = pools_of(place, settings("listed"), [tmp_path / "elsewhere"])
    assert moved and again.members == made.members  # ids do not follow the path


def test_listed_ids_are_found_in_train(place, tmp_path):
    ids = unlisted(place)[:8]
    (tmp_path / "ids.csv").write_text("id,why\n" + "".join(f"{i},x\n" for i in ids))
    place.non_landmarks_csv.write_text("\n".join(unlisted(place)[8:10]))
    made = pools_of(place, settings("listed"), [tmp_path / "ids.csv"])
    assert {m.image_id for m in made.members} == set(unlisted(place)[:10])
    assert made.paths[ids[0]] == image_path(place.train_dir, ids[0])


def test_public_test_images_are_those_without_a_landmark(place):
    names = [f"{i:016x}"[::-1] for i in range(1, 13)]
    for i, name in enumerate(names):
        path = image_path(place.public_test_dir, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_non_landmark(np.random.default_rng(i)).save(path)
    cells = ["", "7", "", "7 8"] * 3
    usage = ["Public"] * 11 + ["Ignored"]
    rows = zip(names, cells, usage, strict=True)
    tables.write_rows(place.public_solution_csv, ("id", "landmarks", "Usage"), rows)
    found = find_images("gldv2_test", place)
    assert set(found) == {names[i] for i in (0, 2, 4, 6, 8, 10)}


# Refusals, each with what to do.


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("gldv2_test", "kaggle-kit download --part test --without-landmark 5000"),
        ("listed", "--non-landmarks PATH"),
        ("unlisted", "source=gldv2_test and get them with kaggle-kit download --part"),
    ],
)
def test_a_pool_that_is_not_there_stops_with_the_command_that_fills_it(
    source, advice, place, tmp_path
):
    for image_id in unlisted(place):
        image_path(place.train_dir, image_id).unlink()
    with pytest.raises(DataError) as caught:
        subset(settings(source), 0, place.root, tmp_path / "s")
    assert advice in str(caught.value)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "sizes",
    [
        {"penalty": 21, "validation": 0, "test": 0},
        {"penalty": 12, "validation": 5, "test": 4},
        {"penalty": 20, "validation": 0.1, "test": 0},
        {"penalty": 0.6, "validation": 12, "test": 0},  # both would be cut short
        {"penalty": 12, "validation": 0.5, "test": 0},
        {"penalty": 0.9, "validation": 0.01, "test": 0},  # rounds to none
    ],
)
def test_a_pool_smaller_than_asked_or_empty_is_refused(sizes, place):
    with pytest.raises(DataError, match=r"got 20 of source unlisted; .* --part test"):
        pools_of(place, settings("unlisted", **sizes))


def test_counts_and_shares_are_taken_as_they_are():
    pools = config.Pools(source="listed", penalty=7, validation=0.2, test=2)
    members = draw_pools(
        [f"{i:04}" for i in range(20)], pools, np.random.default_rng(0)
    )
    sizes = {name: sum(m.split == name for m in members) for name in tables.SPLITS}
    assert sizes == {"train": 0, "penalty": 7, "validation": 4, "test": 2}


@pytest.mark.parametrize("size", [1.5, 2.25, -1])
def test_a_size_that_is_neither_is_refused(size):
    with pytest.raises(ValueError):
        config.Pools(source="listed", penalty=size)


def test_an_image_of_train_csv_is_refused_by_id_and_by_name(place, tmp_path):
    label = next(iter(tables.read_labels(place.train_csv)))
    (tmp_path / "ids.csv").write_text(f"id\n{label.image_id}\n")
    message = f"one that train.csv lists with landmark {label.landmark_id} "
    with pytest.raises(DataError, match=message):
        pools_of(place, settings("listed"), [tmp_path / "ids.csv"])
    folder = draw_others(tmp_path / "mine", 3)
    shutil.copy(image_path(place.train_dir, label.image_id), folder)
    with pytest.raises(DataError, match=message):
        pools_of(place, settings("listed"), [folder])


def test_a_listed_image_that_is_nowhere_is_named(place, tmp_path):
    (tmp_path / "ids.csv").write_text("id\nfeedfeedfeedfeed\n")
    with pytest.raises(DataError, match=r"feedfeedfeedfeed: expected its file below"):
        pools_of(place, settings("listed"), [tmp_path / "ids.csv"])


def test_what_is_listed_needs_its_source(place, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"--non-landmarks: expected .*source=listed"):
        pools_of(place, settings("unlisted"), [empty])
    with pytest.raises(DataError, match=r"expected images .*, found none"):
        pools_of(place, settings("listed"), [empty])
    with pytest.raises(TableError):
        pools_of(place, settings("listed"), [tmp_path / "gone.csv"])


# Near-duplicates and ids of test images are left out, and counted.


def test_copies_of_landmark_and_test_images_are_left_out(place, tmp_path):
    folder = draw_others(tmp_path / "mine", 12)
    label = next(iter(tables.read_labels(place.train_csv)))
    test_id = next(iter(image_ids(place.test_dir)))
    for i, path in enumerate(
        [
            image_path(place.train_dir, label.image_id),
            image_path(place.test_dir, test_id),
        ]
    ):
        with Image.open(path) as image:
            size = (image.width * 3 // 4, image.height * 3 // 4)
            image.resize(size).save(folder / f"copy {i}.jpg", quality=70)
    made = pools_of(place, settings("listed"), [folder])
    assert made.counts.left_out == 2
    assert len(made.members) == 12
    kept = settings("listed").model_copy(update={"near_duplicates": "ignored"})
    assert pools_of(place, kept, [folder]).counts.left_out == 0


def test_of_copies_of_one_another_one_is_kept(place, tmp_path):
    """In two pools, one would be recognised by the other."""
    folder = draw_others(tmp_path / "mine", 12)
    for path in sorted(folder.rglob("*.jpg"))[:4]:
        with Image.open(path) as image:
            image.resize((image.width * 2, image.height * 2)).save(
                folder / f"large {path.name}", quality=90
            )
    made = pools_of(place, settings("listed"), [folder])
    assert (len(made.members), made.counts.left_out) == (12, 4)


def test_what_does_not_decode_is_left_out_and_counted(place, tmp_path):
    folder = draw_others(tmp_path / "mine", 12)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff half")
    made = pools_of(place, settings("listed"), [folder])
    assert (len(made.members), made.counts.left_out) == (12, 1)


def test_a_listed_file_with_the_name_of_a_test_image_is_left_out(place, tmp_path):
    folder = draw_others(tmp_path / "mine", 12)
    test_id = tables.read_sample(place.sample_csv)[0]
    draw_non_landmark(np.random.default_rng(7)).save(folder / f"{test_id}.jpg")
    made = pools_of(place, settings("listed"), [folder])
    assert (len(made.members), made.counts.left_out) == (12, 1)


def test_an_image_with_the_id_of_a_test_image_is_left_out(place):
    test_id = tables.read_sample(place.sample_csv)[0]
    path = image_path(place.train_dir, test_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_non_landmark(np.random.default_rng(5)).save(path)
    made = pools_of(place, settings("unlisted"))
    assert made.counts.left_out == 1
    assert test_id not in {m.image_id for m in made.members}


# The draw.


def test_pools_depend_on_the_images_and_the_seed_alone(place, tmp_path):
    """Not on which landmarks are chosen, so that they can be made after the training."""
    chosen = settings("unlisted")
    fewer = chosen.model_copy(update={"n_landmarks": 2})
    for name, one in (("all", chosen), ("two", fewer)):
        subset(one, 3, place.root, tmp_path / name)
    pools = [
        [
            row
            for row in tables.read_subset(tmp_path / name / "subset.csv")
            if row.landmark_id is None
        ]
        for name in ("all", "two")
    ]
    assert pools[0] == pools[1] != []


def test_the_record_beside_the_subset_is_read_back(place, tmp_path):
    made = subset(settings("unlisted"), 0, place.root, tmp_path / "s")
    assert read_record(tmp_path / "s") == made.non_landmarks
    assert read_record(tmp_path) is None
    for text in ("[", "[]", '{"source": "none", "more": 1}'):
        (tmp_path / "non_landmarks.json").write_text(text)
        with pytest.raises(ArtefactError, match="make the subset again"):
            read_record(tmp_path)
