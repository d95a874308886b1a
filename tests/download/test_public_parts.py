"""The parts ``index`` and ``test`` of the public data set, beside ``train``."""

import hashlib
import json
import re
import tarfile

import pytest

from kaggle_kit import cli
from kaggle_kit.download import http, staging
from kaggle_kit.download.parts import PARTS, TEST, TRAIN, parse_numbers
from tests.helpers import public_mirror
from tests.helpers.public_mirror import SOLUTION, expected, found, images, special
from tests.helpers.small_competition import image_id

# The images of a part's two tars, and the folder for them
PLACES = {"index": ("gldv2_index", 10, 12, 14), "test": ("gldv2_test", 20, 26, 32)}
each_part = pytest.mark.parametrize("part", PLACES)


def record(out):
    return json.loads((out / "tars.json").read_text())


@each_part
def test_images_of_a_part_have_a_folder_of_their_own(part, mirror, kit, tmp_path):
    folder, first, middle, end = PLACES[part]
    out = tmp_path / "out"
    code, made = kit("--part", part, tars="1")
    assert (code, made["fetched"], made["there"]) == (0, end - middle, 0)
    code, made = kit("--part", part)
    assert (code, made["fetched"], made["there"]) == (0, middle - first, end - middle)
    tars = [f"{part}/images_001.tar", f"{part}/images_000.tar"]
    assert mirror.tars() == tars
    assert found(out, folder) == expected(range(first, end), folder)
    assert {p.name for p in out.iterdir() if p.is_dir()} == {folder, ".download"}
    assert not list(out.rglob("*.tar"))
    assert kit("--part", part)[1]["fetched"] == 0 and mirror.tars() == []


@each_part
def test_a_part_goes_beside_a_competition(part, kit, tmp_path):
    """Its own folder ``test`` stays as it is, and it can be downloaded further."""
    out = tmp_path / "out"
    with staging.open_staging(out, "landmark-recognition-2021") as here:
        (here.folder / "x").write_bytes(b"own")
        here.install(here.folder / "x", "test/0/1/2/0123456789abcdef.jpg")
    assert kit("--part", part, tars="0")[0] == 0
    assert found(out, "test") == {"test/0/1/2/0123456789abcdef.jpg": b"own"}
    assert not (out / "train.csv").exists()
    with staging.open_staging(out, "landmark-recognition-2021"):
        pass
    code, line = kit(tars="0")
    assert code == 1 and "choose another --out" in line


def test_a_part_does_not_fix_the_source_of_the_folder(kit, tmp_path):
    assert kit("--part", "test", tars="0")[0] == 0
    with staging.open_staging(tmp_path / "out", "landmark-recognition-2021"):
        pass


def test_the_record_is_by_part_and_an_older_one_is_that_of_train(mirror, kit, tmp_path):
    out = tmp_path / "out"
    assert kit(tars="0")[0] == 0
    older = record(out)["train"]["tars"]
    assert set(older["0"]) == {"md5", "kept", "photos", "bytes"}
    (out / "tars.json").write_text(json.dumps(older))
    mirror.tars()
    code, made = kit("--part", "test", tars="0")
    assert (code, made["fetched"], made["there"]) == (0, 6, 0)
    code, made = kit(tars="0-1")
    assert (code, made["fetched"], made["there"]) == (0, 4, 4)
    assert mirror.tars() == ["test/images_000.tar", "train/images_001.tar"]
    parts = record(out)
    assert {name: list(part["tars"]) for name, part in parts.items()} == {
        "train": ["0", "1"],
        "test": ["0"],
    }
    assert parts["train"]["tars"]["0"] == older["0"]


