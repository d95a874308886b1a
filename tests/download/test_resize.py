"""Images of tars that are resized as they are unpacked."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from kaggle_kit.config.images import Data
from kaggle_kit.data.image_files import DAMAGE
from kaggle_kit.download import archives, staging
from kaggle_kit.download.resize import QUALITY, shrink
from tests.helpers.public_mirror import expected, found, images
from tests.helpers.small_competition import image_id, image_name, jpeg

# The pixels that a camera stores, of upright ones; EXIF 2.3, section 4.6.4
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
}


def smooth(width, height):
    """A picture that differs in every orientation, and survives JPEG."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = (200 * x, 120 * y + 60 * x * y, 255 * (x > 0.7) * (y < 0.4))
    return np.stack(channels, -1).astype(np.uint8)


def encoded(pixels, kind="JPEG", **options):
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, kind, **({"quality": 97} if kind == "JPEG" else {}) | options)
    return out.getvalue()


def opened(content):
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((640, 480), 64, (64, 48)),
        ((480, 640), 64, (48, 64)),
        ((1000, 10), 100, (100, 1)),
        ((513, 400), 512, (512, 399)),
        ((2000, 1500), 512, (512, 384)),
    ],
)
def test_the_longer_side_has_the_pixels_asked_for(size, side, expected):
    assert opened(shrink(encoded(smooth(*size)), side)).size == expected


@pytest.mark.parametrize("size", [(64, 64), (64, 20), (3, 64), (1, 1)])
def test_an_image_is_never_enlarged_nor_encoded_again(size):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(smooth(*size), exif=exif)
    assert shrink(content, 64) == content


@pytest.mark.parametrize("orientation", STORED)
def test_the_orientation_is_applied(orientation):
    upright = smooth(240, 160)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B] = "an author"
    small = opened(shrink(encoded(STORED[orientation](upright), exif=exif), 120))
    assert small.size == (120, 80) and not small.getexif()
    means = upright.reshape(80, 2, 120, 2, 3).mean((1, 3))  # area means: another filter
    error = np.abs(np.asarray(small, float) - means)
    assert error.mean() < 2
    if orientation != 1:
        turned = STORED[orientation](means)
        assert turned.shape != means.shape or np.abs(turned - means).mean() > 20


