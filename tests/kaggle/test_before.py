"""Everything that can be checked before sending is checked, and a fault sends nothing."""

import json
import shutil
from pathlib import Path

import pytest

from kaggle_kit.errors import ArtefactError, IncompleteError, KitError, TableError
from kaggle_kit.kaggle import checks, ledger
from kaggle_kit.kaggle.checks import check_text, check_writable
from kaggle_kit.kaggle.dataset import publish
from kaggle_kit.kaggle.kernel import push
from kaggle_kit.kaggle.kernel_run import read_kernel_run
from kaggle_kit.kaggle.ship import plan_ship, ship
from kaggle_kit.kaggle.submissions import submissions
from kaggle_kit.kaggle.submit import plan_submit, submit
from kaggle_kit.storage.csv_files import require_header
from kaggle_kit.storage.json_files import to_json
from kaggle_kit.storage.manifest import MANIFEST
from tests.helpers.bad_headers import bad_headers
from tests.helpers.kaggle_names import DATASET, KERNEL, SLUG, SUBMISSION, files_of

OUTPUT = Path("submissions/landmark-inference-v1")
# A table that an earlier version of the repository had instead of the ledger.
OLD = "date,run,config,commit,local_gap,public_gap,private_gap\n"
STRANGE = {
    "line": "two\nlines",
    "return": "a\rb",
    "nul": "a\0b",
    "separator": "a\u2028b",
    "undecoded": "a\udcffb",
}


def old_ledger(kernel: Path) -> None:
    write(ledger.LEDGER, OLD)


def ledger_folder(kernel: Path) -> None:
    ledger.LEDGER.mkdir(parents=True)


def file_for_folder(kernel: Path) -> None:
    write(Path("submissions"), "")


def link_to_nothing(kernel: Path) -> None:
    Path("submissions").symlink_to("gone")


def damaged_output(kernel: Path) -> None:
    write(OUTPUT / "push.json", "{")


def list_for_output(kernel: Path) -> None:
    write(OUTPUT / "push.json", "[1]")


def text_for_gap(kernel: Path) -> None:
    write(OUTPUT / "push.json", '{"local_gap": "good"}')


def undecoded_config(kernel: Path) -> None:
    write(OUTPUT / "push.json", r'{"config": "\ud800"}')


def output_of_another(kernel: Path) -> None:
    write(OUTPUT / "push.json", '{"kernel": "ada/landmark-inference", "version": 1}')


def other_files(kernel: Path) -> None:
    write(OUTPUT / "thesis.txt", "mine")


def damaged_state(kernel: Path) -> None:
    write(Path("submissions/ship.json"), "{")


def list_for_state(kernel: Path) -> None:
    write(Path("submissions/ship.json"), "[]")


def damaged_metadata(kernel: Path) -> None:
    write(kernel / "kernel-metadata.json", "{")


def list_for_metadata(kernel: Path) -> None:
    write(kernel / "kernel-metadata.json", "[]")


def no_metadata(kernel: Path) -> None:
    (kernel / "kernel-metadata.json").unlink()


def number_for_id(kernel: Path) -> None:
    change(kernel, {"id": 7})


def text_for_sources(kernel: Path) -> None:
    change(kernel, {"competition_sources": SLUG})


def no_competition(kernel: Path) -> None:
    change(kernel, {"competition_sources": []})


def code_elsewhere(kernel: Path) -> None:
    write(kernel.parent / "code.py", "")
    change(kernel, {"code_file": "../code.py"})


def no_code(kernel: Path) -> None:
    (kernel / "landmark-inference.py").unlink()


def broken_code(kernel: Path) -> None:
    write(kernel / "landmark-inference.py", "def f(:\n")


def undecodable_code(kernel: Path) -> None:
    (kernel / "landmark-inference.py").write_bytes(b"x = '\xff'\n")


LEDGERS = [old_ledger, ledger_folder, file_for_folder, link_to_nothing]
OUTPUTS = [
    *(damaged_output, list_for_output, text_for_gap, undecoded_config),
    output_of_another,
]
FOLDERS = [file_for_folder, link_to_nothing, other_files, *OUTPUTS]
STATES = [damaged_state, list_for_state]
KERNELS = [
    *(damaged_metadata, list_for_metadata, no_metadata, number_for_id),
    *(text_for_sources, no_competition, code_elsewhere),
    *(no_code, broken_code, undecodable_code),
]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def change(kernel: Path, values: dict) -> None:
    path = kernel / "kernel-metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def unique(*groups: list) -> list:
    return list(dict.fromkeys(fault for group in groups for fault in group))


