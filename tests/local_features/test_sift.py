"""Local features, compared with their formulas on OpenCV's SIFT, and their storage."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from kaggle_kit import config
from kaggle_kit.errors import ArtefactError
from kaggle_kit.local_features.sift import (
    NO_FEATURES,
    LocalFeatures,
    detect_features,
    root_sift,
    shrink,
)
from tests.helpers.textures import random_features, texture


def are_equal(a, b):
    return all(
        x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a, b, strict=True)
    )


def test_descriptors_are_root_sift_of_upright_points():
    grey = texture()
    features = detect_features(grey, config.Local(n_features=100))
    sift = cv2.SIFT.create(contrastThreshold=0.03)
    octave = {(*p.pt, p.size): p.octave for p in sift.detect(grey, None)}
    points = [
        cv2.KeyPoint(x, y, size, 0, 0, octave[x, y, size])
        for (x, y), size in zip(features.points.tolist(), features.sizes.tolist())
    ]
    _, raw = sift.compute(grey, points)
    for row, raw_row in zip(features.descriptors, raw, strict=True):
        total = sum(raw_row.tolist())
        expected = [min(round(512 * (x / total) ** 0.5), 255) for x in raw_row.tolist()]
        # float32 may round halves to the other side
        assert np.abs(row - np.array(expected)).max() <= 1


def test_root_sift_compares_histograms():
    """The dot product is 512 squared times the Bhattacharyya coefficient."""
    raw = np.random.default_rng(0).integers(0, 60, (2, 128)).astype(np.float32)
    a, b = root_sift(raw).astype(float)
    p, q = (raw / raw.sum(axis=1, keepdims=True)).astype(float)
    assert a @ b / 512**2 == pytest.approx(np.sqrt(p * q).sum(), abs=5e-3)


def test_a_zero_descriptor_stays_zero():
    assert not root_sift(np.zeros((2, 128), np.float32)).any()


def test_the_strongest_points_are_returned_each_once():
    grey = texture()
    every = detect_features(grey, config.Local(n_features=10_000))
    few = detect_features(grey, config.Local(n_features=20))
    assert len(few.points) == 20 < len(every.points)
    np.testing.assert_array_equal(few.points, every.points[:20])
    np.testing.assert_array_equal(few.sizes, every.sizes[:20])
    keypoints = cv2.SIFT.create(contrastThreshold=0.03).detect(grey, None)
    response = {(*p.pt, p.size): p.response for p in keypoints}
    keys = [(*p, s) for p, s in zip(every.points.tolist(), every.sizes.tolist())]
    assert len(set(keys)) == len(keys) == len(response)
    strengths = [response[key] for key in keys]
    assert strengths == sorted(strengths, reverse=True)


def test_the_same_image_gives_the_same_features():
    settings = config.Local(n_features=50)
    assert are_equal(
        detect_features(texture(), settings), detect_features(texture(), settings)
    )


@pytest.mark.parametrize("shape", [(64, 64), (1, 1), (3, 200)])
def test_an_image_of_one_grey_has_no_points(shape):
    assert are_equal(
        detect_features(np.full(shape, 90, np.uint8), config.Local()), NO_FEATURES
    )


@pytest.mark.parametrize(
    ("shape", "long_side", "expected"),
    [
        ((400, 800, 3), 512, (256, 512)),
        ((800, 400, 3), 512, (512, 256)),
        ((100, 200, 3), 512, (100, 200)),
        ((1, 2000, 3), 64, (1, 64)),
    ],
)
def test_images_are_shrunk_and_never_enlarged(shape, long_side, expected):
    assert shrink(np.zeros(shape, np.uint8), long_side).shape == expected


def test_shrinking_averages_the_luminance():
    pixels = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    luminance = pixels @ np.array([0.299, 0.587, 0.114])
    expected = luminance.reshape(64, 2, 96, 2).mean(axis=(1, 3))
    assert np.abs(shrink(pixels, 96) - expected).max() <= 1.01


def test_local_features_survive_save_and_load(tmp_path):
    images = [random_features(3), NO_FEATURES, random_features(5, seed=1), NO_FEATURES]
    LocalFeatures.concatenate(images).save(tmp_path / "local")
    copy = LocalFeatures.load(tmp_path / "local")
    assert len(copy) == 4
    assert isinstance(copy.descriptors, np.memmap)
    for image, image_copy in zip(images, copy, strict=True):
        assert are_equal(image, image_copy)
    assert are_equal(copy[-2], images[2])
    assert are_equal(copy[1:3][1], images[2])
    for i in (4, -5):
        with pytest.raises(IndexError):
            copy[i]


def test_empty_local_features_survive_save_and_load(tmp_path):
    LocalFeatures.concatenate([]).save(tmp_path / "none")
    assert len(LocalFeatures.load(tmp_path / "none")) == 0
    LocalFeatures.concatenate([NO_FEATURES]).save(tmp_path / "one")
    assert are_equal(LocalFeatures.load(tmp_path / "one")[0], NO_FEATURES)


@pytest.mark.parametrize("name", ["points", "descriptors", "sizes", "offsets"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "type", "short", "flat"])
def test_damage_is_refused(tmp_path, name, damage):
    folder = tmp_path / "local"
    LocalFeatures.concatenate([random_features(3), random_features(5)]).save(folder)
    path = folder / f"{name}.npy"
    array = np.load(path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "type":
        np.save(path, array.astype(np.float64))
    elif damage == "short":
        np.save(path, array[:-1])
    else:
        np.save(path, array.sum())
    with pytest.raises(ArtefactError, match="local: .*; make the bundle again"):
        LocalFeatures.load(folder)


def test_descending_offsets_are_refused(tmp_path):
    LocalFeatures.concatenate([random_features(3), random_features(5)]).save(
        tmp_path / "local"
    )
    np.save(tmp_path / "local" / "offsets.npy", np.array([0, 9, 8]))
    with pytest.raises(ArtefactError):
        LocalFeatures.load(tmp_path / "local")


def test_without_opencv_the_import_says_what_to_install():
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "from kaggle_kit.errors import KitError\n"
        "try:\n    import kaggle_kit.local_features.matching\n"
        "except KitError as error:\n    print(error)\n"
        "print('tensorflow' in sys.modules)"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "pip install 'kaggle-kit[verify]'\nFalse" in output
