"""Files with image ids."""

import pytest

from kaggle_kit.download.selection import read_image_ids, read_selection
from kaggle_kit.errors import TableError

A, B = "0108dac4511cf183", "1234e56789012345"


@pytest.mark.parametrize(
    "text",
    [
        f"{A}\n{B}\n",
        f"\n{A}\n\n {B} \n{A}\n",
        f"id\n{A}\n{B}\n",
        f"\ufefflandmark_id,id\n7,{A}\n8,{B}\n9,{B}\n",
        f"id,landmarks\r\n{A},7 0.5\r\n{B},\r\n",
    ],
)
def test_ids_are_read_from_a_table_or_a_list(tmp_path, text):
    path = tmp_path / "ids"
    path.write_bytes(text.encode())
    assert read_image_ids(path) == [A, B]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "found none"),
        (b"id\n", "found none"),
        (f"{A}\n../../etc/passwd\n".encode(), "row 2: expected an image id"),
        (f"image,landmark\n{A},7\n".encode(), "give the file a column id"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
    ],
)
def test_a_malformed_list_is_refused(tmp_path, content, expected):
    path = tmp_path / "ids"
    path.write_bytes(content)
    with pytest.raises(TableError, match=expected):
        read_image_ids(path)


def test_non_landmarks_of_a_subset_need_not_be_in_the_tables(tmp_path):
    (tmp_path / "subset.csv").write_text(
        f"id,landmark_id,split\n{A},7,train\n{B},,test\n"
    )
    selection = read_selection(tmp_path, None)
    assert (selection.ids, selection.required) == ([A, B], [A])
