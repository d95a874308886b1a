"""Images in another layout, and hosts of another training, are named at once."""

import shutil

import pytest

from kaggle_kit import cli
from kaggle_kit.data import layout_check
from kaggle_kit.data.index import index
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.errors import DataError

LAYOUTS = {  # the place of an image in another layout, and what the message calls it
    "flat": (lambda i, n: f"{i}.jpg", "files *.jpg"),
    "jpeg": (lambda i, n: f"{i}.jpeg", "files *.jpeg"),
    "capitals": (lambda i, n: f"{i[0]}/{i[1]}/{i[2]}/{i}.JPG", "files */*/*/*.JPG"),
    "by landmark": (lambda i, n: f"{n % 3}/{i}.jpg", "files */*.jpg"),
    "twice": (
        lambda i, n: f"train/{i[0]}/{i[1]}/{i[2]}/{i}.jpg",
        "files train/*/*/*/*.jpg",
    ),
    "other folders": (lambda i, n: f"{i[3]}/{i[4]}/{i[5]}/{i}.jpg", "*/*/*/*.jpg"),
}


@pytest.fixture
def moved(competition, tmp_path):
    """A function that copies the competition, and one of its folders in another layout."""

    def move(layout, folder):
        root = tmp_path / "moved"
        shutil.copytree(
            competition, root, ignore=lambda _, names: set(names) & {"train", "test"}
        )
        for name in {"train", "test"} - {folder}:
            (root / name).symlink_to(competition / name)
        place = LAYOUTS[layout][0]
        for n, path in enumerate(sorted((competition / folder).rglob("*.jpg"))):
            target = root / folder / place(path.stem, n)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        return root

    return move


@pytest.mark.parametrize("layout", LAYOUTS)
def test_index_and_subset_say_what_is_there(moved, layout, tmp_path, capsys):
    root = moved(layout, "train")
    for args in (["index"], ["subset", "--config", "demo.yaml"]):
        out = tmp_path / "out"
        code = cli.main([*args, "--competition", str(root), "--out", str(out)])
        printed = capsys.readouterr()
        line = printed.err.splitlines()[-1]
        assert code == 1 and printed.out == "" and not out.exists()
        assert "a/b/c/<id>.jpg" in line and LAYOUTS[layout][1] in line
        assert f"{root}/train: " in line


@pytest.mark.parametrize(
    ("folder", "args"),
    [
        ("test", ["run", "--config", "demo.yaml"]),
        ("train", ["run", "--config", "demo.yaml"]),
        ("train", ["shards", "--config", "demo.yaml", "--subset"]),
        ("test", ["predict", "--bundle"]),
        ("test", ["rehearse", "--bundle"]),
        ("train", ["bundle", "--run"]),
    ],
)
def test_every_command_says_so_before_its_work(moved, folder, args, tmp_path, capsys):
    if args[-1].startswith("--"):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "subset.csv").write_text("id,landmark_id,split\n")
        for name in ("kit-manifest.json", "config.json"):
            (tmp_path / "in" / name).write_text('{"name": "a"}')
        args = [*args, str(tmp_path / "in")]
    root, out = moved("jpeg", folder), tmp_path / "out"
    assert cli.main([*args, "--competition", str(root), "--out", str(out)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{root}/{folder}: " in line and "files *.jpeg" in line
    assert not out.exists()


def test_a_huge_folder_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(layout_check, "MAX_ENTRIES", 100)
    folder = tmp_path / "train"
    folder.mkdir()
    for n in range(1000):
        (folder / f"{n:016x}.png").touch()
    with pytest.raises(DataError, match=r"100 files \*\.png and others"):
        layout_check.require_images(folder)


def test_many_empty_folders_before_the_images_are_no_other_layout(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(layout_check, "MAX_ENTRIES", 100)
    for n in range(300):
        (tmp_path / f"{n:x}").mkdir()
    layout_check.require_images(tmp_path)


def test_a_good_folder_is_known_at_its_first_image(competition, monkeypatch):
    monkeypatch.setattr(layout_check, "MAX_ENTRIES", 60)  # of some 150
    Competition(competition).require("train", "test")


def test_an_index_of_no_image_that_decodes_is_a_failure(rerun, tmp_path):
    for path in (rerun / "train").rglob("*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"expected images that decode, got none of"):
        index(rerun, tmp_path / "index.csv")
    assert (tmp_path / "index.broken.csv").exists()
    assert not (tmp_path / "index.csv").exists()


@pytest.mark.parametrize("image_id", ["", "a", "ab"])
def test_an_id_that_is_too_short_for_its_folders_is_one_line(tmp_path, image_id):
    with pytest.raises(DataError, match="at least 3 characters"):
        image_path(tmp_path, image_id)


def test_hosts_left_over_of_another_training_are_named(
    settings, competition, tmp_path, monkeypatch
):
    from kaggle_kit.errors import KitError
    from kaggle_kit.run import run

    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    with pytest.raises(KitError, match="TF_CONFIG: expected none"):
        run(settings, competition, tmp_path / "out")
    assert not (tmp_path / "out").exists()
