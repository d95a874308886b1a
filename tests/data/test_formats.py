"""Every reader of the kit sees the same pixels of an image, or refuses it."""

import io
import random
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import EpsImagePlugin, Image, ImageOps, features

from kaggle_kit import config
from kaggle_kit.backends.images import as_image
from kaggle_kit.backends.pillow import LightEngine
from kaggle_kit.backends.tensorflow import TensorFlowEngine
from kaggle_kit.data import image_files
from kaggle_kit.data.decode import decode_file
from kaggle_kit.data.image_files import FORMATS
from kaggle_kit.data.index import look
from kaggle_kit.data.layout import image_path
from kaggle_kit.data.resize import resize_to_square
from kaggle_kit.data.shard_file import FEATURES, Job, write_shard
from kaggle_kit.errors import DataError
from kaggle_kit.local_features.extract import LocalReader
from kaggle_kit.report.images import thumbnail
from kaggle_kit.report.matches import _pixels as pixels_to_match
from tests.helpers import mutated_images as mutants
from tests.helpers.app_files import ORIENTED, encode, encode_oriented, heic

SIDE = 32
SEES_POINTS = find_spec("cv2") is not None
LOCAL = config.Local(long_side=128, n_features=50)
DATA = config.Data(image_size=SIDE, stored_size=SIDE)


def drawn(mode="RGB"):
    """Smooth shapes, wider than high, different in every orientation."""
    rng = np.random.default_rng(0)
    n = {"L": 1, "LA": 2, "RGBA": 4, "CMYK": 4}.get(mode, 3)
    coarse = rng.integers(0, 256, (5, 7, n), np.uint8)
    layers = [Image.fromarray(coarse[:, :, i]).resize((210, 150)) for i in range(n)]
    if mode in ("P", "1"):
        return Image.merge("RGB", layers).convert(mode)
    return Image.merge(mode, layers) if n > 1 else layers[0]


def deep():
    """Grey with 16 bits, dark enough to fit into 8."""
    return Image.fromarray(np.asarray(drawn("L"), np.uint16) + 100)


RED = Image.new("RGB", (210, 150), "red")
MOVING = {"save_all": True, "append_images": [RED], "duration": 100}
# Options, image and format by name
KINDS = {
    "jpeg": ({"quality": 90}, drawn(), "JPEG"),
    "progressive": ({"progressive": True}, drawn(), "JPEG"),
    "grey jpeg": ({}, drawn("L"), "JPEG"),
    "cmyk": ({"quality": 95}, drawn("CMYK"), "JPEG"),
    "png": ({}, drawn(), "PNG"),
    "grey png": ({}, drawn("L"), "PNG"),
    "palette png": ({}, drawn("P"), "PNG"),
    "black and white png": ({}, drawn("1"), "PNG"),
    "transparent png": ({}, drawn("RGBA"), "PNG"),
    "transparent grey png": ({}, drawn("LA"), "PNG"),
    "transparent palette png": ({"transparency": 3}, drawn("P"), "PNG"),
    "deep png": ({}, deep(), "PNG"),
    "moving png": (MOVING, drawn(), "PNG"),
    "gif": ({}, drawn(), "GIF"),
    "transparent gif": ({"transparency": 5}, drawn("P"), "GIF"),
    "moving gif": (MOVING, drawn(), "GIF"),
    "bmp": ({}, drawn(), "BMP"),
    "grey bmp": ({}, drawn("L"), "BMP"),
    "palette bmp": ({}, drawn("P"), "BMP"),
    "black and white bmp": ({}, drawn("1"), "BMP"),
    "webp": ({}, drawn(), "WEBP"),
    "transparent webp": ({"lossless": True, "exact": True}, drawn("RGBA"), "WEBP"),
    "moving webp": (MOVING, drawn(), "WEBP"),
}
# What TensorFlow refuses, or reads with other colours
NOT_BY_TENSORFLOW = {
    *("palette bmp", "black and white bmp", "transparent webp", "moving webp"),
}
CASES = [
    (name, orientation)
    for name, (_, _, kind) in KINDS.items()
    for orientation in (ORIENTED if kind in ("JPEG", "PNG", "WEBP") else [1])
]


