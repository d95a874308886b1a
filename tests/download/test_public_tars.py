"""Tars of the public data set from a local server that interrupts, delays and fails."""

import hashlib
import json
import tarfile

import pytest

from kaggle_kit.download import http, staging
from tests.helpers.public_mirror import (
    ATTRIBUTION,
    N_TRAIN,
    expected,
    found,
    images,
    special,
)
from tests.helpers.small_competition import image_id, image_name, jpeg


def test_tars_are_unpacked_and_not_fetched_again(mirror, kit, tmp_path):
    out = tmp_path / "out"
    code, made = kit()
    assert code == 0
    assert (made["tars"], made["fetched"], made["there"]) == (2, N_TRAIN, 0)
    assert found(out) == expected(range(N_TRAIN))
    rows = "".join(f"{image_id(i)},{i % 3}\n" for i in range(N_TRAIN))
    assert (out / "train.csv").read_text() == "id,landmark_id\n" + rows
    assert (out / "train_attribution.csv").read_bytes() == ATTRIBUTION
    assert not (out / "train_label_to_category.csv").exists()
    assert not list(out.rglob("*.tar")) and not (out / "README").exists()
    mirror.calls.clear()
    code, made = kit()
    assert (code, made["fetched"], made["there"]) == (0, 0, N_TRAIN)
    assert not any("images" in path for path, _ in mirror.calls)


def test_only_selected_images_of_a_tar_are_unpacked(mirror, kit, tmp_path):
    out = tmp_path / "out"
    ids = tmp_path / "ids"
    ids.write_text(f"{image_id(1)}\n{image_id(6)}\n")
    code, made = kit("--ids", ids, tars="0")
    assert (code, made["fetched"], made["missing"]) == (0, 1, 1)
    code, made = kit("--ids", ids)
    assert (code, made["fetched"], made["missing"]) == (0, 1, 0)
    assert found(out) == expected([1, 6])
    assert len(mirror.got("train/images_000.tar")) == 1
    subset = tmp_path / "subset"
    subset.mkdir()
    (subset / "subset.csv").write_text(f"id,landmark_id,split\n{image_id(2)},2,train\n")
    code, made = kit("--subset", subset)  # others of the same tars
    assert (code, made["fetched"], made["missing"]) == (0, 1, 0)
    assert found(out) == expected([1, 2, 6])
    code, made = kit()
    assert (code, made["fetched"], made["there"]) == (0, 5, 3)
    assert found(out) == expected(range(N_TRAIN))
    ids.write_text("ffffffffffffffff\n")
    code, line = kit("--ids", ids)
    assert code == 1 and "got 1 unknown" in line


@pytest.mark.parametrize("content", ["{", "[]", '{"0": {"md5": ""}}'])
def test_a_damaged_record_is_one_line(content, mirror, kit, tmp_path):
    assert kit("--tables")[0] == 0
    (tmp_path / "out" / "tars.json").write_text(content)
    code, line = kit(tars="0")
    assert code == 1 and "tars.json: expected the record of downloaded tars" in line


def test_tables_alone(mirror, kit, tmp_path):
    assert kit("--tables")[0] == 0
    assert (tmp_path / "out" / "train.csv").exists()
    assert not any("images" in path for path, _ in mirror.calls)


def test_an_interrupted_tar_is_resumed(mirror, kit, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "CHUNK", 256)
    path = "train/images_000.tar"
    mirror.faults[path] = [
        {"cut": 3000},
        {"status": 503},
        {"status": 429, "retry_after": 1},
        {"cut": 1000},
    ]
    code, made = kit(tars="0")
    assert (code, made["fetched"]) == (0, 4)
    assert found(tmp_path / "out") == expected(range(4))
    starts = [int(x[6:-1]) if x else 0 for x in mirror.got(path)]
    assert starts[0] == 0 and starts == sorted(starts) and starts[1] > 2000
    assert starts[-1] > 3000 and len(starts) == 5


def test_the_next_run_resumes_and_a_changed_tar_is_restarted(
    mirror, kit, tmp_path, monkeypatch
):
    monkeypatch.setattr(http, "CHUNK", 256)
    monkeypatch.setattr(http, "TRIES", 1)
    path = "train/images_000.tar"
    mirror.faults[path] = [{"cut": 3000}]
    code, line = kit(tars="0")
    assert code == 6 and "again later to resume" in line
    assert found(tmp_path / "out") == {}
    mirror.faults[path] = [{"cut": 1000}]
    assert kit(tars="0")[0] == 6
    assert mirror.got(path)[1] not in (None, "bytes=0-")
    mirror.add_tar(0, images([5, 6, 7]).items())
    assert kit(tars="0")[0] == 0
    assert found(tmp_path / "out") == expected([5, 6, 7])


def test_server_errors_are_one_line(mirror, kit, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "TRIES", 2)
    path = "train/images_000.tar"
    mirror.faults[path] = [{"status": 500}] * 9
    code, line = kit(tars="0")
    assert code == 6 and "HTTP 500" in line and len(mirror.got(path)) == 2
    mirror.faults[path] = [{"status": 403}]
    code, line = kit(tars="0")
    assert code == 7 and "HTTP 403" in line
    code, line = kit(tars="7")
    assert code == 7 and "md5.images_007.txt" in line
    assert found(tmp_path / "out") == {}


def test_an_unreachable_server_is_one_line(kit, mirror, monkeypatch, tmp_path):
    monkeypatch.setattr(http, "TRIES", 1)
    code, line = kit("--url", "http://127.0.0.1:1/none", tars="0")
    assert code == 6 and "127.0.0.1" in line