@pytest.mark.parametrize("function", [ship, plan_ship])
@pytest.mark.parametrize("fault", unique(LEDGERS, FOLDERS, STATES, KERNELS))
def test_ship_sends_nothing(fault, function, kaggle, small_bundle, kernel_dir):
    fault(kernel_dir)
    with pytest.raises(KitError):
        function(small_bundle, kernel_dir, SLUG, "m")
    assert not kaggle.calls


@pytest.mark.parametrize("fault", unique(FOLDERS, KERNELS))
def test_push_sends_nothing(fault, kaggle, kernel_dir):
    fault(kernel_dir)
    with pytest.raises(KitError):
        push(kernel_dir, dataset=DATASET)
    assert not kaggle.calls


@pytest.mark.parametrize("function", [submit, plan_submit])
@pytest.mark.parametrize("fault", unique(LEDGERS, OUTPUTS))
def test_submit_sends_nothing(fault, function, kaggle, kernel_dir):
    fault(kernel_dir)
    with pytest.raises(KitError):
        function(SLUG, "m", KERNEL, 1)
    assert not kaggle.calls


@pytest.mark.parametrize(
    "text", [*STRANGE.values(), "a" * 2000], ids=[*STRANGE, "long"]
)
def test_a_text_that_kaggle_or_the_ledger_would_change_sends_nothing(
    text, kaggle, small_bundle, kernel_dir, tmp_path
):
    (tmp_path / "submission.csv").write_text(SUBMISSION)
    for send in (
        lambda: publish(small_bundle, text),
        lambda: submit(SLUG, text, KERNEL, 1),
        lambda: submit(SLUG, text, file=tmp_path / "submission.csv"),
        lambda: ship(small_bundle, kernel_dir, SLUG, text),
    ):
        with pytest.raises(KitError) as caught:
            send()
        assert len(str(caught.value)) < 200
    assert not kaggle.calls


def test_a_text_of_any_language_may_be_sent():
    check_text("text", 'GAP\u00a0: 0,5 — Größe, 地標, 👩\u200d🔬 \'a, "b"')
    check_text("text", "")


@pytest.mark.parametrize(
    "content", [b"", b"id,landmarks\n", b"\xff\xfe", b"id,landmarks\na,1 0.5,x\n"]
)
def test_a_file_without_rows_sends_nothing(content, kaggle, tmp_path):
    (tmp_path / "submission.csv").write_bytes(content)
    with pytest.raises(TableError):
        submit("another-competition", "m", file=tmp_path / "submission.csv")
    assert not kaggle.calls


@pytest.mark.parametrize(
    ("sample", "content"),
    [
        (SUBMISSION, SUBMISSION.replace("ac,", "ad,")),
        (SUBMISSION, SUBMISSION.replace(" 0.", " x")),
        ("row,value\n1,0\n", "row,volume\n1,0\n"),
    ],
    ids=["ids", "cells", "columns"],
)
def test_a_file_unlike_the_sample_is_not_submitted(kaggle, tmp_path, sample, content):
    files = {"sample_submission.csv": sample.encode()}
    kaggle.add_competition("another-competition", files)
    (tmp_path / "submission.csv").write_text(content)
    with pytest.raises(TableError):
        submit("another-competition", "m", file=tmp_path / "submission.csv")
    assert not kaggle.submissions


def test_a_file_like_the_sample_of_another_competition_is_submitted(kaggle, tmp_path):
    files = {"sample_submission.csv": b"row,value\n1,0\n"}
    kaggle.add_competition("another-competition", files)
    (tmp_path / "submission.csv").write_text("row,value\n1,2\n")
    submit("another-competition", "m", file=tmp_path / "submission.csv")
    assert len(kaggle.submissions) == 1


@pytest.mark.parametrize(
    ("header", "fits"),
    [
        *[(b'"row","value, kg"', True), (b'row,"value, kg"', True)],
        *[(b'"value, kg",row', False), (b'\xef\xbb\xbfrow,"value, kg"', False)],
        *[(b',row,"value, kg"', False), (b'row,"value, kg",x', False)],
        *[(b'ROW,"value, kg"', False), (b'row, "value, kg"', False)],
    ],
)
def test_its_header_is_the_samples_or_that_without_needless_quotes(
    header, fits, tmp_path
):
    sample = tmp_path / "sample.csv"
    sample.write_bytes(b'"row","value, kg"\r\n1,0\r\n')
    (tmp_path / "submission.csv").write_bytes(header + b"\n1,2\n")
    try:
        require_header(tmp_path / "submission.csv", sample)
        assert fits
    except TableError as error:
        assert not fits and "row 1: expected the header row," in str(error)


