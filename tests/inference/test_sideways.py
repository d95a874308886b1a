"""Images that are stored sideways, as phones do, are those that a person sees."""

import shutil
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kaggle_kit import config
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.shards import shards
from kaggle_kit.inference.predict import predict
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.storage import tables
from tests.helpers.agreement import EPSILON
from tests.helpers.app_answers import answer_images
from tests.helpers.app_files import ORIENTED, encode_oriented

N = 24
LONG_SIDE = 160  # of the images here, which keeps the tests fast


def orientation_of(i):
    """Any but upright, in turn."""
    return 2 + i % 7


@pytest.fixture(scope="module", params=["drawn", "real"])
def originals(request, competition):
    """Images by id, none of them square."""
    if request.param == "real":
        competition = request.getfixturevalue("landmarks45")
    place = Competition(competition)
    images = {}
    for image_id in tables.read_sample(place.sample_csv)[:N]:
        with Image.open(image_path(place.test_dir, image_id)) as image:
            image.thumbnail((LONG_SIDE, LONG_SIDE))
            images[image_id] = image.convert("RGB").crop(
                (0, 0, image.width, image.height - 9)
            )
    assert len(images) == N
    return images


def write_competition(root, images, encode, train, labels):
    """A competition of these test images; ``encode`` gets a number and an image."""
    place = Competition(root)
    for i, (image_id, image) in enumerate(images.items()):
        path = image_path(place.test_dir, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(i, image))
    place.train_dir.symlink_to(train)
    shutil.copyfile(labels, place.train_csv)
    tables.write_submission(place.sample_csv, list(images), {})
    return root


@pytest.fixture(scope="module")
def stored(originals, both, competition, tmp_path_factory):
    """By name: competitions with the images upright and turned, without loss and as JPEG."""
    # no image that the gallery lacks: ``predict`` would add it
    labels = both[0] / "bundle" / "gallery" / "gallery.csv"

    def encode(kind, turned, i, image):
        quality = {"quality": 95} if kind == "JPEG" else {}
        orientation = orientation_of(i) if turned else 1
        return encode_oriented(image, orientation, kind, **quality)

    return {
        (kind, turned): write_competition(
            tmp_path_factory.mktemp(kind) / "competition",
            originals,
            partial(encode, kind, turned),
            competition / "train",
            labels,
        )
        for kind in ("PNG", "JPEG")
        for turned in (False, True)
    }


def guesses_of(bundle, competition, out):
    predict(bundle, competition, out)
    return tables.read_submission(out)


def paths_of(competition, images):
    return [image_path(competition / "test", image_id) for image_id in images]


def test_turned_images_get_the_answers_of_upright_ones(
    stored, originals, both, tmp_path
):
    """By a network, visual words and geometry; to the byte where nothing is lost."""
    bundle = both[0] / "bundle"
    upright = guesses_of(bundle, stored["PNG", False], tmp_path / "upright.csv")
    guesses_of(bundle, stored["PNG", True], tmp_path / "turned.csv")
    expected = (tmp_path / "upright.csv").read_bytes()
    assert (tmp_path / "turned.csv").read_bytes() == expected
    paths = paths_of(stored["PNG", True], originals)
    with Recogniser.load(bundle) as recogniser:
        answers = recogniser.recognise(paths)
        opened = recogniser.recognise([Image.open(path) for path in paths])
        assert opened == answers
        for turned, plain in zip(
            paths, paths_of(stored["PNG", False], originals), strict=True
        ):
            assert recogniser.similar(turned, 3) == recogniser.similar(plain, 3)
        as_stored = [
            np.asarray(image.transpose(ORIENTED[orientation_of(i)]))
            for i, image in enumerate(originals.values())
        ]
        sideways = recogniser.recognise(as_stored)
    for answer, guess in zip(answers, upright.values(), strict=True):
        assert answer.landmark == guess.landmark_id
        assert answer.confidence == pytest.approx(guess.confidence, abs=EPSILON)
    # the images and the bundle are such that a turn would be noticed
    off = [
        abs(a.confidence - s.confidence) for a, s in zip(answers, sideways, strict=True)
    ]
    assert np.median(off) > 100 * EPSILON


def test_turned_jpegs_get_the_answers_of_upright_ones(stored, bundle_dir, tmp_path):
    """By a network alone, within what storing them once more changes."""
    upright, turned = (
        guesses_of(bundle_dir, stored["JPEG", turned], tmp_path / f"{turned}.csv")
        for turned in (False, True)
    )
    pairs = list(zip(upright.values(), turned.values(), strict=True))
    # this network is nearly untrained: some of its guesses are close to a tie
    assert sum(a.landmark_id == b.landmark_id for a, b in pairs) >= N - 6
    assert max(abs(a.confidence - b.confidence) for a, b in pairs) < 0.1


def test_the_app_answers_turned_images_as_the_kernel(stored, originals, both, tmp_path):
    if find_spec("ai_edge_litert") is None:
        pytest.skip("the extra 'app' is not installed")
    bundle, guesses, paths = both[0] / "bundle", [], []
    for kind in ("PNG", "JPEG"):
        competition = stored[kind, True]
        guesses += guesses_of(bundle, competition, tmp_path / f"{kind}.csv").values()
        paths += paths_of(competition, originals)
    answers = answer_images(bundle, paths)["answers"]
    for answer, guess in zip(answers, guesses, strict=True):
        best = answer["candidates"][0]
        assert best["landmark"] == guess.landmark_id
        assert best["confidence"] == pytest.approx(guess.confidence, abs=EPSILON)


def test_shards_of_turned_images_are_those_of_upright_ones(
    competition, subset_dir, tmp_path
):
    settings = config.Data(image_size=32, stored_size=36)
    found = []
    for turned in (False, True):
        root = tmp_path / f"{turned}"
        shutil.copytree(competition, root)
        for i, path in enumerate(sorted((root / "train").rglob("*.jpg"))):
            with Image.open(path) as image:
                content = encode_oriented(
                    image.copy(), orientation_of(i) if turned else 1
                )
            Path(path).write_bytes(content)
        manifest = shards(settings, root, subset_dir, root / "shards")
        assert manifest.broken == ()
        found.append([shard.sha256 for shard in manifest.shards])
    assert found[0] == found[1]