def made(name, orientation=1):
    """The content of a file of ``KINDS``."""
    options, image, kind = KINDS[name]
    if orientation == 1:
        return encode(image, kind, **options)
    if options is MOVING:
        options = options | {"append_images": [RED.transpose(ORIENTED[orientation])]}
    return encode_oriented(image, orientation, kind, **options)


def write(folder: Path, content: bytes) -> Path:
    """A file in the layout of a competition's ``train/``."""
    path = image_path(folder, "abc0")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def stored(folder: Path) -> bytes | None:
    """The image in a shard, or None if the shard lists it as broken."""
    job = Job(DATA, folder, folder / "x.tfrecord", "train", ("abc0",), (0,))
    result = write_shard(job)
    if result.shard is None:
        assert result.broken == ("abc0",)
        return None
    (record,) = tf.data.TFRecordDataset(str(job.path))
    image: bytes = tf.io.parse_single_example(record, FEATURES)["image"].numpy()
    return image


@pytest.mark.parametrize(("name", "orientation"), CASES)
def test_every_reader_sees_the_same_pixels(name, orientation, tmp_path):
    path = write(tmp_path, made(name, orientation))
    with Image.open(path) as image:
        size = ImageOps.exif_transpose(image).size
    whole, square = decode_file(path), decode_file(path, SIDE)
    assert whole.shape == (150, 210, 3) and size == (210, 150)
    kernel, app = TensorFlowEngine(), LightEngine()
    for engine in (kernel, app):
        np.testing.assert_array_equal(engine.decode(path), whole)
        np.testing.assert_array_equal(engine.decode(path, SIDE), square)
    np.testing.assert_array_equal(pixels_to_match(path), whole)
    with Image.open(path) as image:
        np.testing.assert_array_equal(kernel.decode(as_image(image)), whole)
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), float)
    as_array = kernel.decode(as_image(whole), SIDE)
    np.testing.assert_array_equal(as_array, resize_to_square(whole, SIDE))
    quality = {"quality": DATA.jpeg_quality, "chroma_downsampling": False}
    assert stored(tmp_path) == tf.io.encode_jpeg(square, **quality).numpy()
    assert look(path) == size
    thumb = Image.open(io.BytesIO(thumbnail(path, SIDE)))
    assert thumb.width > thumb.height and thumb.getexif() == {}
    if name != "deep png":  # which Pillow cuts off instead of scaling it
        assert np.abs(whole - shown).max() <= (1 if name == "cmyk" else 0)
    if not SEES_POINTS:
        pytest.skip("OpenCV is not installed")
    from kaggle_kit.local_features import sift as points

    expected = points.detect_features(points.shrink(whole, LOCAL.long_side), LOCAL)
    for engine in (kernel, app):
        (found,) = LocalReader(LOCAL, engine).read([path])
        np.testing.assert_array_equal(found.points, expected.points)
        np.testing.assert_array_equal(found.descriptors, expected.descriptors)


@pytest.mark.parametrize("side", [None, SIDE])
@pytest.mark.parametrize(
    "name", [name for name in KINDS if name not in NOT_BY_TENSORFLOW]
)
def test_upright_pixels_are_those_of_tensorflow(name, side, tmp_path):
    """What is read without a turn did not change: the decoders are TensorFlow's own."""
    content = made(name)
    path = write(tmp_path, content)
    if KINDS[name][2] == "JPEG":
        ratio = 4 if side else 1  # 150 pixels are reduced to 38
        expected = tf.io.decode_jpeg(content, 3, ratio, dct_method="INTEGER_ACCURATE")
    else:
        expected = tf.io.decode_image(content, 3, expand_animations=False)
    if side:
        square = tf.image.resize(expected, (side, side), "bilinear", antialias=True)
        expected = np.round(square)
    np.testing.assert_array_equal(decode_file(path, side), expected)


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_turned_image_has_the_pixels_of_the_upright_one(kind, orientation, tmp_path):
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode_oriented(drawn(), orientation, kind, **options)
    path = write(tmp_path, content)
    np.testing.assert_array_equal(decode_file(path), np.asarray(drawn()))


