"""What users put into the folders of the kit stays there, and each kind knows its own."""

import os
import shutil

import pytest

from kaggle_kit.bundling.contents import BUNDLE
from kaggle_kit.cli import main
from kaggle_kit.data.shards import SHARDS, shards
from kaggle_kit.data.subset import SUBSET, subset
from kaggle_kit.demo import competition as demo
from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage.folders import check_replaceable, list_files
from kaggle_kit.storage.manifest import read_manifest
from kaggle_kit.training.run_directory import RunDirectory

MINE = {"thesis.txt": "mine", "notes/deep/plan.md": "mine too"}


def add(folder):
    for name, text in MINE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def check(folder):
    for name, text in MINE.items():
        assert (folder / name).read_text() == text


@pytest.mark.parametrize(
    ("kind", "fixture"),
    [(SUBSET, "subset_dir"), (SHARDS, "shards_dir"), (BUNDLE, "bundle_dir")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_kind_knows_all_files_of_its_own(kind, fixture, request, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(request.getfixturevalue(fixture), folder)
    assert kind.list_others(folder) == []
    assert all(kind.has_name(name) for name in list_files(folder))
    add(folder)
    assert kind.list_others(folder) == sorted(MINE)
    check_replaceable(folder, kind)


def test_a_bundle_with_a_file_among_the_librarys_is_not_replaced(bundle_dir, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bundle_dir, folder)
    (folder / "kaggle_kit" / "mine.py").write_text("mine")
    with pytest.raises(
        ArtefactError, match=r"kaggle_kit/mine\.py: expected only files"
    ):
        check_replaceable(folder, BUNDLE)
    (folder / "kaggle_kit" / "mine.py").unlink()
    (folder / "kit-manifest.json").write_text("{")
    with pytest.raises(ArtefactError, match="got a damaged one"):
        check_replaceable(folder, BUNDLE)
    assert len(list_files(folder)) == len(read_manifest(bundle_dir).files) + 2


def test_a_subset_made_again_keeps_them(settings, competition, tmp_path):
    for _ in range(2):
        subset(settings.subset, settings.seed, competition, tmp_path / "out")
        add(tmp_path / "out")
    check(tmp_path / "out")


def test_shards_made_again_keep_them(settings, competition, subset_dir, tmp_path):
    changed = settings.data.model_copy(update={"jpeg_quality": 50})
    for data in (settings.data, changed):
        shards(data, competition, subset_dir, tmp_path / "out")
        add(tmp_path / "out")
    check(tmp_path / "out")


def test_a_drawn_competition_knows_its_images(tmp_path, monkeypatch):
    """Images of the user's among them are not its own."""
    monkeypatch.setattr(demo, "N_LANDMARKS", 1)
    monkeypatch.setattr(demo, "TRAIN_OTHERS", 2)
    monkeypatch.setattr(demo, "TEST_OTHERS", 2)
    for others in ([], OWN_IMAGES):
        demo.draw(tmp_path / "out", 3)
        assert demo.DRAWN.list_others(tmp_path / "out") == others
        for name in OWN_IMAGES:
            (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "out" / name).write_text("mine")
    assert all((tmp_path / "out" / name).read_text() == "mine" for name in OWN_IMAGES)


OWN_IMAGES = ["test/f/f/f/ffffffffffffffff.jpg", "train/0/0/0/0000000000000000.jpg"]


def test_a_run_that_is_resumed_deletes_no_file_with_another_name(run_dir, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    names = [
        "part-of-thesis.txt",
        "film.part",
        "checkpoint-best.npz",
        "checkpoint-0003.md",
    ]
    leftovers = ["part-model.weights.h5", "history.csv.kit.part", "checkpoint-0000.npz"]
    for name in names + leftovers:
        (folder / name).write_text("mine")
    RunDirectory(folder)._delete_leftovers()
    left = os.listdir(folder)
    assert set(names) <= set(left) and not set(leftovers) & set(left)


def test_match_and_index_do_not_write_over_what_they_read(competition, capsys):
    images = [str(path) for path in sorted((competition / "train").rglob("*.jpg"))[:2]]
    before = [os.stat(path).st_mtime_ns for path in images]
    table = competition / "train.csv"
    for words in (
        ["match", *images, "--out", images[0]],
        ["index", "--competition", str(competition), "--out", str(table)],
    ):
        assert main(words) == 1
        captured = capsys.readouterr()
        assert "expected --out apart from what the command reads" in captured.err
        assert captured.err.count("\n") == 1
    assert before == [os.stat(path).st_mtime_ns for path in images]
    assert table.read_text().startswith("id,landmark_id\n")
