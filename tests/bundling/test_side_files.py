"""What a bundle takes over is read before its images are embedded."""

import shutil

import pytest

from kaggle_kit.errors import KitError


@pytest.fixture
def run(local, tmp_path):
    """A copy of a run, to be changed."""
    return shutil.copytree(local[0] / "run", tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "landmarks.csv",
            "landmark_id,name\n34474,Château\n".encode("latin-1"),
            "landmarks.csv: expected a readable CSV file in UTF-8",
        ),
        (
            "train_label_to_category.csv",
            b"landmark_id,category\nx,y\n",
            "train_label_to_category.csv: row 2",
        ),
        (
            "train_attribution.csv",
            b"id,url\n",
            "train_attribution.csv: expected a CSV file",
        ),
        (
            "landmarks.csv",
            b"landmark_id,name\n1,at /rooty/x\n",
            "names.csv: expected no",
        ),
        ("../run/environment.json", b"{", "environment.json: expected what the run"),
        ("../run/environment.json", None, "environment.json: expected what the run"),
    ],
)
def test_a_side_file_is_refused_before_the_work(
    run, rerun, tmp_path, monkeypatch, name, content, expected
):
    from kaggle_kit.bundling import build

    monkeypatch.setenv("HOME", "/rooty")
    monkeypatch.setattr(build, "_write_recogniser", None)  # the work
    if content is None:
        (rerun / name).unlink()
    else:
        (rerun / name).write_bytes(content)
    with pytest.raises(KitError, match=expected) as error:
        build.build_bundle([run], rerun, tmp_path / "bundle")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "bundle").exists()
