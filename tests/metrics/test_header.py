"""A submission has the very header of the sample, wherever it is read before it is sent."""

import json

import pytest

from kaggle_kit.cli import main
from kaggle_kit.errors import TableError
from kaggle_kit.metrics.score import gap_of_sample, score, validate
from kaggle_kit.report.page import report
from kaggle_kit.storage import tables
from tests.helpers.bad_headers import bad_headers

IDS = ["0108dac4511cf183", "023f609c43d30781", "02640e14a85f1315"]
GOOD = "id,landmarks\n" + "".join(f"{i},7 0.{n + 1}\n" for n, i in enumerate(IDS))
SOLUTION = "id,landmarks\n" + "".join(f"{i},7\n" for i in IDS)
BAD = bad_headers(GOOD)
ADVICE = {
    "pandas' index": "index=False",
    "Unnamed: 0": "index=False",
    "one more column": "delete the column 'score'",
    "swapped columns": "in this order",
    "a byte-order mark": "without a byte-order mark",
    "quoted names": "without quotes",
}


@pytest.fixture
def files(tmp_path):
    """A sample, its solution, and the path of a submission."""
    (tmp_path / "sample_submission.csv").write_text(GOOD)
    (tmp_path / "solution.csv").write_text(SOLUTION)
    return (
        tmp_path / "submission.csv",
        tmp_path / "sample_submission.csv",
        tmp_path / "solution.csv",
    )


@pytest.mark.parametrize("name", BAD)
def test_another_header_is_refused_in_one_line(name, files, tmp_path, capsys):
    submission, sample, solution = files
    submission.write_bytes(BAD[name])
    assert main(["validate", str(submission), "--sample", str(sample)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert f"{submission}: row 1: expected the header id,landmarks, got '" in said.err
    assert ADVICE.get(name, "; ") in said.err
    with pytest.raises(TableError, match="row 1: expected the header"):
        score(submission, solution)
    with pytest.raises(TableError, match="row 1: expected the header"):
        report(tmp_path, submission, solution, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_other_line_ends_and_quoted_cells_are_those_of_csv(end, files, capsys):
    submission, sample, _ = files
    lines = ["id,landmarks", *(f'"{i}","7 0.5"' for i in IDS)]
    submission.write_bytes(end.join(lines).encode())
    assert main(["validate", str(submission), "--sample", str(sample)]) == 0
    assert json.loads(capsys.readouterr().out)["n_guesses"] == 3


@pytest.mark.parametrize(
    "row", [f" {IDS[0]},7 0.1", f"{IDS[0]} ,7 0.1", f"{IDS[0]}, 7 0.1", "  "]
)
def test_spaces_beside_an_id_or_before_a_guess_are_part_of_it(row, files):
    submission, sample, solution = files
    submission.write_text(GOOD.replace(f"{IDS[0]},7 0.1", row))
    for read in (validate, lambda *paths: score(paths[0], solution)):
        with pytest.raises(TableError):
            read(submission, sample)


def test_a_sample_that_was_saved_again_names_the_same_columns(files):
    """What is written for it has the plain header; its own GAP is there too."""
    submission, sample, solution = files
    sample.write_bytes(BAD["a byte-order mark"])
    submission.write_text(GOOD)
    assert validate(submission, sample).valid
    assert gap_of_sample(sample, solution) == score(submission, solution).gap == 1


@pytest.mark.parametrize(
    "name", ["one more column", "swapped columns", "pandas' index"]
)
def test_a_sample_of_other_columns_is_refused_before_a_guess_is_made(name, files):
    """What is written for it would not have its header."""
    _, sample, _ = files
    sample.write_bytes(BAD[name])
    with pytest.raises(TableError, match="take the competition's sample_submission"):
        tables.read_sample(sample)


def test_what_the_kit_writes_has_that_header(files):
    submission, sample, _ = files
    tables.write_submission(submission, IDS, {})
    assert submission.read_bytes().startswith(b"id,landmarks\n")
    assert validate(submission, sample).n_images == 3