def test_a_file_with_another_header_is_not_submitted(kaggle, tmp_path):
    kaggle.add_competition(
        "another-competition", {"sample_submission.csv": SUBMISSION.encode()}
    )
    content = bad_headers(SUBMISSION)["pandas' index"]
    (tmp_path / "submission.csv").write_bytes(content)
    with pytest.raises(TableError, match="index=False"):
        submit("another-competition", "m", file=tmp_path / "submission.csv")
    assert not kaggle.submissions


def test_a_bundle_without_a_manifest_sends_nothing(kaggle, small_bundle, kernel_dir):
    (small_bundle / MANIFEST).unlink()
    with pytest.raises(ArtefactError):
        ship(small_bundle, kernel_dir, SLUG, "m")
    assert not kaggle.calls


def test_a_full_disk_sends_nothing(kaggle, small_bundle, kernel_dir, monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(
        checks.shutil, "disk_usage", lambda path: usage._replace(free=63_000_000)
    )
    for send in (
        lambda: submit(SLUG, "m", KERNEL, 1),
        lambda: push(kernel_dir, dataset=DATASET),
        lambda: ship(small_bundle, kernel_dir, SLUG, "m"),
    ):
        with pytest.raises(
            ArtefactError, match="expected 64 MB of free space, got 63 MB"
        ):
            send()
    assert not kaggle.calls


def test_a_folder_is_checked_but_not_created(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ArtefactError, match="/proc: expected a writable folder"):
        check_writable(Path("/proc/submissions"))


def test_a_saved_kernel_run_is_read_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_kernel_run(KERNEL, 1) is None
    saved = {
        "kernel": KERNEL,
        "version": 1,
        "folder": str(OUTPUT),
        "valid": True,
        "n_images": 3,
        "n_guesses": 2,
        "dataset": DATASET,
        "bundle": "0123456789ab",
        "config": None,
        "commit": None,
        "local_gap": 0.5,
    }
    write(OUTPUT / "push.json", json.dumps(saved))
    assert json.dumps(to_json(read_kernel_run(KERNEL, 1))) == json.dumps(saved)


# Another ledger file.


@pytest.mark.extended
def test_the_ledger_may_be_another_file(kaggle, small_bundle, kernel_dir):
    kaggle.on_push = lambda version: (
        {"submission.csv": SUBMISSION.encode()},
        "",
        "COMPLETE",
    )
    path = Path("elsewhere") / "rows.csv"
    ship(small_bundle, kernel_dir, SLUG, "m", ledger=path)
    (row,) = ledger.read_ledger(path)
    assert not ledger.LEDGER.exists()
    (shown,) = submissions(SLUG, ledger=path)
    assert shown.ref == row.ref and shown.run == "landmark-inference-v1"
    write(Path("old.csv"), OLD)
    with pytest.raises(TableError, match=r"old\.csv: row 1: expected the columns date"):
        submit(SLUG, "again", KERNEL, 1, ledger=Path("old.csv"))
    assert submit(SLUG, "again", KERNEL, 1, ledger=path).ref == row.ref
    assert len(kaggle.submissions) == 1


# Faults that can only be seen afterwards are one line.


def test_a_session_that_is_not_json_is_one_line(kaggle, small_bundle):
    kaggle.add_dataset(DATASET, files_of(small_bundle))
    kaggle.on_push = lambda version: ({"session.json": b"{"}, "", "COMPLETE")
    kernel = Path(__file__).parents[2] / "kernels" / "training"
    with pytest.raises(IncompleteError, match=r"JSON in session\.json"):
        push(kernel, dataset=DATASET)


def test_a_dataset_with_a_damaged_manifest_does_not_lose_the_output(kaggle, kernel_dir):
    """Of a kernel of one's own, which is told nothing; for others nothing is sent."""
    (kernel_dir / "landmark-inference.py").write_text("print(1)\n")
    kaggle.add_dataset(DATASET, {MANIFEST: b"[]"})
    kaggle.on_push = lambda version: (
        {"submission.csv": SUBMISSION.encode()},
        "",
        "COMPLETE",
    )
    done = to_json(push(kernel_dir, dataset=DATASET))
    assert done["n_images"] == 3 and "bundle" not in done
