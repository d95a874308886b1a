"""The notice lists the known authors of the gallery's images, and no others."""

import json

import pandas as pd
import pytest

from kaggle_kit.bundling import notice
from kaggle_kit.bundling.notice import licence_text, read_authors, write_notice
from kaggle_kit.data.non_landmarks import (
    OFF,
    ORIGINS,
    RECORD,
    PoolCounts,
    read_record,
    write_record,
)
from kaggle_kit.errors import ArtefactError, TableError
from kaggle_kit.storage.csv_files import write_rows

POOLS = PoolCounts("unlisted", ORIGINS["unlisted"], penalty=12)
IDS = [f"{n:016x}" for n in range(5)]


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "bundle" / "gallery" / "gallery.csv"
    path.parent.mkdir(parents=True)
    write_rows(path, ("id", "landmark_id"), [(image_id, 7) for image_id in IDS])
    return tmp_path / "bundle"


def write_authors(folder, ids, columns=notice.COLUMNS):
    """Write authors that are hard to parse: with commas, quotes, line breaks and "NA"."""
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


def test_authors_of_the_gallery_are_listed_and_no_others(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(notice, "CHUNK", 3)  # several chunks
    others = [f"f{n:015x}" for n in range(9)]
    ids = [IDS[3], *others[:4], IDS[0], *others[4:], IDS[4]]
    table = write_authors(tmp_path, ids, ("title", *notice.COLUMNS[:-1], "more"))
    authors_of = read_authors(tmp_path, {*IDS, others[0]})
    assert others[0] in authors_of
    assert write_notice(bundle, authors_of, POOLS) == 3
    authors = pd.read_csv(bundle / "attribution.csv", dtype=str, keep_default_na=False)
    expected = table[table["id"].isin(IDS)][list(notice.COLUMNS)]
    assert list(authors.columns) == list(notice.COLUMNS)
    assert authors.to_numpy().tolist() == expected.to_numpy().tolist()
    assert "3 of the 5 gallery images" in (bundle / "NOTICE.md").read_text()


def test_the_notice_says_where_the_non_landmarks_come_from(bundle, tmp_path):
    write_notice(bundle, {}, POOLS)
    text = (bundle / "NOTICE.md").read_text()
    assert "vectors of 12 images without a landmark, of the folder train/" in text
    write_notice(bundle, {}, PoolCounts("none", OFF))
    assert (
        "This folder has no vectors of images without a landmark"
        in (bundle / "NOTICE.md").read_text()
    )


@pytest.mark.parametrize("ids", [None, ["f" * 16]])
def test_without_known_authors_there_is_only_a_notice(bundle, tmp_path, ids):
    if ids:
        write_authors(tmp_path, ids)
    assert write_notice(bundle, read_authors(tmp_path, IDS), POOLS) == 0
    assert sorted(p.name for p in bundle.iterdir()) == ["NOTICE.md", "gallery"]
    text = (bundle / "NOTICE.md").read_text()
    assert "arXiv:2004.01804" in text and "train_attribution.csv" in text


@pytest.mark.parametrize(
    "content", ["id,url\na,b\n", "", 'id,url,author,license,title\n"a']
)
def test_an_invalid_table_is_refused_in_one_line(tmp_path, content):
    (tmp_path / notice.SOURCE).write_text(content)
    expected = r"train_attribution\.csv: expected a CSV"
    with pytest.raises(TableError, match=expected) as error:
        read_authors(tmp_path, IDS)
    assert "\n" not in str(error.value)


def test_the_licence_is_that_of_the_kit():
    assert licence_text().lstrip().startswith("Apache License")


def test_the_notice_shows_the_record_of_a_run_as_text(bundle, tmp_path):
    """The record may be of a stranger's run."""
    evil = "![x](https://evil.example/a.png)\n\n# heading <img src=//evil.example>"
    pools = PoolCounts("listed", evil, penalty=3)
    write_notice(bundle, read_authors(tmp_path, IDS), pools)
    text = (bundle / "NOTICE.md").read_text("utf-8")
    tokens = pytest.importorskip("markdown_it").MarkdownIt("commonmark").parse(text)
    kinds = [t.type for token in tokens for t in (token.children or [token])]
    assert not {"image", "link_open", "html_inline", "html_block"} & set(kinds)
    assert kinds.count("heading_open") == 1
    write_record(pools, tmp_path)
    assert read_record(tmp_path) == pools
    (tmp_path / RECORD).write_text(json.dumps(vars(pools) | {"penalty": evil}))
    with pytest.raises(ArtefactError, match="penalty"):
        read_record(tmp_path)
