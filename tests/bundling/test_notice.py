"""The gallery's authors are named where they are known, and nobody else."""

import pandas as pd
import pytest

from kaggle_kit.bundling import notice
from kaggle_kit.bundling.notice import licence_text, write_notice
from kaggle_kit.errors import TableError
from kaggle_kit.storage.csv_files import write_rows

IDS = [f"{n:016x}" for n in range(5)]


@pytest.fixture
def part(tmp_path):
    (tmp_path / "part" / "gallery").mkdir(parents=True)
    rows = [(image_id, 7) for image_id in IDS]
    write_rows(
        tmp_path / "part" / "gallery" / "gallery.csv", ("id", "landmark_id"), rows
    )
    return tmp_path / "part"


def attribute(folder, ids, columns=notice.COLUMNS):
    """A table of authors, with what trips a reader: commas, quotes, breaks, "NA"."""
    values = {
        "id": list(ids),
        "url": [f"https://upload.example/{i}.jpg" for i in ids],
        "author": ["NA", 'Jane "J" Doe, Zürich', "", *["x"] * 100][: len(ids)],
        "license": ["https://creativecommons.org/licenses/by/2.0"] * len(ids),
        "title": [f"File:Tower\n{i}" for i in ids],
        "more": ["?"] * len(ids),
    }
    table = pd.DataFrame(values)[[*columns]]
    table.to_csv(folder / notice.SOURCE, index=False)
    return table


def test_authors_of_the_gallery_are_listed_and_no_others(part, tmp_path, monkeypatch):
    monkeypatch.setattr(notice, "CHUNK", 3)  # so that there are several
    others = [f"f{n:015x}" for n in range(9)]
    ids = [IDS[3], *others[:4], IDS[0], *others[4:], IDS[4]]
    table = attribute(tmp_path, ids, ("title", *notice.COLUMNS[:-1], "more"))
    assert write_notice(part, tmp_path) == 3
    found = pd.read_csv(part / "attribution.csv", dtype=str, keep_default_na=False)
    expected = table[table["id"].isin(IDS)][list(notice.COLUMNS)]
    assert list(found.columns) == list(notice.COLUMNS)
    assert found.to_numpy().tolist() == expected.to_numpy().tolist()
    assert "3 of the 5 gallery images" in (part / "NOTICE.md").read_text()


@pytest.mark.parametrize("ids", [None, ["f" * 16]])
def test_without_known_authors_there_is_a_notice_alone(part, tmp_path, ids):
    if ids:
        attribute(tmp_path, ids)
    assert write_notice(part, tmp_path) == 0
    assert sorted(p.name for p in part.iterdir()) == ["NOTICE.md", "gallery"]
    text = (part / "NOTICE.md").read_text()
    assert "arXiv:2004.01804" in text and "train_attribution.csv" in text


@pytest.mark.parametrize(
    "content", ["id,url\na,b\n", "", 'id,url,author,license,title\n"a']
)
def test_another_table_is_refused_in_one_line(part, tmp_path, content):
    (tmp_path / notice.SOURCE).write_text(content)
    with pytest.raises(
        TableError, match=r"train_attribution\.csv: expected a CSV"
    ) as e:
        write_notice(part, tmp_path)
    assert "\n" not in str(e.value)


def test_the_licence_is_the_kits():
    assert licence_text().lstrip().startswith("Apache License")