def cut(kind):
    content = encode(drawn(), kind)
    return content[: len(content) // 2]


UNREADABLE = {
    "tiff": encode(drawn(), "TIFF"),
    "jpeg 2000": encode(drawn(), "JPEG2000"),
    "ppm": encode(drawn(), "PPM"),
    "tga": encode(drawn(), "TGA"),
    "icon": encode(drawn(), "ICO"),
    "pdf": encode(drawn(), "PDF"),
    "postscript": encode(drawn(), "EPS"),
    "avif": encode(drawn(), "AVIF") if features.check("avif") else b"....ftypavif",
    "heic": heic(),
    "text": b"<html>404</html>",
    "empty": b"",
    "junk before a jpeg": b"\n\n" + encode(drawn(), "JPEG"),
    "bomb": mutants.with_size(encode(drawn("L"), "PNG"), 30_000, 30_000),
    **{f"{kind} cut off": cut(kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP")},
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_every_reader_refuses_the_same_files(name, tmp_path, monkeypatch):
    path = write(tmp_path, UNREADABLE[name])
    Image.init()

    def start(*_args, **_kwargs):
        raise AssertionError("another plugin of Pillow was used")

    for other in Image.OPEN.keys() - set(FORMATS):
        monkeypatch.setitem(Image.OPEN, other, (start, None))
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)
    for engine in (TensorFlowEngine(), LightEngine()):
        for side in (None, SIDE):
            assert engine.decode(path, side) is None
        if SEES_POINTS:
            assert LocalReader(LOCAL, engine).read([path]) == [None]
    assert stored(tmp_path) is None
    reason = look(path)
    assert isinstance(reason, str) and "object at 0x" not in reason
    assert thumbnail(path) is None
    with pytest.raises(DataError, match="expected an image"):
        pixels_to_match(path)


def test_a_plain_limit_holds_where_pillow_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = write(tmp_path, UNREADABLE["bomb"])
    assert decode_file(path) is None
    assert "900000000" in look(path) or "30000 x 30000" in look(path)


def test_a_jpeg_that_only_pillow_reads_is_read_by_all(tmp_path):
    """The last two bytes are lost, and a page was saved behind."""
    whole = mutants.originals()[0]
    content = whole[:-2] + b"<html>" * 99
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_jpeg(content, 3)
    path = write(tmp_path, content)
    pixels = decode_file(path)
    assert look(path) == (pixels.shape[1], pixels.shape[0])
    np.testing.assert_array_equal(pixels, LightEngine().decode(path))
    path.write_bytes(whole)
    assert np.abs(decode_file(path).astype(int) - pixels).mean() < 1


def test_a_jpeg_that_only_tensorflow_reads_is_in_the_index(tmp_path, monkeypatch):
    path = write(tmp_path, made("jpeg", 6))

    def fail(*_):
        raise OSError("broken data stream")

    monkeypatch.setattr(image_files, "convert_to_rgb", fail)
    assert look(path) == (210, 150)
    path.write_bytes(cut("JPEG"))
    assert look(path) == "broken data stream"


def test_the_index_and_the_network_agree_on_changed_images(tmp_path, tried):
    rng = random.Random(11)
    originals = mutants.originals()
    path = write(tmp_path, b"")
    readable = 0
    for _ in range(150):
        path.write_bytes(mutants.mutated(rng, originals))
        pixels, size = decode_file(path), look(path)
        assert isinstance(size, str) == (pixels is None)
        if pixels is not None:
            assert size == (pixels.shape[1], pixels.shape[0])
            readable += 1
        tried["changed images on which index and network agree"] += 1
    assert 20 < readable < 130


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_image_of_pillow_is_turned_by_what_is_set_in_it(orientation):
    image = drawn()
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(as_image(image).pixels(), expected)
    upright = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(as_image(upright).pixels(), expected)


def test_an_orientation_in_xmp_alone_turns_neither_file_nor_image(tmp_path):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    path = write(tmp_path, encode(drawn(), "JPEG", xmp=xmp))
    with Image.open(path) as image:
        np.testing.assert_array_equal(as_image(image).pixels(), decode_file(path))
    assert look(path) == (210, 150)


def test_a_damaged_image_of_pillow_is_refused_in_one_line():
    image = Image.open(io.BytesIO(cut("PNG")))
    with pytest.raises(DataError, match="image: expected an image that decodes, got"):
        as_image(image).pixels()
    assert (
        TensorFlowEngine().decode(as_image(Image.open(io.BytesIO(cut("PNG"))))) is None
    )