def test_a_wrong_checksum_stops_unless_it_is_accepted(mirror, kit, tmp_path):
    out = tmp_path / "out"
    mirror.add_tar(1, images([4]).items(), md5="0" * 32)
    got = hashlib.md5(mirror.files["train/images_001.tar"]).hexdigest()
    code, line = kit()
    assert code == 8
    assert f"expected the checksum {'0' * 32}, got {got}" in line
    assert f"--accept-md5 {got}" in line
    assert found(out) == expected(range(4))  # of the tar before it
    assert not list(out.rglob("*.tar*"))
    assert kit("--accept-md5", "1" * 32)[0] == 8
    code, made = kit("--accept-md5", "1" * 32, got)
    assert (code, made["fetched"], made["there"]) == (0, 1, 4)
    assert found(out) == expected(range(5))


@pytest.mark.parametrize(
    "member",
    [
        "../0123456789abcdef.jpg",
        "/tmp/0123456789abcdef.jpg",
        "a/../../x.jpg",
        special("link.jpg", tarfile.SYMTYPE),
        special("0/1/2/0123456789abcdef.jpg", tarfile.LNKTYPE),
        special("device", tarfile.CHRTYPE),
    ],
    ids=lambda member: getattr(member, "name", member),
)
def test_a_tar_with_a_member_outside_the_folder_is_refused(
    mirror, kit, tmp_path, member
):
    mirror.add_tar(0, [*images([0]).items(), (member, b"")])
    code, line = kit(tars="0")
    assert code == 1 and "do not use this archive" in line
    assert found(tmp_path / "out") == {}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("size", [100, 700, 3000])
def test_a_truncated_tar_with_an_accepted_checksum_is_refused(
    mirror, kit, tmp_path, size
):
    content = mirror.files["train/images_000.tar"][:size]
    mirror.files["train/images_000.tar"] = content
    code, line = kit("--accept-md5", hashlib.md5(content).hexdigest(), tars="0")
    assert code == 8 and "damaged" in line
    here = found(tmp_path / "out")
    assert here == {name: expected(range(4))[name] for name in here}
    record = json.loads((tmp_path / "out" / "tars.json").read_text())
    assert record == {"train": {"resize": None, "tars": {}}}


def test_disk_space_and_limit_are_checked_first(mirror, kit, monkeypatch, tmp_path):
    size = len(mirror.files["train/images_000.tar"])
    code, line = kit("--disk-gb", size * 1.5 / 1e9)
    assert code == 1 and "images_000.tar" in line and "--disk-gb" in line
    code, line = kit("--disk-gb", size * 2.2 / 1e9)  # one tar, not two
    assert code == 1 and "images_001.tar" in line
    assert found(tmp_path / "out") == expected(range(4))
    with monkeypatch.context() as patch:
        patch.setattr(staging, "free_bytes", lambda _: staging.RESERVE + size)
        code, line = kit()
        assert code == 1 and "make room" in line
    assert mirror.got("train/images_001.tar") == [None, None]
    assert found(tmp_path / "out") == expected(range(4))
    assert kit()[0] == 0


def test_images_that_were_there_are_counted_as_they_are_on_the_disk(kit, tmp_path):
    """Selected images that exist, whichever tars and selections brought them."""
    ids = tmp_path / "ids"
    counts = []
    for wanted, tars in (([1, 6], "0"), ([1, 6], "0-1"), ([1, 2, 6], "0"), (None, "0")):
        ids.write_text("".join(f"{image_id(i)}\n" for i in wanted or []))
        made = kit(*(["--ids", ids] if wanted else []), tars=tars)[1]
        counts.append((made["fetched"], made["there"], made.get("missing")))
    assert counts == [(1, 0, 1), (1, 1, 0), (1, 2, 0), (2, 2, None)]
    ids.write_text(f"{image_id(3)}\n{image_id(4)}\n")
    made = kit("--ids", ids, tars="0")[1]  # all of this tar are there
    assert (made["fetched"], made["there"], made["missing"]) == (0, 1, 1)


def test_the_record_counts_the_images_of_all_selections(kit, tmp_path):
    out, ids = tmp_path / "out", tmp_path / "ids"
    for number in (0, 3, 2):
        ids.write_text(f"{image_id(number)}\n")
        assert kit("--ids", ids, tars="0")[0] == 0
        there = found(out).values()
        record = json.loads((out / "tars.json").read_text())["train"]["tars"]["0"]
        assert record["photos"] == len(there)
        assert record["bytes"] == sum(map(len, there))


def test_the_images_of_a_killed_run_count_for_the_disk_limit(
    mirror, kit, tmp_path, stopped_after
):
    out = tmp_path / "out"
    size = len(mirror.files["train/images_000.tar"])
    whole = size + sum(map(len, images(range(4)).values()))
    with stopped_after(2):
        assert kit(tars="0")[0] == 8
    code, line = kit("--disk-gb", (whole - 1) / 1e9, tars="0")
    assert code == 1 and "train/images_000.tar" in line and "--disk-gb" in line
    assert len(found(out)) == 2
    assert kit("--disk-gb", (whole + 1) / 1e9, tars="0")[0] == 0
    assert found(out) == expected(range(4))


def test_a_broken_image_is_unpacked_and_listed(mirror, kit, tmp_path):
    name = image_name(image_id(0)).removeprefix("train/")
    mirror.add_tar(0, [(name, jpeg(0)[:-80])])
    code, made = kit(tars="0")
    assert (code, made["broken"]) == (0, 1)
    assert f"train/{name}" in (tmp_path / "out" / "download.broken.csv").read_text()


def test_a_folder_of_a_competition_is_not_mixed_with_tars(kit, tmp_path):
    with staging.open_staging(tmp_path / "out", "landmark-recognition-2021") as here:
        (here.folder / "x").write_bytes(b"")
        here.install(here.folder / "x", "x")
    code, line = kit()
    assert code == 1 and "choose another --out" in line
