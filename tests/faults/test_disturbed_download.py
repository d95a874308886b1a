"""A disturbed download leaves each file complete or absent.

The real client downloads from the stand-in. ``tests/download/test_competition.py`` tests
that each file is downloaded once, however often the command is killed.
"""

import importlib.util
import random
import time

import pytest

from kaggle_kit.download.staging import FOLDER
from tests.helpers import public_mirror
from tests.helpers.attempts import disk
from tests.helpers.small_competition import SLUG, competition_files, image_id
from tests.helpers.standin import Kaggle

N_TRAIN = 2
FILES = competition_files(N_TRAIN, 1)


@pytest.fixture(scope="module")
def kaggle():
    if importlib.util.find_spec("kaggle") is None:
        pytest.skip("Kaggle's client is not installed: pip install '.[kaggle]'")
    with Kaggle() as server:
        server.add_competition(SLUG, FILES)
        yield server
    assert not server.leaks and not server.strays


@pytest.fixture
def words(kaggle, here, tmp_path):
    """The command."""
    ids = tmp_path / "ids"
    ids.write_text("".join(f"{image_id(i)}\n" for i in range(N_TRAIN + 1)))
    return ["download", "--slug", SLUG, "--out", here / "out", "--ids", ids]


@pytest.fixture
def options(kaggle, tmp_path):
    """What points the client at the stand-in."""
    return {"env": kaggle.env(tmp_path / "home")}


def found(here):
    """What is in its place."""
    out = here / "out"
    return {
        p.relative_to(out).as_posix(): p.read_bytes()
        for p in out.rglob("*")
        if p.is_file() and FOLDER not in p.parts and not p.name.endswith(".kit.lock")
    }


def check_whole_or_absent(here):
    there = found(here)
    assert {name: FILES[name] for name in there} == there


def check_goes_on(attempts, here, words, options):
    ended = attempts.run(here, *words, **options)
    assert ended.code == 0, ended.err
    assert found(here) == FILES


@pytest.mark.parametrize("n_kills", [pytest.param(25, marks=pytest.mark.slow)])
def test_killed_again_and_again(n_kills, attempts, here, words, options, tried):
    rng = random.Random(n_kills)
    usual = attempts.run(
        here / "usual", *map(str, words[:4]), here / "usual", *words[5:], **options
    )
    assert usual.code == 0, usual.err
    killed = 0
    for i in range(n_kills):
        if i % 2:
            at = rng.randint(1, usual.events)
            ended = attempts.run(here / "out", *words, kill_at=at, **options)
        else:
            attempt = attempts.start(here / "out", *words, **options)
            ended = attempt.end(kill_after_s=rng.uniform(0, usual.seconds))
        killed += ended.killed
        check_whole_or_absent(here)
    check_goes_on(attempts, here, words, options)
    assert killed
    tried["kills survived: download"] += killed


def test_a_full_disk(attempts, here, words, options, tried):
    with disk(here, "8m") as remount:
        line = attempts.run(here, *words, **options).complaint()
        assert "free for" in line and "make room" in line
        assert not found(here)
        remount("size=1g")
        check_goes_on(attempts, here, words, options)
    tried["full disks: download"] += 1


def test_a_read_only_folder(attempts, here, words, options, tried):
    with disk(here, "1g") as remount:
        remount("ro")
        line = attempts.run(here, *words, **options).complaint()
        assert "Read-only file system" in line and str(here) in line
        assert not list(here.iterdir())
    tried["read-only folders: download"] += 1


@pytest.mark.slow
def test_a_table_that_vanishes_underfoot(attempts, here, words, options, tried):
    """When it has been fetched, before it is looked at."""
    table = str(here / "out" / FOLDER / "table-train.csv" / "train.csv")
    vanish = {"vanish": [table, table]} | options
    assert "train.csv" in attempts.run(here, *words, **vanish).complaint()
    check_whole_or_absent(here)
    check_goes_on(attempts, here, words, options)
    tried["vanished files: download"] += 1


@pytest.mark.parametrize("n", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_two_at_once(n, attempts, here, words, options, tried):
    """The second waits, and finds all there."""
    rng = random.Random(n)
    for i in range(n):
        out = here / f"{i}"
        both = [*words[:4], out / "out", *words[5:]]
        pair = [attempts.start(out, *both, **options)]
        time.sleep(rng.random())
        pair.append(attempts.start(out, *both, **options))
        results = [attempt.end().result() for attempt in pair]
        assert found(out) == FILES
        assert sum(made["fetched"] for made in results) == N_TRAIN + 1
        tried["pairs at once: download"] += 1


# --- Tars of the public data set ---


@pytest.fixture(scope="module")
def mirror():
    with public_mirror.public_mirror() as server:
        yield server


def tar_words(mirror, out, *more):
    return ["download", "--out", out, "--url", mirror.url, *more]


@pytest.mark.parametrize(
    "more",
    [
        ["--part", "index", "--tars", "0-1"],
        ["--part", "test", "--without-landmark", "7", "--resize", "30"],
    ],
    ids=["index", "without-landmark"],
)
@pytest.mark.parametrize(
    "step", [20, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_tars_killed_before_a_change_of_a_file(
    step, more, mirror, attempts, here, tried
):
    """Each image is whole or absent; then the same command ends with the same files."""
    options = {"env": {"no_proxy": "*"}}
    usual = attempts.run(here, *tar_words(mirror, here / "usual", *more), **options)
    assert usual.code == 0, usual.err
    whole = found_of_tars(here / "usual")
    for at in range(1 + len(more) % step, usual.events + 1, step):
        words = tar_words(mirror, here / f"{at}", *more)
        ended = attempts.run(here, *words, kill_at=at, **options)
        assert ended.killed
        there = found_of_tars(here / f"{at}")
        images = {name for name in there if name.endswith(".jpg")}
        assert {name: there[name] for name in images} == {n: whole[n] for n in images}
        ended = attempts.run(here, *words, **options)
        assert ended.code == 0, ended.err
        assert found_of_tars(here / f"{at}") == whole
        assert not list((here / f"{at}").rglob("*.tar"))
        tried["kills survived: download of tars"] += 1


def found_of_tars(out):
    """What is in its place."""
    return {
        p.relative_to(out).as_posix(): p.read_bytes()
        for p in out.rglob("*")
        if p.is_file() and FOLDER not in p.parts and ".kit." not in p.name
    }
