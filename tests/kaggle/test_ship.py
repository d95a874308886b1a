"""All commands from an empty folder to the ledger, with the real client and kernel."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kaggle_kit import cli
from kaggle_kit.kaggle import ledger
from kaggle_kit.metrics.score import score
from kaggle_kit.storage import tables
from tests.helpers.kaggle_names import DATASET, KERNEL, SLUG

CONFIG = f"""extends: {Path(__file__).parents[2] / "configs" / "demo.yaml"}
name: tiny
data: {{image_size: 32, stored_size: 36}}
model: {{backbone: tiny}}
subset: {{non_landmarks: {{penalty: 0, validation: 0}}}}
train: {{epochs: 1, batch_size: 16}}
recognition: {{batch_size: 8}}
"""


def kit(capsys, *argv: object) -> dict:
    """Run a command of the kit; what it prints."""
    capsys.readouterr()
    code = cli.main(list(map(str, argv)))
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


def run_kernel(folder: Path):
    """Run a pushed kernel with the uploaded files mounted as Kaggle does."""

    def run(version):
        for source, files in version["inputs"].items():
            kind = "datasets" if "/" in source else "competitions"
            for name, data in files.items():
                path = folder / "input" / kind / source / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        working = folder / "working"
        working.mkdir()
        (folder / "kernel.py").write_text(version["source"])
        done = subprocess.run(
            [sys.executable, "-B", str(folder / "kernel.py")],
            cwd=working,
            env={
                "PATH": os.environ["PATH"],
                "KAGGLE_KIT_INPUT": str(folder / "input"),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        files = {p.name: p.read_bytes() for p in working.iterdir() if p.is_file()}
        ending = "COMPLETE" if done.returncode == 0 else "ERROR"
        return files, done.stdout.decode(), ending

    return run


@pytest.fixture
def real(kaggle, competition, tmp_path):
    """The stand-in holds the drawn competition, scores by GAP and runs kernels."""
    solution = competition / "solution.csv"
    files = {
        path.relative_to(competition).as_posix(): path.read_bytes()
        for path in competition.rglob("*")
        if path.is_file() and path != solution
    }

    def scored(content: bytes) -> tuple[str, str]:
        path = tmp_path / "scored.csv"
        path.write_bytes(content)
        value = f"{score(path, solution).gap:.5f}"
        return value, value

    kaggle.add_competition(SLUG, files, code=True, solution_scores=scored)
    kaggle.on_push = run_kernel(tmp_path / "session")
    return kaggle


@pytest.mark.extended
def test_from_an_empty_folder_to_the_ledger(real, capsys, tmp_path):
    used: Counter = Counter()

    def needed(*argv: object) -> tuple[dict, Counter]:
        """Run a command; return its result, and its calls by name."""
        before = len(real.calls)
        result = kit(capsys, *argv)
        names = [name.split("/")[0].strip() for name in real.names()[before:]]
        used.update(names)
        return result, Counter(names)

    checks, calls = needed("doctor")
    assert checks["ok"]
    assert set(calls) == {
        "ListDataFiles",
        "GetSubmissionLimits",
        "GetAcceleratorQuotaStatistics",
    }

    images = ("download", "--slug", SLUG, "--out", "root")
    _, calls = needed(*images, "--tables")
    assert calls == {"DownloadDataFile": 2, "storage GET": 2}
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    given = ("--config", "tiny.yaml", "--competition", "root")
    kit(capsys, "subset", *given, "--out", "subset")
    members = tables.read_subset(Path("subset/subset.csv"))
    fetched, calls = needed(*images, "--subset", "subset")
    assert calls == {"DownloadDataFile": len(members), "storage GET": len(members)}
    found = {path.stem for path in Path("root/train").rglob("*.jpg")}
    assert found == {member.image_id for member in members}
    assert fetched["fetched"] == len(members)

    kit(capsys, "shards", *given, "--subset", "subset", "--out", "shards")
    kit(capsys, "train", "--config", "tiny.yaml", "--shards", "shards", "--run", "run")
    made = ("bundle", "--run", "run", "--competition", "root", "--out", "bundle")
    kit(capsys, *made, "--handle", DATASET, "--max-mb", "400")

    published, calls = needed("publish", "--bundle", "bundle")
    assert published == {"dataset": DATASET, "version": 1, "changed": True}
    uploads = (
        len([p for p in Path("bundle").iterdir()]) - 1
    )  # not dataset-metadata.json
    assert calls["storage PUT"] == calls["StartBlobUpload"] == uploads
    assert calls["CreateDataset"] == 1
    assert set(calls) <= {
        *("GetDatasetStatus", "GetDataset", "StartBlobUpload", "storage PUT"),
        *("CreateDataset", "ListDatasetFiles"),
    }

    ran, calls = needed("push", "--dataset", DATASET)
    assert (ran["kernel"], ran["version"]) == (KERNEL, 1)
    assert calls["SaveKernel"] == calls["ListKernelSessionOutput"] == 1
    assert set(calls) == {
        *("SaveKernel", "GetKernelSessionStatus", "ListKernelSessionOutput"),
        *("storage GET", "DownloadDataFile", "GetDatasetMetadata", "DownloadDataset"),
    }
    path = Path(ran["folder"], "submission.csv")
    sample = tables.read_sample(Path("root/sample_submission.csv"))
    assert [row["id"] for row in csv.DictReader(path.open())] == sample

    given = ("submit", "--slug", SLUG, "--kernel", KERNEL, "--version", "1")
    done, calls = needed(*given, "--message", "the whole way")
    assert done["submitted"]
    assert calls["CreateCodeSubmission"] == 1
    assert set(calls) == {
        *("ListSubmissions", "GetSubmissionLimits", "CreateCodeSubmission"),
    }
    (row,) = ledger.read_ledger()
    assert (row.config, row.kernel, row.version) == ("tiny", KERNEL, "1")
    assert row.public == row.private == done["public"]
    assert 0 <= float(row.public) <= 1
    manifest = json.loads(Path("bundle/kit-manifest.json").read_text())
    assert float(row.local_gap) == pytest.approx(
        manifest["validation"]["gap"], abs=1e-5
    )
    shown, _ = needed("submissions", "--slug", SLUG)
    assert [s["run"] for s in shown["submissions"]] == ["landmark-inference-v1"]
    assert not real.leaks
    assert not real.strays
    no_key(real.key, tmp_path)


def no_key(key: str, folder: Path) -> None:
    """The key is only in the client's own files."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_relative_to(folder / "home"):
            assert key.encode() not in path.read_bytes(), path
