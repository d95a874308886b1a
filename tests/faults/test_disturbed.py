"""Whatever happens to a stage as it writes: no result that looks whole and is not.

Stages are killed, find the disk full or read-only, lose a file underfoot, or are started
twice at once, as processes of their own on the small drawn competition.
"""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from kaggle_kit.kaggle import ledger
from kaggle_kit.storage import tables
from tests.helpers.attempts import ROOT, disk
from tests.helpers.stages import N_ROWS, STAGES, check_valid, contents, linked

LIGHT = ["subset", "index", "ledger"]  # no TensorFlow: cheap enough for every moment
ALL = [stage.name for stage in STAGES]


def some(names, default):
    """Parameters of which all but the default ones are slow."""
    return [
        n if n in default else pytest.param(n, marks=pytest.mark.slow) for n in names
    ]


def check_after_kill(stage, made, here):
    stage.check_nothing_half(here, made.whole[stage.name])
    if stage.name == "predict" and (here / "submission.csv").exists():
        check_valid(made.folder, here / "submission.csv")
    if stage.name == "ledger":
        ledger.read_ledger(here / "ledger.csv")


def check_goes_on(stage, made, here):
    """Once nothing disturbs it any more, the same command ends with the same result."""
    ended = made.attempts.run(here, *stage.words(made.folder, here, again=True))
    assert ended.code == 0, ended.err
    stage.check_whole(here, made.whole[stage.name])


# Killed.


EVERY = [  # change of a file
    9,
    pytest.param(3, marks=pytest.mark.extended),
    pytest.param(1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("over", [False, True], ids=["anew", "over an earlier one"])
@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("name", LIGHT)
def test_killed_before_changes_of_files(name, every, over, made, here, tried):
    """Each time: then again, to the end."""
    stage = made.begin(name)
    words = stage.words(made.folder, here)
    for kill_at in itertools.count(1, every):
        shutil.rmtree(here)
        here.mkdir()
        if over:
            made.attempts.run(here, *words)
        ended = made.attempts.run(here, *words, kill_at=kill_at)
        if not ended.killed:
            break
        check_after_kill(stage, made, here)
        check_goes_on(stage, made, here)
        tried[f"kills survived: {name}"] += 1
    assert ended.code == 0 and kill_at > max(4, every)


def killed_in_a_row(stage, made, here, rng, n_kills):
    """Kill a stage again and again, half the times before a random change of a file."""
    usual = made.ended[stage.name]
    killed = 0
    for i in range(3 * n_kills):
        words = stage.words(made.folder, here, again=True)
        if i % 2 and usual.events > 1:
            at = rng.randint(1, usual.events)
            ended = made.attempts.run(here, *words, kill_at=at)
        else:
            attempt = made.attempts.start(here, *words)
            ended = attempt.end(kill_after_s=rng.uniform(0, usual.seconds))
        if ended.killed:
            killed += 1
            check_after_kill(stage, made, here)
        else:
            assert ended.code == 0, ended.err
            stage.check_whole(here, made.whole[stage.name])
            shutil.rmtree(here)
            here.mkdir()
        if killed == n_kills:
            break
    return killed


HEAVY = ("shards", "train", "bundle", "predict")


@pytest.mark.parametrize(
    ("name", "n_kills"),
    [
        *((name, 1) for name in HEAVY),
        *(pytest.param(name, 3, marks=pytest.mark.extended) for name in HEAVY),
        *(
            pytest.param(name, 25, marks=pytest.mark.slow)
            for name in ("sheet", "report", "app", *HEAVY)
        ),
    ],
)
def test_killed_again_and_again_it_still_ends_with_the_same(
    name, n_kills, made, here, tried
):
    stage = made.begin(name)
    killed = killed_in_a_row(stage, made, here, random.Random(n_kills), n_kills)
    check_goes_on(stage, made, here)
    assert killed >= n_kills // 2
    tried[f"kills survived: {name}"] += killed


@pytest.mark.extended
@pytest.mark.parametrize("name", some(["shards", "bundle", "app"], ["shards"]))
def test_killed_as_the_new_folder_takes_the_place_of_an_earlier(
    name, made, here, tmp_path, tried
):
    """The earlier one is not lost before the new one is there."""
    stage = made.begin(name)
    words = stage.words(made.folder, here)
    (out,) = (here / o for o in stage.outs)
    earlier = tmp_path / "earlier"
    shutil.copytree(made.folder / stage.outs[0], earlier)
    (earlier / "more").write_text("mine")  # stays
    if name == "shards":  # else they would be kept
        (earlier / "subset.csv").write_text("id,landmark_id,split\n")
    shutil.copytree(earlier, out)
    ended = made.attempts.run(here, *words)
    assert ended.code == 0, ended.err
    # the last changes remove the earlier one, file by file, after both have moved
    moved = ended.events - 4 - sum(1 for _ in earlier.rglob("*"))
    whole = contents(made.folder / stage.outs[0]) | {"more": b"mine"}
    states = set()
    for kill_at in (ended.events, *range(moved + 4, moved - 1, -1)):
        shutil.rmtree(here)
        shutil.copytree(earlier, out)
        assert made.attempts.run(here, *words, kill_at=kill_at).killed
        there = out if out.exists() else here / f"{out.name}.kit.old"
        new = contents(there) == whole
        assert new or contents(there) == contents(earlier)
        states.add((there == out, new))
        tried[f"kills survived: {name}"] += 1
    assert states == {(True, False), (False, False), (True, True)}
    (out / "more").unlink()
    check_goes_on(stage, made, here)


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize(
    ("name", "function"), [("rehearse", "lay_out"), ("run", "open_folder")]
)
def test_killed_before_changes_as_it_opens_its_folder(
    name, function, every, made, here, tried
):
    """The folder stays one that it may take."""
    made.begin("subset")
    words = [f"tests.helpers.stages:{function}", here / "out", made.folder]
    if name == "rehearse":
        made.attempts.run(here, *words)
    for kill_at in itertools.count(1, every):
        if not made.attempts.run(here, *words, kill_at=kill_at).killed:
            break
        ended = made.attempts.run(here, *words)
        assert ended.code == 0, ended.err
        tried[f"kills survived: {name}"] += 1
        if name == "run":
            shutil.rmtree(here / "out")
    assert kill_at > 4


def test_a_process_apart_ends_when_the_one_before_it_is_killed(tmp_path, tried):
    """Else it would train on beside the command that is started again."""
    code = (
        "import sys, time; from kaggle_kit.subprocess_call import run_in_subprocess;"
        "from tests.faults.test_disturbed import beat;"
        "run_in_subprocess(beat, sys.argv[1])"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "pid"], env=environment
    )
    while not (tmp_path / "pid").exists():
        assert process.poll() is None
        time.sleep(0.05)
    pid = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.05)
    tried["kills survived: a process apart"] += 1