@pytest.mark.parametrize(
    "content",
    [
        '{"test": {}}',
        '{"test": {"resize": 8, "tars": []}}',
        '{"test": {"resize": "x", "tars": {}}}',
        '{"test": {"resize": null, "tars": {"0": {"md5": ""}}}}',
        '{"0": {"md5": "", "kept": [], "photos": 0, "bytes": 0}, "test": {}}',
    ],
)
def test_a_damaged_record_is_one_line(content, kit, mirror, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tars.json").write_text(content)
    code, line = kit("--part", "test")
    assert code == 1 and "tars.json: expected the record of downloaded tars" in line
    assert mirror.calls == []


def test_the_numbers_of_a_part_are_those_of_the_data_set():
    assert {name: part.n_tars for name, part in PARTS.items()} == {
        "train": 500,
        "index": 100,
        "test": 20,
    }
    assert parse_numbers("17,3,0-1,3", TEST) == [17, 3, 0, 1]
    assert parse_numbers("0-499", TRAIN) == list(range(500))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--tars", "20", "--part", "test"], "from 0 to 19, which --part test has"),
        (["--tars", "9-100", "--part", "index"], "from 0 to 99, which --part index"),
        (["--tars", "500"], "from 0 to 499, which --part train has"),
        (["--tars", "3-2", "--part", "test"], "got '3-2'"),
        (["--part", "test"], "--tars: expected the tars of --part test"),
        (["--part", "Test"], "--part: invalid choice: 'Test'"),
        (["--slug", "x", "--part", "test"], "--part: expected it with --tars"),
        (["--slug", "x", "--resize", "9"], "--resize: expected it with --tars"),
        (
            ["--slug", "x", "--without-landmark", "9"],
            "--without-landmark: expected it with --tars",
        ),
        (["--without-landmark", "9"], "--slug or --tars, got none"),
        (["--tars", "0", "--without-landmark", "9"], "add --part test"),
        (["--part", "index", "--without-landmark", "9"], "add --part test"),
        (["--part", "test", "--without-landmark", "0"], "a number from 1, got '0'"),
        (["--part", "test", "--without-landmark", "9", "--tables"], "give exactly one"),
        (["--part", "test", "--tars", "0", "--subset", "x"], "with --part train"),
        (["--tars", "0", "--resize", "-1"], "--resize"),
    ],
)
def test_misuse_is_one_line_before_any_call(
    args, expected, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(["download", "--out", "out", *args])
    except SystemExit as ended:
        code = ended.code
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1 and expected in line
    assert not (tmp_path / "out").exists()


@each_part
def test_the_tables_of_a_part_alone(part, mirror, kit, tmp_path):
    names = {"index": ["gldv2_index.csv"], "test": ["recognition_solution_v2.1.csv"]}[
        part
    ]
    for _ in range(2):
        code, made = kit("--part", part, "--tables", tars=None)
        assert code == 0 and set(made) == {"seconds"}
        assert sorted(p.name for p in (tmp_path / "out").glob("*")) == [
            ".download",
            *names,
        ]
    path = {"index": "metadata/index.csv", "test": SOLUTION}[part]
    assert (tmp_path / "out" / names[0]).read_bytes() == mirror.files[path]
    assert len(mirror.got(path)) == 1


def test_all_tables_that_a_mirror_has(mirror, kit, tmp_path):
    extra = {
        "train": {
            "train_clean.csv": f"landmark_id,images\n7,{image_id(1)} {image_id(2)}\n",
            "train_label_to_category.csv": "landmark_id,category\n7,http://x/C:A\n",
            "train_label_to_hierarchical.csv": "landmark_id,supercategory\n7,church\n",
        },
        "index": {
            "index_image_to_landmark.csv": f"id,landmark_id\n{image_id(10)},7\n",
            "index_label_to_category.csv": "landmark_id,category\n7,http://x/C:A\n",
            "index_label_to_hierarchical.csv": "landmark_id,supercategory\n7,church\n",
        },
    }
    for part, tables in extra.items():
        for name, text in tables.items():
            mirror.files[f"metadata/{name}"] = text.encode()
        assert kit("--part", part, "--tables", tars=None)[0] == 0
        for name, text in tables.items():
            assert (tmp_path / "out" / name).read_text() == text


def test_the_solution_may_be_beside_the_other_tables_of_a_mirror(mirror, kit, tmp_path):
    content = mirror.files.pop(SOLUTION)
    code, line = kit("--part", "test", "--tables")
    assert code == 7 and f"{SOLUTION}: expected a file, got HTTP 404" in line
    mirror.files["metadata/recognition_solution_v2.1.csv"] = content
    assert kit("--part", "test", "--tables")[0] == 0
    table = tmp_path / "out" / "recognition_solution_v2.1.csv"
    assert table.read_bytes() == content


@pytest.mark.parametrize(
    ("part", "path", "text", "expected"),
    [
        ("test", SOLUTION, "id,landmarks\nabcdef,\n", "expected Usage Public, Private"),
        ("test", SOLUTION, "<html>", "expected the columns id,landmarks"),
        ("train", "metadata/train.csv", "id,landmark_id\nabcdef,x\n", "a landmark id"),
    ],
)
def test_a_malformed_table_that_is_required_is_not_installed(
    part, path, text, expected, mirror, kit, tmp_path
):
    mirror.files[path] = text.encode()
    code, line = kit("--part", part)
    assert code == 1 and f"{mirror.url}/{path}: " in line and expected in line
    assert line.endswith("; check --url")
    assert not (tmp_path / "out" / path.rpartition("/")[2]).exists()
    assert mirror.tars() == []


HTML = "<html>\n<body>Sign in</body>\n</html>\n"
MALFORMED = [
    *[
        (part.name, table.name, HTML, "row 1: expected")
        for part in PARTS.values()
        for table in part.tables
        if not table.required
    ],
    ("train", "train_clean.csv", "landmark_id,images\n7,../x\n", "separated by blanks"),
    ("train", "train_attribution.csv", "id,author\n", "expected the columns id,url"),
    (
        "train",
        "train_attribution.csv",
        "id,url,author,license,title\n../x,,,,\n",
        "row 2: expected an image id such as 0108dac4511cf183, got '../x'",
    ),
    (
        "train",
        "train_label_to_category.csv",
        "landmark_id,category\nx,y\n",
        "row 2: expected a landmark id",
    ),
    ("index", "gldv2_index.csv", "id\n../x\n", "row 2: expected an image id"),
    ("index", "gldv2_index.csv", "id\n", "expected image ids, found none"),
    (
        "index",
        "index_image_to_landmark.csv",
        f"id,landmark_id\n{image_id(10)},7\n{image_id(11)},x\n",
        "row 3: expected a landmark id (a whole number), got 'x'",
    ),
    (
        "index",
        "index_label_to_hierarchical.csv",
        "landmark_id,supercategory\n1;2,church\n",
        "row 2: expected a landmark id",
    ),
]


@pytest.mark.parametrize(("part", "name", "text", "expected"), MALFORMED)
def test_a_malformed_table_that_is_not_required_is_left_out_with_a_line(
    part, name, text, expected, mirror, kit, tmp_path, caplog
):
    """The images come all the same, and the table when it has been corrected."""
    path = f"metadata/{name.removeprefix('gldv2_')}"
    mirror.files[path] = text.encode()
    code, made = kit("--part", part, tars="0")
    assert code == 0 and made["fetched"] > 0
    assert not (tmp_path / "out" / name).exists()
    (line,) = [
        m for m in caplog.messages if m.endswith("; going on without this table")
    ]
    assert line.startswith(f"{mirror.url}/{path}: ")
    assert expected in line


@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_list_of_images_that_is_there_has_to_be_deleted(part, kit, tmp_path):
    ids, table = tmp_path / "ids", tmp_path / "out" / PARTS[part].listing
    ids.write_text(f"{image_id({'train': 0, 'index': 10, 'test': 20}[part])}\n")
    table.parent.mkdir()
    table.write_text(HTML)
    selections = [["--ids", ids]]
    if part == "test":
        selections.append(["--without-landmark", 1])
    for selection in selections:
        code, line = kit("--part", part, *selection)
        assert code == 1 and f"{table}: row 1: expected" in line
        assert line.endswith("; delete the file, then run the same command again")
    table.unlink()
    for selection in selections:
        assert kit("--part", part, *selection)[0] == 0


def test_an_index_of_the_kit_is_not_taken_for_the_list_of_the_part(
    mirror, kit, tmp_path
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.csv").write_text("id,landmark_id,width,height,hash\n")
    assert kit("--part", "index", tars="0")[0] == 0
    assert (out / "index.csv").read_text() == "id,landmark_id,width,height,hash\n"
    there = (out / "gldv2_index.csv").read_bytes()
    assert there == mirror.files["metadata/index.csv"]


def test_the_error_of_a_table_names_only_what_can_have_been_given(mirror, kit):
    del mirror.files["metadata/train.csv"]
    code, line = kit("--part", "train", "--tables", tars=None)
    assert code == 7 and "metadata/train.csv: expected a file, got HTTP 404" in line
    assert line.endswith("; check --url") and "--tars" not in line


def test_only_listed_images_of_a_part_are_unpacked(mirror, kit, tmp_path):
    out, ids = tmp_path / "out", tmp_path / "ids"
    for part, (folder, first, _, end) in PLACES.items():
        ids.write_text(f"{image_id(first)}\n{image_id(end - 1)}\n")
        code, made = kit("--part", part, "--ids", ids, tars="0")
        assert (code, made["fetched"], made["missing"]) == (0, 1, 1)
        code, made = kit("--part", part, "--ids", ids)
        assert (code, made["fetched"], made["missing"]) == (0, 1, 0)
        assert found(out, folder) == expected([first, end - 1], folder)
        ids.write_text(f"{image_id(1)}\n")  # of train
        code, line = kit("--part", part, "--ids", ids)
        assert code == 1 and f"expected ids of {PARTS[part].listing}" in line


def test_without_its_list_any_images_of_the_index_may_be_asked_for(
    mirror, kit, tmp_path
):
    del mirror.files["metadata/index.csv"]
    ids = tmp_path / "ids"
    ids.write_text(f"{image_id(1)}\n{image_id(10)}\n")
    code, made = kit("--part", "index", "--ids", ids)
    assert (code, made["fetched"], made["missing"]) == (0, 1, 1)


@each_part
def test_an_interrupted_tar_of_a_part_is_resumed(
    part, mirror, kit, tmp_path, monkeypatch
):
    monkeypatch.setattr(http, "CHUNK", 256)
    monkeypatch.setattr(http, "TRIES", 1)
    folder, first, middle, _ = PLACES[part]
    path = f"{part}/images_000.tar"
    mirror.faults[path] = [{"cut": 3000}]
    code, line = kit("--part", part, tars="0")
    assert code == 6 and "again later to resume" in line
    assert kit(tars="0")[0] == 0  # of train: a tar of the same number
    assert kit("--part", part, tars="0")[0] == 0
    start, resumed = mirror.got(path)
    assert start is None and int(re.fullmatch(r"bytes=(\d+)-", resumed)[1]) > 2000
    assert found(tmp_path / "out", folder) == expected(range(first, middle), folder)
    assert found(tmp_path / "out") == expected(range(4))


@each_part
def test_a_wrong_checksum_of_a_part_stops_unless_it_is_accepted(
    part, mirror, kit, tmp_path
):
    folder, first, _, _ = PLACES[part]
    mirror.add_tar(0, images([first]).items(), md5="0" * 32, part=part)
    got = hashlib.md5(mirror.files[f"{part}/images_000.tar"]).hexdigest()
    code, line = kit("--part", part, tars="0")
    assert code == 8
    assert f"{part}/images_000.tar: expected the checksum {'0' * 32}, got {got}" in line
    assert found(tmp_path / "out", folder) == {}
    assert kit("--part", part, "--accept-md5", got, tars="0")[0] == 0
    assert found(tmp_path / "out", folder) == expected([first], folder)


@each_part
def test_a_missing_tar_of_a_part_is_one_line(part, mirror, kit, tmp_path):
    code, line = kit("--part", part, tars="0,7")
    assert code == 7 and f"md5sum/{part}/md5.images_007.txt" in line
    folder, first, middle, _ = PLACES[part]
    assert found(tmp_path / "out", folder) == expected(range(first, middle), folder)
    mirror.files[f"md5sum/{part}/md5.images_007.txt"] = b"0" * 32
    code, line = kit("--part", part, tars="7")
    assert code == 7 and f"{part}/images_007.tar: expected a file, got HTTP 404" in line


@each_part
@pytest.mark.parametrize(
    "member",
    ["../0123456789abcdef.jpg", special("link.jpg", tarfile.SYMTYPE)],
    ids=["outside", "link"],
)
@pytest.mark.parametrize("more", [[], ["--resize", 30]], ids=str)
def test_an_unsafe_tar_of_a_part_is_refused(part, member, more, mirror, kit, tmp_path):
    folder, first, _, _ = PLACES[part]
    mirror.add_tar(0, [*images([first]).items(), (member, b"")], part=part)
    code, line = kit("--part", part, *more, tars="0")
    assert code == 1 and "do not use this archive" in line
    assert found(tmp_path / "out", folder) == {}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@each_part
def test_the_disk_limit_counts_the_images_of_all_parts(part, mirror, kit, tmp_path):
    folder, first, middle, _ = PLACES[part]
    size = len(mirror.files[f"{part}/images_000.tar"])
    train = sum(map(len, images(range(8)).values()))
    assert kit()[0] == 0
    limit = ["--disk-gb", (train + 2 * size - 1) / 1e9]
    code, line = kit("--part", part, *limit, tars="0")
    assert code == 1 and f"{part}/images_000.tar" in line and "--disk-gb" in line
    assert mirror.got(f"{part}/images_000.tar") == [None]  # its size, no content
    assert found(tmp_path / "out", folder) == {}
    limit = ["--disk-gb", (train + 2 * size) / 1e9]
    assert kit("--part", part, *limit, tars="0")[0] == 0
    assert found(tmp_path / "out", folder) == expected(range(first, middle), folder)


def test_the_mirror_is_like_the_data_set():
    """What the other tests say of it: tars, and cells of the solution."""
    rows = [row.split(",") for row in public_mirror.solution_rows()]
    assert [row[1] for row in rows if row[1]] == ["21 7", "28 7"]
    assert [row[0] for row in rows] == [image_id(i) for i in range(20, 32)]
