"""Images that were changed by the thousand: no crash, no hang, and the good ones are right."""

import io
import json
import os
import random
import subprocess
import sys
import time
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from kaggle_kit.backends.uploads import CheckedImage
from kaggle_kit.data.index import look
from kaggle_kit.errors import DataError
from tests.helpers import mutated_images as mutants

ROOT = Path(__file__).parents[2]
MOST_MB = 3000  # TensorFlow alone takes some 500
MOST_S = 30  # to decode an image on a busy machine; on an idle one it is less than 6
HUGE = [
    (65_535, 65_535),
    (65_500, 65_500),  # the most that a JPEG may have
    (30_000, 30_000),
    (2**31 - 1, 2**31 - 1),
    (2**16, 1),
    (1, 2**31 - 1),
]


def read(folder, seconds):
    """What ``read_images`` makes of a folder; a signal or a hang fails the test."""
    points = ["points"] if util.find_spec("cv2") else []
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.read_images", str(folder), *points],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("n", "seconds"),
    [
        pytest.param(400, 200, id="more", marks=pytest.mark.extended),
        pytest.param(8000, 3600, id="thousands", marks=pytest.mark.slow),
    ],
)
def test_changed_images_neither_crash_nor_hang_nor_harm_the_others(
    n, seconds, tmp_path, tried
):
    """Every fourth image is a good one: it is read as it is among good ones alone."""
    rng = random.Random(n)
    originals = mutants.originals()
    good, mixed = tmp_path / "good", tmp_path / "mixed"
    good.mkdir()
    mixed.mkdir()
    for i, content in enumerate(originals):
        (good / f"{i}.jpg").write_bytes(content)
    wanted = {}
    for i in range(n):
        (mixed / f"{i:06}.jpg").write_bytes(mutants.mutated(rng, originals))
        if i % 3 == 0:
            which = rng.randrange(len(originals))
            wanted[f"{i:06}-good.jpg"] = f"{which}.jpg"
            (mixed / f"{i:06}-good.jpg").write_bytes(originals[which])
    expected, found = read(good, 120), read(mixed, seconds)
    assert found["peak_mb"] < MOST_MB and found["slowest_s"] < MOST_S
    print(f"{n}: {found['peak_mb']:.0f} MB, {found['slowest_s']:.1f} s for an image")
    for kind in ("seen", "stored"):
        for name, original in wanted.items():
            assert found[kind][name] == expected[kind][original], (kind, name)
        changed = len(found[kind]) - len(wanted)
        assert (
            n / 10 < changed < n * 0.9
        )  # some are read all the same, and some are not
    assert not expected["points"] or set(found["points"]) == set(found["stored"])
    names = {path.name for path in mixed.iterdir()}
    assert set(found["looked"]) == names
    sizes = {name for name, size in found["looked"].items() if isinstance(size, list)}
    assert sizes == set(found["stored"])  # the index and the network say the same
    tried["changed images read by the pipeline, by geometry and by the index"] += n
    tried["of them still read"] += len(found["seen"]) - len(wanted)


def test_the_good_ones_are_as_another_library_reads_them(tmp_path):
    """Within what decoders and resizing differ by."""
    from tests.helpers.decoding import decode_batches

    paths = []
    for i, content in enumerate(mutants.originals()):
        paths.append(tmp_path / f"{i}.jpg")
        paths[-1].write_bytes(content)
    ((which, pixels),) = decode_batches(paths, 48, len(paths))
    assert which.tolist() == list(range(len(paths)))
    for path, image in zip(paths, pixels, strict=True):
        with Image.open(path) as opened:
            other = ImageOps.exif_transpose(opened)
            if other.mode == "I;16":
                other = Image.fromarray((np.asarray(other) // 257).astype(np.uint8))
            other = other.convert("RGB").resize((48, 48), Image.Resampling.BILINEAR)
        off = np.abs(np.asarray(other, float) - image)
        assert off.mean() < 3, path.name


def test_sizes_that_only_the_header_has_take_no_memory(tmp_path, tried):
    """Each kind of image says that it has billions of pixels; one good one is read."""
    originals = mutants.originals()
    for i, content in enumerate(originals):
        for j, size in enumerate(HUGE):
            (tmp_path / f"{i:02}-{j}.jpg").write_bytes(
                mutants.with_size(content, *size)
            )
    (tmp_path / "good.jpg").write_bytes(originals[0])
    found = read(tmp_path, 200)
    assert "good.jpg" in found["seen"]
    assert found["peak_mb"] < MOST_MB
    tried["images of billions of pixels, by their header"] += len(found["looked"]) - 1


@pytest.mark.slow
def test_a_gif_of_gigabytes_in_half_a_megabyte_is_not_unpacked(tmp_path):
    file = io.BytesIO()
    Image.new("L", (25_000, 25_000)).save(file, "GIF")
    assert len(file.getvalue()) < 500_000
    (tmp_path / "bomb.jpg").write_bytes(file.getvalue())
    (tmp_path / "good.jpg").write_bytes(mutants.originals()[0])
    found = read(tmp_path, 200)
    assert set(found["seen"]) == set(found["stored"]) == {"good.jpg"}
    assert found["peak_mb"] < MOST_MB / 2


def enlarged(kind):
    """An image of 40 megapixels."""
    small = Image.open(io.BytesIO(mutants.originals()[0]))
    file = io.BytesIO()
    small.resize((7680, 5208)).save(
        file, kind, **({"compress_level": 1} if kind == "PNG" else {})
    )
    return file.getvalue()


@pytest.mark.extended
def test_images_of_forty_megapixels_are_read_within_bounds(tmp_path):
    (tmp_path / "a.jpg").write_bytes(enlarged("JPEG"))
    (tmp_path / "b.jpg").write_bytes(enlarged("PNG"))
    found = read(tmp_path, 200)
    assert set(found["seen"]) == set(found["stored"]) == {"a.jpg", "b.jpg"}
    assert found["looked"] == {"a.jpg": [7680, 5208], "b.jpg": [7680, 5208]}
    assert found["peak_mb"] < MOST_MB


@pytest.mark.parametrize(
    "n", [pytest.param(300, id="some"), pytest.param(8000, marks=pytest.mark.slow)]
)
def test_the_index_says_of_every_image_its_size_or_what_is_wrong(n, tmp_path, tried):
    rng = random.Random(n + 1)
    originals = mutants.originals()
    path = tmp_path / "x.jpg"
    for _ in range(n):
        path.write_bytes(mutants.mutated(rng, originals))
        start = time.monotonic()
        said = look(path)
        assert time.monotonic() - start < MOST_S
        if isinstance(said, str):
            assert said.isprintable() and said
        else:
            assert min(said) > 0
        tried["changed images looked at by the index"] += 1


@pytest.mark.parametrize(
    "n", [pytest.param(300, id="some"), pytest.param(8000, marks=pytest.mark.slow)]
)
def test_the_app_sees_a_changed_image_or_says_in_one_line_what_is_wrong(n, tried):
    rng = random.Random(n + 2)
    originals = mutants.originals()
    for _ in range(n):
        start = time.monotonic()
        try:
            seen = CheckedImage("x.jpg", mutants.mutated(rng, originals)).pixels(48)
            assert seen.ndim == 3 and seen.shape[2] == 3 and seen.dtype == np.uint8
            assert min(seen.shape) > 0
        except DataError as error:
            assert str(error).isprintable() and "x.jpg" in str(error)
        assert time.monotonic() - start < MOST_S
        tried["changed images shown to the app"] += 1