def beat(path):
    """Say who this is, and work for a long time."""
    with open(f"{path}.part", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{path}.part", path)
    time.sleep(60)


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# Full disks, and those that cannot be written to.


def largest(whole):
    return max(
        len(content)
        for found in whole.values()
        for content in found.values()
        if isinstance(content, bytes)
    )


@pytest.mark.parametrize(
    ("name", "n"),
    [
        *((name, 1) for name in LIGHT),
        *(pytest.param(n, 1, marks=pytest.mark.extended) for n in ("train", "bundle")),
        *(
            pytest.param(name, 6, marks=pytest.mark.slow)
            for name in ALL
            if name != "predict"  # whose file is smaller than the log
        ),
    ],
)
def test_where_files_may_not_grow_it_is_one_line(name, n, made, here, tried):
    """What a quota or a file system may also do to a file; then there is room."""
    stage = made.begin(name)
    rng = random.Random(n)
    words = stage.words(made.folder, here, again=True)
    most = 9000 if name == "train" else largest(made.whole[name])
    for _ in range(n):
        room = rng.randint(most // 3, most * 9 // 10)
        ended = made.attempts.run(here, *words, room=room)
        if name == "ledger":
            assert "found the disk full" in ended.err
        else:
            line = ended.complaint()
            assert "full" in line or "room" in line, line
            assert str(here) in line
        check_after_kill(stage, made, here)
        tried[f"full disks: {name}"] += 1
    check_goes_on(stage, made, here)


def used(here):
    return sum(p.stat().st_size for p in here.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("index", 1),
        *(
            pytest.param(n, 1, marks=pytest.mark.extended)
            for n in ("shards", "predict")
        ),
        *(pytest.param(name, 4, marks=pytest.mark.slow) for name in ALL),
    ],
)
def test_a_full_disk_is_one_line(name, n, made, here, tried):
    stage = made.begin(name)
    rng = random.Random(n)
    words = stage.words(made.folder, here, again=True)
    whole = made.folder / stage.outs[0]
    size = used(whole) if whole.is_dir() else whole.stat().st_size
    with disk(here, "1g") as remount:
        for _ in range(n):
            for path in here.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            pages = max(1, int(size * rng.uniform(0.1, 0.7)) // 4096)
            remount(f"size={4096 * pages}")
            ended = made.attempts.run(here, *words)
            if name == "ledger":
                assert "found the disk full" in ended.err or ended.code == 0
            elif ended.code:
                line = ended.complaint()
                assert "full" in line or "room" in line or "No space" in line, line
            check_after_kill(stage, made, here)
            tried[f"full disks: {name}"] += ended.code != 0
        remount("size=1g")
        check_goes_on(stage, made, here)


@pytest.mark.parametrize("name", some(ALL, [*LIGHT, "shards"]))
def test_a_read_only_folder_is_one_line(name, made, here, tried):
    stage = made.begin(name)
    words = stage.words(made.folder, here)
    with disk(here, "1g") as remount:
        remount("ro")
        ended = made.attempts.run(here, *words)
        if name == "ledger":
            assert "Read-only file system" in ended.err
        else:
            line = ended.complaint()
            assert "Read-only file system" in line and str(here) in line
        assert not list(here.iterdir())
    tried[f"read-only folders: {name}"] += 1


@pytest.mark.slow
def test_a_run_that_has_become_read_only_is_one_line(made, here, tried):
    stage = made.begin("train")
    words = stage.words(made.folder, here, again=True)
    with disk(here, "1g") as remount:
        at = made.ended["train"].events * 2 // 3
        assert made.attempts.run(here, *words, kill_at=at).killed
        remount("ro")
        line = made.attempts.run(here, *words).complaint()
        assert "Read-only file system" in line and str(here) in line
        check_after_kill(stage, made, here)
        remount("rw")
        check_goes_on(stage, made, here)
    tried["read-only folders: train"] += 1


# Vanished underfoot: of two files below the copy, when the first is opened, the second
# goes. What is then said; or None: the stage does what is written of it.

FIRST = "an image"
VANISHED = [
    ("subset", "competition/train.csv", "competition/train.csv", "train.csv"),
    ("index", "competition/train.csv", "competition/train.csv", "train.csv"),
    ("index", FIRST, FIRST, None),
    ("sheet", "here/index.broken.csv", FIRST, ".jpg"),
    ("shards", "subset/classes.csv", FIRST, None),
    ("shards", "subset/subset.csv", "subset/classes.csv", "classes.csv"),
    ("train", "shards/shards.json", "shards/train-00000.tfrecord", "make the shards"),
    ("train", "shards/subset.csv", "shards/train-00000.tfrecord", "make the shards"),
    ("train", "shards/subset.csv", "shards/classes.csv", "classes.csv"),
    ("bundle", "run/subset.csv", "run/model.weights.h5", "model.weights.h5"),
    ("bundle", "run/config.json", "run/classes.csv", "classes.csv"),
    ("bundle", "run/subset.csv", FIRST, None),
    (
        "predict",
        "competition/sample_submission.csv",
        "competition/train.csv",
        "train.csv",
    ),
    (
        "predict",
        "competition/sample_submission.csv",
        "bundle/gallery/vectors.npy",
        "vectors.npy",
    ),
    ("predict", "competition/train.csv", "a test image", None),
    (
        "predict",
        "competition/train.csv",
        "bundle/embedders/0/model/saved_model.pb",
        "model",
    ),
    ("report", "submission.csv", "run/history.csv", "history.csv"),
    ("report", "competition/solution.csv", "submission.csv", "submission.csv"),
]
QUICK = ("subset", "index", "shards")


@pytest.mark.parametrize(
    ("name", "trigger", "victim", "said"),
    [
        pytest.param(*case, marks=[] if case[0] in QUICK else pytest.mark.slow)
        for case in VANISHED
    ],
)
def test_a_file_that_vanishes_underfoot(
    name, trigger, victim, said, made, tmp_path, tried
):
    stage = made.begin(name)
    copy, here = tmp_path / "copy", tmp_path / "copy" / "here"
    linked(made.folder, copy)
    for out in stage.outs:
        gone = copy / out
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    here.mkdir()
    members = (
        tables.read_subset(made.folder / "subset" / "subset.csv")
        if (made.folder / "subset").exists()
        else []
    )
    train = next((m.image_id for m in members if m.split == "train"), None)
    images = {
        FIRST: next((copy / "competition" / "train").rglob(f"{train or '*'}.jpg")),
        "a test image": next((copy / "competition" / "test").rglob("*.jpg")),
    }
    paths = [str(images.get(p, copy / p)) for p in (trigger, victim)]
    ended = made.attempts.run(copy, *stage.words(copy, here), vanish=paths)
    assert not os.path.exists(paths[1]), "it was still there"
    if said:
        assert said in ended.complaint()
        check_after_kill(stage, made, here)
    else:
        assert ended.code == 0, ended.err
        check_skipped(stage, made, here, paths[1])
    tried[f"vanished files: {name}"] += 1


def check_skipped(stage, made, here, victim):
    """What is documented of an image that is not there, and all else as ever."""
    out = here / stage.outs[0]
    gone = os.path.basename(victim).removesuffix(".jpg")
    whole = made.whole[stage.name][stage.outs[0]]
    if stage.name == "index":
        lines = whole["index.csv"].decode().splitlines()
        kept = [line for line in lines if not line.startswith(gone)]
        assert out.read_text().splitlines() == kept and len(kept) == len(lines) - 1
        assert f"{gone},no file" in (here / "index.broken.csv").read_text()
    elif stage.name == "shards":
        manifest = json.loads((out / "shards.json").read_text())
        assert manifest["broken"] == [gone]
        n_images = sum(json.loads(whole["shards.json"])["counts"].values())
        assert sum(manifest["counts"].values()) == n_images - 1
    elif stage.name == "bundle":
        assert gone not in (out / "gallery" / "gallery.csv").read_text()
        lines = whole["gallery/gallery.csv"].decode().splitlines()
        now = (out / "gallery" / "gallery.csv").read_text().splitlines()
        assert now == [line for line in lines if gone not in line]
    elif stage.name == "predict":
        found = tables.read_submission(out)
        assert [i for i, guess in found.items() if guess is None] == [gone]


# Two at once.


@pytest.mark.parametrize(
    ("name", "n"),
    [
        *((name, 1) for name in LIGHT),
        *(
            pytest.param(name, 1, marks=pytest.mark.extended)
            for name in ("shards", "bundle", "predict")
        ),
        *(pytest.param(name, 10, marks=pytest.mark.slow) for name in ALL),
    ],
)
def test_two_at_once(name, n, made, tmp_path, tried):
    """Both end well, or one says that the other is at work; the result is whole."""
    stage = made.begin(name)
    rng = random.Random(n)
    for i in range(n):
        here = tmp_path / f"{i}"
        here.mkdir()
        words = stage.words(made.folder, here)
        others = [w if w != "a" else "b" for w in words] if name == "ledger" else words
        pair = [made.attempts.start(here, *words)]
        time.sleep(rng.choice([0, 0, 0.7]) * rng.random() * made.ended[name].seconds)
        pair.append(made.attempts.start(here, *others))
        ended = [attempt.end() for attempt in pair]
        assert 0 in [e.code for e in ended], [e.err for e in ended]
        for e in ended:
            if e.code:
                line = e.complaint()
                assert "found one at work" in line or "found a run" in line, line
        if name == "ledger":
            refs = {row.ref for row in ledger.read_ledger(here / "ledger.csv")}
            assert refs == {f"{x}{i}" for x in "ab" for i in range(N_ROWS)}
        else:
            stage.check_whole(here, made.whole[name])
        tried[f"pairs at once: {name}"] += 1


@pytest.mark.extended
def test_two_trainings_that_go_on_with_one_run(made, here, tried):
    """The second is refused while the first is at work, and neither spoils the other."""
    stage = made.begin("train")
    words = stage.words(made.folder, here, again=True)
    at = made.ended["train"].events * 2 // 3
    assert made.attempts.run(here, *words, kill_at=at).killed
    pair = [made.attempts.start(here, *words) for _ in range(2)]
    ended = [attempt.end() for attempt in pair]
    assert sorted(e.code for e in ended) == [0, 1], [e.err for e in ended]
    (refused,) = [e for e in ended if e.code]
    assert "found one at work" in refused.complaint()
    stage.check_whole(here, made.whole["train"])
    tried["pairs at once: train"] += 1