@pytest.mark.parametrize("side", [48, 100, 200])
def test_a_jpeg_decoded_at_half_its_size_looks_the_same(side):
    pixels = smooth(800, 600)
    small = np.asarray(opened(shrink(encoded(pixels), side)), float)
    box = Image.fromarray(pixels).resize((side, side * 3 // 4), Image.Resampling.BOX)
    assert np.abs(small - np.asarray(box, float)).mean() < 2


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA"])
def test_images_of_other_modes_become_rgb(mode):
    kind = "JPEG" if mode in ("L", "CMYK") else "PNG"
    content = encoded(Image.fromarray(smooth(90, 60)).convert(mode), kind)
    small = opened(shrink(content, 30))
    assert (small.mode, small.format, small.size) == ("RGB", "JPEG", (30, 20))


def test_the_quality_is_that_of_shards(tmp_path):
    assert QUALITY == Data().jpeg_quality
    content = encoded(smooth(90, 60))
    small = opened(shrink(content, 30))
    other = encoded(small, quality=Data().jpeg_quality, subsampling=0)
    assert small.quantization == opened(other).quantization
    assert [layer[1:3] for layer in small.layer] == [(1, 1)] * 3
    assert shrink(content, 30) == shrink(content, 30)


@pytest.mark.parametrize("content", [b"", b"no image", jpeg(0, (90, 60))[:-80]])
def test_a_broken_image_is_not_resized(content):
    with pytest.raises(DAMAGE):
        shrink(content, 30)


# --- The command: images of the mirror are 50 x 40 pixels ---


def small(numbers, side, folder):
    return {
        name: shrink(data, side) for name, data in expected(numbers, folder).items()
    }


@pytest.mark.parametrize(
    ("part", "folder", "numbers"),
    [
        ("train", "train", range(8)),
        ("index", "gldv2_index", range(10, 14)),
        ("test", "gldv2_test", range(20, 32)),
    ],
)
def test_images_are_resized_as_they_are_unpacked(
    part, folder, numbers, mirror, kit, tmp_path
):
    out = tmp_path / "out"
    code, made = kit("--part", part, "--resize", 25)
    assert (code, made["fetched"], made["broken"]) == (0, len(numbers), 0)
    there = found(out, folder)
    assert there == small(numbers, 25, folder)
    assert {opened(data).size for data in there.values()} == {(25, 20)}
    record = json.loads((out / "tars.json").read_text())[part]
    assert record["resize"] == 25
    n_bytes = sum(tar["bytes"] for tar in record["tars"].values())
    assert n_bytes == sum(map(len, there.values()))
    mirror.tars()
    assert kit("--part", part, "--resize", 25)[1]["there"] == len(numbers)
    assert mirror.tars() == []


def test_a_pool_of_small_images(kit, tmp_path):
    args = ["--part", "test", "--without-landmark"]
    assert kit(*args, 3, "--resize", 25, tars=None)[0] == 0
    three = found(tmp_path / "out", "gldv2_test")
    code, made = kit(*args, 8, "--resize", 25, tars=None)
    assert (code, made["fetched"], made["there"]) == (0, 5, 3)
    eight = found(tmp_path / "out", "gldv2_test")
    assert len(three) == 3 and len(eight) == 8 and three.items() <= eight.items()


@pytest.mark.parametrize("before", [25, None])
@pytest.mark.parametrize("after", [30, None])
def test_another_size_is_refused_in_one_line(before, after, mirror, kit, tmp_path):
    options = {size: ["--resize", size] if size else [] for size in (before, after)}
    assert kit(*options[before], tars="0")[0] == 0
    there = found(tmp_path / "out")
    mirror.tars()
    code, line = kit(*options[after])
    if before == after:
        assert code == 0
        return
    assert code == 1 and "choose another --out" in line
    sides = [f"--resize {size}" if size else "no --resize" for size in (before, after)]
    assert f"expected {sides[0]}," in line and f"got {sides[1]};" in line
    assert found(tmp_path / "out") == there and mirror.calls == []
    code, _ = kit(
        "--part", "test", *options[after], tars="0"
    )  # a part has its own size
    assert code == 0


def test_images_of_unknown_origin_are_not_taken_for_resized_ones(kit, tmp_path):
    path = tmp_path / "out" / image_name(image_id(0))
    path.parent.mkdir(parents=True)
    path.write_bytes(jpeg(0))
    code, line = kit("--resize", 25)
    assert code == 1 and "expected no --resize" in line


def test_a_size_may_change_while_there_is_no_image(mirror, kit, tmp_path):
    out = tmp_path / "out"
    md5 = mirror.files.pop("md5sum/train/md5.images_000.txt")
    assert kit("--resize", 30)[0] == 7
    mirror.files["md5sum/train/md5.images_000.txt"] = md5
    assert kit("--resize", 25)[0] == 0
    assert found(out) == small(range(8), 25, "train")


def test_an_interrupted_change_of_size_is_resumed(mirror, kit, tmp_path, stopped_after):
    """The folder is of the size whose images are in it, not of one that had none."""
    out = tmp_path / "out"
    md5 = mirror.files.pop("md5sum/train/md5.images_000.txt")
    assert kit("--resize", 25)[0] == 7
    mirror.files["md5sum/train/md5.images_000.txt"] = md5
    with stopped_after(2):
        assert kit()[0] == 8
    there = found(out)
    code, line = kit("--resize", 25)
    assert code == 1 and "expected no --resize" in line
    assert found(out) == there and len(there) == 2
    assert kit()[0] == 0 and found(out) == expected(range(8))


def test_the_advice_for_a_damaged_record_works_for_small_images(kit, tmp_path):
    out = tmp_path / "out"
    args = ["--part", "test", "--resize", 25]
    assert kit(*args)[0] == 0
    there = found(out, "gldv2_test")
    (out / "tars.json").write_text("{")
    code, line = kit(*args)
    advice = line.rpartition("; ")[2]
    assert code == 1 and advice.startswith("delete it, and those of the folders ")
    assert "gldv2_test/" in advice and "--resize" in advice
    (out / "tars.json").unlink()
    shutil.rmtree(out / "gldv2_test")
    assert kit(*args)[0] == 0 and found(out, "gldv2_test") == there


def test_the_disk_limit_is_for_the_small_images(mirror, kit, tmp_path):
    """Far below what the images take as they are; none is written beyond it."""
    out = tmp_path / "out"
    size = len(mirror.files["train/images_000.tar"])
    sizes = [len(data) for data in small(range(4), 8, "train").values()]
    assert size + sum(sizes) < size + sum(map(len, images(range(4)).values()))
    code, line = kit(
        "--resize", 8, "--disk-gb", (size + sum(sizes) - 1) / 1e9, tars="0"
    )
    assert code == 1 and "train/images_000.tar" in line and "--disk-gb" in line
    there = found(out)
    assert 0 < len(there) < 4 and there.items() <= small(range(4), 8, "train").items()
    code, _ = kit("--resize", 8, "--disk-gb", (size + sum(sizes)) / 1e9, tars="0")
    assert code == 0 and found(out) == small(range(4), 8, "train")
    assert mirror.tars() == ["train/images_000.tar"]


def test_a_second_run_stays_within_the_disk_limit(mirror, kit, tmp_path):
    """It counts the images of the first one, which the limit stopped within a tar."""
    size = len(mirror.files["train/images_000.tar"])
    limit = size + sum(map(len, small(range(4), 8, "train").values())) - 1
    for _ in range(2):
        code, line = kit("--resize", 8, "--disk-gb", limit / 1e9, tars="0")
        assert code == 1 and "train/images_000.tar" in line and "--disk-gb" in line
        there = found(tmp_path / "out")
        assert there and size + sum(map(len, there.values())) <= limit


@pytest.mark.parametrize("spare", [0, -1])
def test_the_disk_needs_room_for_the_next_image_alone(
    spare, mirror, kit, tmp_path, monkeypatch
):
    """Those before it are on the disk already."""
    out = tmp_path / "out"
    whole = small(range(4), 8, "train")
    size = len(mirror.files["train/images_000.tar"]) + sum(map(len, whole.values()))

    def free(_):
        kinds = (".jpg", ".tar", ".part")
        files = [p for p in out.rglob("*") if p.suffix in kinds and p.is_file()]
        return staging.RESERVE + size + spare - sum(p.stat().st_size for p in files)

    monkeypatch.setattr(archives, "WORKERS", 1)
    monkeypatch.setattr(staging, "free_bytes", free)
    code, made = kit("--resize", 8, tars="0")
    if spare:
        assert code == 1 and "make room" in made and len(found(out)) == 3
    else:
        assert code == 0 and found(out) == whole


def test_a_broken_image_stays_as_it_is_and_is_listed(mirror, kit, tmp_path):
    name = image_name(image_id(0)).removeprefix("train/")
    mirror.add_tar(0, [(name, jpeg(0)[:-80]), *images([1]).items()])
    code, made = kit("--resize", 25, tars="0")
    assert (code, made["fetched"], made["broken"]) == (0, 2, 1)
    assert f"train/{name}" in (tmp_path / "out" / "download.broken.csv").read_text()
    there = found(tmp_path / "out")
    assert there == {f"train/{name}": jpeg(0)[:-80]} | small([1], 25, "train")
