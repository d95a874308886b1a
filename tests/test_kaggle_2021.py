"""The competition as Kaggle has it: every image of ``train/`` is in ``train.csv``.

Images without a landmark come from a stand-in of the public test set. Everything is a
command, from ``download`` to ``submission.csv``; the network is the tests' tiny one.
"""

import json
import shutil

import numpy as np
import pytest

from kaggle_kit.cli import main
from kaggle_kit.data.index import image_ids
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.demo.pictures import draw_non_landmark
from kaggle_kit.metrics.score import score
from kaggle_kit.storage import tables
from tests.helpers.public_mirror import public_mirror
from tests.helpers.small_competition import image_name

N_OTHERS, N_WITH_LANDMARK = 24, 4  # images of the public test set
POOLS = {"penalty": 12, "validation": 6, "test": 4}
SMALL = [
    *("model.backbone=tiny", "model.batch_norm_momentum=0.5", "model.embedding=64"),
    *("model.sampled_classes=null", "subset.n_landmarks=null", "data.image_size=32"),
    *("subset.validation_share=0.2", "data.stored_size=36", "train.stages=[]"),
    *("train.epochs=4", "train.batch_size=16", "train.mixed_precision=false"),
    *("recognition.whiten=16", "recognition.batch_size=8"),
    *(f"subset.non_landmarks.{name}={n}" for name, n in POOLS.items()),
]


def command(capsys, *arguments):
    """The exit code, the JSON on stdout, and stderr of a command."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


@pytest.fixture(scope="module")
def kaggle(competition, tmp_path_factory):
    """A competition whose table lists all that is in ``train/``."""
    root = tmp_path_factory.mktemp("kaggle") / "data"
    shutil.copytree(competition, root)
    labels = tables.read_labels(root / "train.csv")
    listed = {label.image_id for label in labels}
    for image_id in set(image_ids(root / "train")) - listed:
        image_path(root / "train", image_id).unlink()
    assert set(image_ids(root / "train")) == listed
    return Competition(root)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """The public test set in two tars: 24 images without a landmark, and 4 with one."""
    folder = tmp_path_factory.mktemp("public")
    names, rows = [], []
    for i in range(N_OTHERS + N_WITH_LANDMARK):
        name = f"{i + 1:016x}"[::-1]
        path = folder / f"{name}.jpg"
        draw_non_landmark(np.random.default_rng(i)).save(path)
        names.append((image_name(name).removeprefix("train/"), path.read_bytes()))
        rows.append(f"{name},{'7 9' if i % 7 == 3 else ''},Public")
    with public_mirror() as server:
        server.add_solution(rows)
        half = len(names) // 2
        for number, members in enumerate((names[:half], names[half:])):
            server.add_tar(number, members, part="test")
        yield server.url


def test_without_its_non_landmarks_the_run_stops_and_says_how_to_get_them(
    kaggle, tmp_path, capsys
):
    config = ("--config", "kaggle_2021.yaml", "--set", *SMALL)
    code, out, err = command(
        capsys,
        *("run", *config),
        *("--competition", kaggle.root, "--out", tmp_path / "out"),
    )
    assert (code, out) == (1, None)
    (line,) = [line for line in err.splitlines() if "expected" in line]
    assert line.endswith(
        "get them with kaggle-kit download --part test --without-landmark 5000 --resize "
        f"512 --out {kaggle.root}"
    )
    assert not (tmp_path / "out" / "run").exists()


def test_from_download_to_a_submission_with_penalties(kaggle, mirror, tmp_path, capsys):
    """Three disjoint pools, penalties on, tuned at the stated share; and their worth."""
    code, _, err = command(
        capsys,
        *("download", "--part", "test", "--tars", "0-1", "--without-landmark", 24),
        *("--url", mirror, "--out", kaggle.root),
    )
    assert code == 0, err
    assert len(list(image_ids(kaggle.public_test_dir))) == N_OTHERS
    out = tmp_path / "out"
    code, result, err = command(
        capsys,
        *("run", "--config", "kaggle_2021.yaml", "--set", *SMALL),
        *("--competition", kaggle.root, "--out", out),
    )
    assert code == 0, err
    members = tables.read_subset(out / "run" / "subset.csv")
    pools = {
        name: {m.image_id for m in members if m.split == name and m.landmark_id is None}
        for name in POOLS
    }
    assert {name: len(ids) for name, ids in pools.items()} == POOLS
    assert len(set.union(*pools.values())) == sum(POOLS.values())
    solution = tables.read_solution(kaggle.public_solution_csv)
    assert all(not solution[i].landmark_ids for ids in pools.values() for i in ids)
    made = result["bundle"]
    assert made["pools"]["source"] == "gldv2_test"
    assert made["non_landmarks"] == POOLS["penalty"]
    assert made["chosen"]["tune_share"] == 0.1
    assert made["chosen"]["query_penalty_weight"] > 0
    notice = (out / "bundle" / "NOTICE.md").read_text()
    assert "of the public test set, without a landmark in its solution" in notice
    without = predict_without_pools(kaggle, out, capsys)
    assert result["gap"] > without


def predict_without_pools(kaggle, out, capsys):
    """The GAP of the same run, bundled without a source of non-landmarks."""
    changes = ("subset.non_landmarks.source=none", "recognition.tune_share=null")
    place = ("--competition", kaggle.root)
    code, made, err = command(
        capsys,
        *("bundle", "--run", out / "run", "--set", *changes),
        *(*place, "--out", out / "plain"),
    )
    assert code == 0, err
    assert made["pools"]["origin"] == "no non-landmark images: penalties off"
    submission = out / "plain.csv"
    code, _, err = command(
        capsys,
        *("predict", "--bundle", out / "plain", *place, "--out", submission),
    )
    assert code == 0, err
    return score(submission, kaggle.solution_csv).gap
