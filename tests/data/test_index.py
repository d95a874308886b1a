"""The index: every image that decodes, and a list of those that do not."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from kaggle_kit.data.image_files import FORMATS
from kaggle_kit.data.image_hash import format_hash, hash_image
from kaggle_kit.data.index import IndexCounts, image_ids, index, read_hashes
from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import TableError
from kaggle_kit.storage import tables
from tests.helpers.app_files import encode

OTHERS = ("TIFF", "JPEG2000", "PPM", "TGA", "ICO", "PDF")


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_image_is_listed_with_its_landmark_and_size(competition, tmp_path):
    counts = index(competition, tmp_path / "index.csv")
    landmark = {i: str(n) for i, n, _ in tables.read_labels(competition / "train.csv")}
    listed = rows(tmp_path / "index.csv")
    assert counts.as_json() == {
        "labelled": len(landmark),
        "unlabelled": len(listed) - len(landmark),
        "broken": 0,
    }
    assert {row["id"] for row in listed} == set(image_ids(competition / "train"))
    for row in listed:
        assert row["landmark_id"] == landmark.get(row["id"], "")
        with Image.open(image_path(competition / "train", row["id"])) as image:
            assert (int(row["width"]), int(row["height"])) == image.size
    assert rows(tmp_path / "index.broken.csv") == []


def test_every_image_is_listed_with_its_hash(competition, tmp_path):
    """That of its pixels; at a reduced size a few bits differ."""
    index(competition, tmp_path / "index.csv")
    ids, hashes = read_hashes(tmp_path / "index.csv")
    listed = rows(tmp_path / "index.csv")
    assert ids == [row["id"] for row in listed]
    assert list(map(format_hash, hashes)) == [row["hash"] for row in listed]
    for image_id, value in zip(ids, hashes, strict=True):
        with Image.open(image_path(competition / "train", image_id)) as image:
            whole = hash_image(np.asarray(image))
        assert np.bitwise_count(whole ^ value).sum() < 20


def test_an_index_without_hashes_is_read(tmp_path):
    (tmp_path / "old.csv").write_text("id,landmark_id,width,height\nabc0,7,5,3\n")
    ids, hashes = read_hashes(tmp_path / "old.csv")
    assert ids == ["abc0"] and hashes.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("text", ["0" * 47, "0" * 49, "g" * 48, "A" * 48, "-1"])
def test_a_wrong_hash_is_one_line(text, tmp_path):
    path = tmp_path / "index.csv"
    path.write_text(f"id,hash\nabc0,{'0' * 48}\nabc1,\nabc2,{text}\n")
    with pytest.raises(
        TableError, match="row 4: expected a hash of 48 hex.*, got '"
    ) as e:
        read_hashes(path)
    assert text in str(e.value) and "make the index again" in str(e.value)


def test_malformed_exif_does_not_break_an_image(competition, tmp_path):
    folder = tmp_path / "train" / "a" / "b" / "c"
    folder.mkdir(parents=True)
    source = next((competition / "train").rglob("*.jpg"))
    with Image.open(source) as image:
        image.save(folder / "abc0.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    (tmp_path / "train.csv").write_text("id,landmark_id\n")
    assert index(tmp_path, tmp_path / "index.csv").broken == 0
    assert rows(tmp_path / "index.csv")[0]["hash"]


def test_broken_images_are_set_aside_with_their_reason(competition, tmp_path):
    copy = tmp_path / "competition"
    shutil.copytree(competition, copy)
    ids = [i for i, _, _ in tables.read_labels(copy / "train.csv")][:4]
    gone, cut, text, empty = (image_path(copy / "train", i) for i in ids)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-600])
    text.write_text("not an image")
    empty.write_bytes(b"")
    counts = index(copy, tmp_path / "index.csv")
    assert counts.broken == 4
    reasons = {r["id"]: r["reason"] for r in rows(tmp_path / "index.broken.csv")}
    assert set(reasons) == set(ids)
    assert reasons[ids[0]] == "no file"
    assert "truncated" in reasons[ids[1]]
    assert not set(ids) & {row["id"] for row in rows(tmp_path / "index.csv")}


def test_files_that_are_no_images_are_passed_over(tmp_path):
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    for name in ("abc0.jpg", "abc1.png", ".DS_Store", "abc2.jpg.part", "a b.jpg"):
        (folder / name).touch()
    (tmp_path / "stray.jpg").touch()
    assert list(image_ids(tmp_path)) == ["abc0"]


def test_nothing_is_written_when_the_table_is_bad(competition, tmp_path):
    copy = tmp_path / "competition"
    (copy / "train" / "0").mkdir(parents=True)
    (copy / "train.csv").write_text("id,landmark\n")
    with pytest.raises(TableError, match="add landmark_id"):
        index(copy, tmp_path / "index.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["competition"]


def test_counts_add_up_to_rows_and_ids(competition, tmp_path):
    """With broken images among those with a landmark and among those without."""
    copy = tmp_path / "competition"
    shutil.copytree(competition, copy)
    listed = [i for i, _, _ in tables.read_labels(copy / "train.csv")]
    other = sorted(set(image_ids(copy / "train")) - set(listed))
    gone, cut, text = (image_path(copy / "train", i) for i in listed[-3:])
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-600])
    text.write_text("id,landmark_id\n")
    image_path(copy / "train", other[0]).write_text("not an image")
    image_path(copy / "train", other[1]).unlink()  # nobody knows of it any more
    counts = index(copy, tmp_path / "deep" / "images.csv")
    n_labelled, n_unlabelled = len(listed) - 3, len(other) - 2
    assert counts == IndexCounts(n_labelled, n_unlabelled, broken=4)
    listed_rows = rows(tmp_path / "deep" / "images.csv")
    assert len(listed_rows) == counts.labelled + counts.unlabelled
    assert sum(bool(row["landmark_id"]) for row in listed_rows) == counts.labelled
    broken = {
        row["id"]: row["reason"]
        for row in rows(tmp_path / "deep" / "images.broken.csv")
    }
    assert set(broken) == {*listed[-3:], other[0]}
    assert broken[listed[-3]] == "no file" and all(broken.values())
    ids = [row["id"] for row in listed_rows]
    assert ids == sorted(ids) and len(set(ids)) == len(ids)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9])
def test_an_image_cut_anywhere_is_broken(kept, competition, tmp_path):
    whole = next((competition / "train").rglob("*.jpg")).read_bytes()
    folder, out = tmp_path / "train" / "a" / "b" / "c", tmp_path / "index.csv"
    folder.mkdir(parents=True)
    (folder / "abc00.jpg").write_bytes(whole[: int(kept * len(whole))])
    (folder / "abc01.jpg").write_bytes(whole)
    (tmp_path / "train.csv").write_text("id,landmark_id\nabc00,7\nabc01,7\n")
    assert index(tmp_path, out) == IndexCounts(labelled=1, unlabelled=0, broken=1)
    assert [row["id"] for row in rows(out)] == ["abc01"]
    assert [row["id"] for row in rows(tmp_path / "index.broken.csv")] == ["abc00"]


def test_sizes_are_as_stored_whatever_the_shape_and_colours(tmp_path):
    folder = tmp_path / "train" / "a" / "b" / "c"
    folder.mkdir(parents=True)
    shapes = {
        "abc0": ("RGB", (301, 17)),
        "abc1": ("L", (8, 8)),
        "abc2": ("CMYK", (9, 200)),
        "abc3": ("RGB", (1023, 768)),
    }
    for image_id, (mode, size) in shapes.items():
        Image.new(mode, size).save(folder / f"{image_id}.jpg")
    (tmp_path / "train.csv").write_text("id,landmark_id\n")
    counts = index(tmp_path, tmp_path / "index.csv")
    assert counts == IndexCounts(labelled=0, unlabelled=4, broken=0)
    sizes = {
        r["id"]: (int(r["width"]), int(r["height"]))
        for r in rows(tmp_path / "index.csv")
    }
    assert sizes == {image_id: size for image_id, (_, size) in shapes.items()}


def test_sizes_are_those_of_the_image_upright(tmp_path):
    folder = tmp_path / "train" / "a" / "b" / "c"
    folder.mkdir(parents=True)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (30, 20)).save(folder / f"abc{orientation}.jpg", exif=exif)
    (tmp_path / "train.csv").write_text("id,landmark_id\n")
    index(tmp_path, tmp_path / "index.csv")
    sizes = [(row["width"], row["height"]) for row in rows(tmp_path / "index.csv")]
    assert sizes == [("30", "20")] * 4 + [("20", "30")] * 4


def test_broken_in_the_index_is_broken_in_shards_and_blank_in_a_submission(
    rerun, settings, bundle_dir, tmp_path
):
    """Files of other formats, damaged ones, and one that only Pillow decodes."""
    from kaggle_kit.data.shards import shards
    from kaggle_kit.data.subset import subset
    from kaggle_kit.inference.predict import predict

    whole = next((rerun / "train").rglob("*.jpg")).read_bytes()
    contents = [encode(Image.new("RGB", (40, 30), "red"), kind) for kind in OTHERS]
    contents += [b"", b"%!PS-Adobe-3.0 EPSF", whole[:-600], whole[:-2] + b"<p>" * 99]
    contents += [encode(Image.new("RGB", (40, 30), "red"), kind) for kind in FORMATS]
    labels = [i for i, _, _ in tables.read_labels(rerun / "train.csv")]
    tests = tables.read_sample(rerun / "sample_submission.csv")
    subset(settings.subset, settings.seed, rerun, tmp_path / "subset")
    members = tables.read_subset(tmp_path / "subset" / "subset.csv")
    stored = [m.image_id for m in members if m.split == "train" and m.landmark_id]
    changed = dict(zip(stored, contents, strict=False))
    assert len(changed) == len(contents)
    for image_id, content in changed.items():
        image_path(rerun / "train", image_id).write_bytes(content)
    for image_id, content in zip(tests, contents, strict=False):
        image_path(rerun / "test", image_id).write_bytes(content)
    index(rerun, tmp_path / "index.csv")
    broken = {row["id"] for row in rows(tmp_path / "index.broken.csv")}
    assert broken == set(stored[: len(OTHERS) + 3]) and broken <= set(labels)
    made = shards(settings.data, rerun, tmp_path / "subset", tmp_path / "shards")
    assert set(made.broken) == broken
    predict(bundle_dir, rerun, tmp_path / "s.csv")
    guesses = tables.read_submission(tmp_path / "s.csv")
    blank = {image_id for image_id, guess in guesses.items() if guess is None}
    assert blank == set(tests[: len(OTHERS) + 3])


def test_real_images_all_decode(landmarks45, tmp_path):
    counts = index(landmarks45, tmp_path / "index.csv")
    n_listed = len((landmarks45 / "train.csv").read_text().splitlines()) - 1
    n_images = len(list((landmarks45 / "train").rglob("*.jpg")))
    assert counts == IndexCounts(
        labelled=n_listed, unlabelled=n_images - n_listed, broken=0
    )
    for row in rows(tmp_path / "index.csv")[::50]:
        with Image.open(image_path(landmarks45 / "train", row["id"])) as image:
            assert (int(row["width"]), int(row["height"])) == image.size


def test_an_image_of_a_few_pixels_is_an_image(tmp_path):
    (tmp_path / "train.csv").write_text("id,landmark_id\nabc0,7\n")
    path = image_path(tmp_path / "train", "abc0")
    path.parent.mkdir(parents=True)
    Image.new("RGB", (5, 3)).save(path)
    assert index(tmp_path, tmp_path / "index.csv").broken == 0
    assert rows(tmp_path / "index.csv")[0]["width"] == "5"
