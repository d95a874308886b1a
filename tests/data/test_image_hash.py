"""Hashes of images, compared with their definition, and what changes them and what not."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.fft import dctn

from kaggle_kit.data.image_hash import format_hash, hash_image, parse_hashes
from kaggle_kit.data.near_duplicates import MAX_CHECK, MAX_DISTANCE, hash_files


def rgb(grey):
    return np.repeat(np.asarray(grey, np.uint8)[:, :, None], 3, axis=2)


def bits(word):
    """The bits of a word of 64, the highest first."""
    return [int(digit) for digit in f"{int(word):064b}"]


def distances(one, other):
    """How many bits differ, of the difference hash and of the frequency hash."""
    rows, columns, check = (
        sum(a != b for a, b in zip(bits(x), bits(y), strict=True))
        for x, y in zip(one, other, strict=True)
    )
    return rows + columns, check


def test_difference_hashes_are_comparisons_of_neighbours():
    """Images of just the size that is compared, so that none is resized for it."""
    rng = np.random.default_rng(0)
    wide, high = rng.integers(0, 256, (8, 9)), rng.integers(0, 256, (9, 8))
    expected = [int(wide[y][x + 1] > wide[y][x]) for y in range(8) for x in range(8)]
    assert bits(hash_image(rgb(wide))[0]) == expected
    expected = [int(high[y + 1][x] > high[y][x]) for y in range(8) for x in range(8)]
    assert bits(hash_image(rgb(high))[1]) == expected


def test_frequency_hash_is_the_sign_of_the_cosine_transform():
    grey = np.random.default_rng(1).integers(0, 256, (32, 32))
    expected = dctn(grey.astype(float))[1:9, 1:9].ravel() > 0
    assert bits(hash_image(rgb(grey))[2]) == expected.astype(int).tolist()


def test_text_of_a_hash_is_read_back():
    values = np.random.default_rng(2).integers(0, 2**64, (50, 3), np.uint64)
    values[7] = 0
    texts = [format_hash(value) for value in values]
    assert texts[7] == "" and {len(text) for text in texts} == {0, 48}
    assert (parse_hashes(texts) == values).all()
    assert parse_hashes([]).shape == (0, 3)


def flat_images():
    """Images without contrast, and gradients, which have no bit or few."""
    rng = np.random.default_rng(3)
    slope = np.linspace(250, 130, 60)
    yield from (np.full((60, 80, 3), value, np.uint8) for value in (0, 9, 128, 255))
    yield from (rgb(rng.integers(100, 103, (60, 80))) for _ in range(5))
    yield rgb((slope[:, None] + slope[None]) / 2)  # darker to the right and below
    yield np.full((61, 80, 3), 128, np.uint8)


def test_a_flat_image_is_near_its_copies_alone():
    images = list(flat_images())
    hashes = [hash_image(image) for image in images]
    for i, one in enumerate(hashes):
        assert one.any()
        assert (hash_image(images[i].copy()) == one).all()
        for other in hashes[:i]:
            assert distances(one, other)[0] > 2 * MAX_DISTANCE


def test_a_rotated_file_with_its_orientation_has_the_hash_of_the_image(
    competition, tmp_path
):
    source = next((competition / "test").rglob("*.jpg"))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    with Image.open(source) as image:
        image.save(tmp_path / "upright.png")
        turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    turned.save(tmp_path / "lost.png")
    with Image.open(tmp_path / "turned.png") as image:
        assert ImageOps.exif_transpose(image).size == Image.open(source).size
    upright, oriented, lost = hash_files(
        [tmp_path / f"{name}.png" for name in ("upright", "turned", "lost")]
    )
    assert (upright == oriented).all()
    assert distances(upright, lost)[0] > 2 * MAX_DISTANCE


def test_a_file_without_an_image_has_no_hash(competition, tmp_path):
    source = next((competition / "test").rglob("*.jpg"))
    (tmp_path / "cut.jpg").write_bytes(source.read_bytes()[:700])
    (tmp_path / "text.jpg").write_text("not an image")
    names = ("cut.jpg", "text.jpg", "gone.jpg")
    hashes = hash_files([*(tmp_path / name for name in names), source])
    assert not hashes[:3].any() and hashes[3].any()
    assert hash_files([]).shape == (0, 3)


@pytest.fixture(scope="module")
def textured(competition, tmp_path_factory):
    """Drawn images with the light and shade that real ones have in their smooth parts."""
    rng = np.random.default_rng(4)
    paths = []
    for source in sorted((competition / "test").rglob("*.jpg")):
        with Image.open(source) as image:
            spots = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
            shade = spots.resize(image.size, Image.Resampling.BICUBIC)
            paths.append(tmp_path_factory.getbasetemp() / f"textured-{source.name}")
            Image.blend(image, shade, 0.2).save(paths[-1], quality=90)
    return paths


def scale(image, share):
    size = (round(image.width * share), round(image.height * share))
    return image.resize(size, Image.Resampling.LANCZOS)


def crop(image, share):
    x, y = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES = {
    "half the size": lambda image: (scale(image, 0.5), 90),
    "a third larger": lambda image: (scale(image, 4 / 3), 90),
    "JPEG quality 30": lambda image: (image, 30),
    "1% of each side cut off": lambda image: (crop(image, 0.02), 90),
    "grey": lambda image: (image.convert("L"), 90),
    "darker": lambda image: (image.point(lambda v: round(0.8 * v)), 90),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_image_is_near_what_it_was(change, textured, tmp_path):
    for source in textured:
        with Image.open(source) as image:
            changed, quality = CHANGES[change](image)
            changed.save(tmp_path / source.name, quality=quality)
    before = hash_files(textured)
    after = hash_files([tmp_path / source.name for source in textured])
    found = np.array([distances(*pair) for pair in zip(before, after, strict=True)])
    is_near = (found <= (MAX_DISTANCE, MAX_CHECK)).all(axis=1)
    assert is_near.mean() >= 0.95, found[~is_near]


def test_other_images_are_not_near(textured):
    hashes = hash_files(textured)
    for i, one in enumerate(hashes):
        for other in hashes[:i]:
            assert distances(one, other)[0] > MAX_DISTANCE
