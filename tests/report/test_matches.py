"""The picture of matched points."""

import numpy as np
import pytest
from PIL import Image

from kaggle_kit.errors import DataError
from kaggle_kit.report.matches import LINE, draw_matches, match


def test_the_picture_shows_both_images_and_lines_between_points():
    a = np.full((40, 60, 3), 10, np.uint8)
    b = np.full((80, 50, 3), 200, np.uint8)
    start, end = np.array([[20, 20]], np.float32), np.array([[30, 20]], np.float32)
    picture = draw_matches(a, b, start, end, 512)
    assert picture.shape == (80, 110, 3)
    assert (picture[20, 20:91] == LINE).all()
    assert (picture[:12, :60] == 10).all()
    assert (picture[41:, :60] == 255).all()
    assert (picture[41:, 60:] == 200).all()
    untouched = draw_matches(a, b, start[:0], end[:0], 512)
    assert (untouched[:40, :60] == a).all()


def test_the_picture_scales_points_back_to_an_image_that_was_shrunk():
    a = np.zeros((400, 200, 3), np.uint8)
    b = np.zeros((100, 100, 3), np.uint8)
    point = np.array([[25, 50]], np.float32)  # of 100 x 50, a quarter of the image
    picture = draw_matches(a, b, point, point, 100)
    line = (picture == LINE).all(axis=2)
    assert line[202, 102]  # 101.5: the middle of pixel (25, 50), four times as large
    assert line[50, 225]
    assert not line[:, :95].any()


def test_an_image_matches_itself_shrunk(competition, tmp_path):
    paths = sorted((competition / "test").rglob("*.jpg"))
    best = 0.0
    for path in paths[:6]:
        with Image.open(path) as image:
            image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(
                tmp_path / "small.png"
            )
        found = match(path, tmp_path / "small.png", tmp_path / "out.png")
        best = max(best, found.inliers)
        with Image.open(tmp_path / "out.png") as picture:
            assert picture.width > Image.open(path).width
    assert best > 3


def test_a_file_that_is_no_image_is_named_and_nothing_is_left(tmp_path):
    (tmp_path / "notes.jpg").write_text("not an image")
    with pytest.raises(DataError, match=r"notes\.jpg: expected an image"):
        match(tmp_path / "notes.jpg", tmp_path / "notes.jpg", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()
