"""A name that comes out of a file never leads out of its folder."""

import json
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kaggle_kit.errors import ArtefactError
from kaggle_kit.storage.inside import check_name, require_no_link, resolve_inside
from kaggle_kit.storage.manifest import MANIFEST, read_manifest
from tests.helpers.complaints import check_complaint, steady

HOSTILE = (
    *("", ".", "..", "/", "/etc/passwd", "//host/share", "../x", "a/../../x", "a/.."),
    *("./x", "a//b", "a/./b", "a/", "C:x", "C:\\x", "..\\x", "a\\b", "~\\x"),
    *("a\x00b", "a\nb", "a\x1b[2Jb", "\x7f", "x" * 256, "a/" + "é" * 128),
)
NAMES = st.lists(
    st.sampled_from(["..", ".", "", "a", "b.txt", "/", "\\", "é", "C:", "\x00", " "]),
    max_size=6,
).map("/".join) | st.text(max_size=20)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_could_lead_out_is_refused_in_one_line(name, tmp_path):
    with pytest.raises(ValueError):
        check_name(name)
    with pytest.raises(ArtefactError) as caught:
        resolve_inside(tmp_path, name)
    check_complaint(caught.value, tmp_path)


@pytest.mark.parametrize("name", ["a", "a/b.txt", "...", "..a", "~a", "a b/ü", "-"])
def test_a_plain_name_is_its_path(name, tmp_path):
    assert check_name(name) == name
    assert resolve_inside(tmp_path, name) == tmp_path / name


@steady(300)
@given(name=NAMES)
@example(name="\ud800")
def test_any_name_stays_inside_or_is_refused(name, tmp_path_factory):
    """By the operating system's own view of the path."""
    folder = tmp_path_factory.getbasetemp() / "folder"
    folder.mkdir(exist_ok=True)
    try:
        path = resolve_inside(folder, name)
    except ArtefactError:
        return
    real = os.path.realpath(path)
    assert os.path.commonpath([real, os.path.realpath(folder)]) != real
    assert real.startswith(f"{os.path.realpath(folder)}/")


def test_links_may_not_lead_out_but_the_folder_may_be_one(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    (real / "sub").mkdir(parents=True)
    (real / "plain").write_text("x")
    (tmp_path / "secret").write_text("secret")
    link.symlink_to(real)
    (real / "out").symlink_to(tmp_path / "secret")
    (real / "up").symlink_to("..")
    (real / "in").symlink_to("plain")
    (real / "sub" / "again").symlink_to(real / "sub" / "again")
    for folder in (real, link):
        assert resolve_inside(folder, "plain").read_text() == "x"
        assert resolve_inside(folder, "in").read_text() == "x"
        require_no_link(folder, "plain")
        for name in ("out", "up/secret", "up", "sub/again"):
            with pytest.raises(ArtefactError):
                resolve_inside(folder, name)
        with pytest.raises(ArtefactError, match="got a link"):
            require_no_link(folder, "in")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_lists_no_such_name(name, tmp_path):
    files = {name: {"bytes": 1, "sha256": "0"}}
    (tmp_path / MANIFEST).write_text(json.dumps({"files": files}))
    with pytest.raises(ArtefactError) as caught:
        read_manifest(tmp_path)
    check_complaint(caught.value, tmp_path / MANIFEST)
