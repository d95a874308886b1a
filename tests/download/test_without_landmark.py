"""A number of images of the part ``test`` that are known to show no landmark."""

import pytest

from tests.helpers.public_mirror import TEST, WITH_LANDMARK, expected, found, images
from tests.helpers.public_mirror import solution_rows as rows
from tests.helpers.small_competition import image_id

FOLDER = "gldv2_test"
TARS = ["test/images_000.tar", "test/images_001.tar"]


def first(n, *tars):
    """The images that are wanted first: tar by tar, by id, without those of a landmark."""
    ordered = []
    for tar in tars or (0, 1):
        half = [i for i in TEST[6 * tar : 6 * tar + 6] if i not in WITH_LANDMARK]
        ordered += sorted(half, key=image_id)
    return expected(ordered[:n], FOLDER)


@pytest.fixture
def pool(kit, tmp_path):
    """Ask for images without a landmark; return the code, the result, and what is there."""

    def run(n, *more, tars=None):
        args = ["--part", "test", "--without-landmark", n, *more]
        code, made = kit(*args, tars=tars)
        return code, made, found(tmp_path / "out", FOLDER)

    return run


@pytest.mark.parametrize("n", [1, 4, 5, 6, 10])
def test_exactly_as_many_are_unpacked_of_as_few_tars(n, mirror, pool):
    code, made, there = pool(n)
    assert (code, made["fetched"], made["there"]) == (0, n, 0)
    assert there == first(n) and len(there) == n
    assert mirror.tars() == TARS[: 1 + (n > 5)]
    assert pool(n)[1]["there"] == n and mirror.tars() == []


def test_more_are_added_to_those_that_are_there(mirror, pool):
    requested = []
    for n in (2, 4, 5, 7, 3, 10):
        code, _, there = pool(n)
        most = max(n, 7 if n == 3 else 0)
        assert code == 0 and there == first(most)
        requested.append(mirror.tars())
    assert requested == [TARS[:1], TARS[:1], TARS[:1], TARS[1:], [], TARS[1:]]


def test_tars_are_taken_in_the_given_order(mirror, pool):
    assert pool(6, tars="1,0")[2] == first(6, 1, 0)
    assert mirror.tars() == [TARS[1], TARS[0]]
    assert pool(6, tars="0-1")[0] == 0 and mirror.tars() == []


def test_the_order_within_a_tar_is_not_that_of_its_members(mirror, pool):
    members = list(images(TEST[:6]).items())[::-1]
    mirror.add_tar(0, members, part="test")
    assert pool(3)[2] == first(3)


def test_too_few_in_the_tars_is_one_line_that_says_how_many(mirror, pool):
    for _ in range(2):
        code, line, there = pool(9, tars="0")
        assert code == 1 and there == first(5)
        assert f"{FOLDER}: expected 9 images without a landmark, got 5" in line
        assert "ask for at most 5" in line
    assert mirror.tars() == TARS[:1]
    assert pool(9, tars="0-1")[2] == first(9)


def test_too_few_in_the_data_set_is_one_line_before_any_tar(mirror, pool):
    code, line, there = pool(11)
    assert code == 1 and there == {} and mirror.tars() == []
    assert "recognition_solution_v2.1.csv: expected 11 images" in line
    assert "ask for at most 10" in line


def test_an_ignored_image_is_not_known_to_show_none(mirror, pool):
    ignored = image_id(24)
    mirror.add_solution(
        row.replace("Public", "Ignored") if row.startswith(ignored) else row
        for row in rows()
    )
    names = {name for name in pool(9)[2] if ignored not in name}
    assert len(names) == 9
    assert pool(10)[0] == 1


def test_images_that_are_there_already_count(mirror, kit, pool, tmp_path):
    assert kit("--part", "test", tars="1")[0] == 0  # all, those of landmarks too
    mirror.tars()
    code, made, _ = pool(5)
    assert (code, made["fetched"], made["there"]) == (0, 0, 5) and mirror.tars() == []
    code, _, there = pool(7)
    assert code == 0 and mirror.tars() == TARS[:1]
    assert there == first(2, 0) | expected(TEST[6:], FOLDER)


def test_the_disk_limit_counts_the_wanted_images_alone(mirror, pool):
    size = len(mirror.files[TARS[0]])
    two = sum(map(len, first(2).values()))
    code, line, there = pool(2, "--disk-gb", (size + two - 1) / 1e9)
    assert code == 1 and "--disk-gb" in line and there == {}
    assert pool(2, "--disk-gb", (size + two) / 1e9)[2] == first(2)
    assert mirror.tars() == TARS[:1]  # it was kept until there was room


def test_a_wrong_checksum_stops_before_an_image_is_unpacked(mirror, pool):
    mirror.add_tar(1, images(TEST[6:]).items(), md5="0" * 32, part="test")
    code, line, there = pool(7)
    assert code == 8 and "test/images_001.tar: expected the checksum" in line
    assert there == first(5)


def test_images_that_do_not_decode_do_not_count(mirror, pool):
    """Another one of the same tar takes their place, and then one of the next."""
    broken, *others = first(5)
    members = images(TEST[:6])
    members[broken.removeprefix(f"{FOLDER}/")] = b"no image"
    mirror.add_tar(0, members.items(), part="test")
    code, made, there = pool(3)
    assert (code, made["fetched"], made["there"], made["broken"]) == (0, 4, 0, 1)
    assert there.keys() == {broken, *others[:3]}
    assert mirror.tars() == TARS[:1]
    code, made, _ = pool(3)
    assert (code, made["fetched"], made["there"]) == (0, 0, 3) and mirror.tars() == []
    code, made, there = pool(5)
    assert (code, made["fetched"], made["there"]) == (0, 2, 3)
    assert there.keys() == first(6).keys() and mirror.tars() == TARS
    code, line, _ = pool(10, tars="0-1")
    assert code == 1 and "expected 10 images without a landmark, got 9" in line


def test_the_disk_limit_holds_for_what_takes_the_place_of_a_broken_image(mirror, pool):
    broken, second = first(2)
    members = images(TEST[:6])
    members[broken.removeprefix(f"{FOLDER}/")] = b"no image"
    mirror.add_tar(0, members.items(), part="test")
    most = len(mirror.files[TARS[0]]) + len(b"no image") + len(first(2)[second])
    code, line, there = pool(1, "--disk-gb", (most - 1) / 1e9)
    assert code == 1 and "--disk-gb" in line and there.keys() == {broken}
    assert pool(1, "--disk-gb", (most + 1) / 1e9)[2].keys() == {broken, second}
