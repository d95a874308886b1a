"""The Python API: what a notebook imports, and that it says what the commands say."""

import io
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import kaggle_kit
from kaggle_kit import Recogniser, build_bundle, load_config, predict
from kaggle_kit.data.layout import image_path
from kaggle_kit.errors import DataError
from kaggle_kit.storage import tables


@pytest.fixture(scope="module")
def recogniser(bundle_dir):
    with Recogniser.load(bundle_dir) as recogniser:
        yield recogniser


def paths_of(competition):
    ids = tables.read_sample(competition / "sample_submission.csv")
    return [image_path(competition / "test", image_id) for image_id in ids]


def test_importing_the_kit_is_quick_and_loads_nothing_heavy():
    code = (
        "import time; start = time.perf_counter(); import kaggle_kit;"
        "seconds = time.perf_counter() - start;"
        "import sys; heavy = {'tensorflow', 'numpy', 'pandas'} & set(sys.modules);"
        "assert not heavy, heavy; assert seconds < 0.1, seconds"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_of_the_api_is_there_and_documented():
    assert set(kaggle_kit.__all__) == set(dir(kaggle_kit))
    for name in kaggle_kit.__all__:
        value = getattr(kaggle_kit, name)
        assert name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'recognise'"):
        kaggle_kit.recognise  # noqa: B018
    assert load_config("demo.yaml").name == "demo"


@pytest.fixture(scope="module")
def by_class_scores(run_dir, competition, tmp_path_factory):
    """A bundle that ranks by its network's class scores."""
    out = tmp_path_factory.mktemp("head") / "bundle"
    build_bundle([run_dir], competition, out, {"recognition.ranking": "head"})
    return out


@pytest.mark.parametrize("kind", ["bundle_dir", "local", "both", "by_class_scores"])
def test_recognise_gives_the_guesses_of_predict(kind, competition, request, tmp_path):
    """By a network, by local features with geometry, by an ensemble, by class scores."""
    folder = request.getfixturevalue(kind)
    if isinstance(folder, tuple):
        folder = folder[0] / "bundle"
    same = tmp_path / "competition"
    same.mkdir()
    for part in ("train", "test", "sample_submission.csv"):
        (same / part).symlink_to(competition / part)
    # no image that the gallery lacks: ``predict`` would add it
    shutil.copyfile(folder / "gallery" / "gallery.csv", same / "train.csv")
    predict(folder, same, tmp_path / "s.csv")
    guesses = tables.read_submission(tmp_path / "s.csv")
    with Recogniser.load(folder) as recogniser:
        answers = recogniser.recognise(paths_of(competition))
    for guess, answer in zip(guesses.values(), answers, strict=True):
        assert answer.error is None
        assert answer.landmark == guess.landmark_id
        assert answer.confidence == pytest.approx(guess.confidence, abs=1e-5)


def test_an_answer_has_all_that_it_promises(recogniser, competition):
    (answer,) = recogniser.recognise(paths_of(competition)[:1])
    best = answer.candidates[0]
    assert (answer.landmark, answer.name) == (best.landmark, best.name)
    assert (answer.confidence, answer.probability) == (
        best.confidence,
        best.probability,
    )
    assert answer.evidence[0].image_id in recogniser.gallery.image_ids
    assert recogniser.recognise([]) == []


def test_arrays_and_pil_images_are_recognised_as_files_are(recogniser, competition):
    """A PNG is decoded whole, so its pixels are those of the array."""
    (path,) = paths_of(competition)[:1]
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    array, pil = recogniser.recognise([pixels, Image.fromarray(pixels)])
    assert array == pil and array.error is None
    (file,) = recogniser.recognise([str(path)])
    assert array.landmark == file.landmark
    # a decoder may reduce a JPEG before it is resized
    assert array.confidence == pytest.approx(file.confidence, abs=0.05)


def test_a_broken_file_is_an_answer_that_says_so(recogniser, competition, tmp_path):
    (tmp_path / "notes.jpg").write_text("not an image")
    paths = [tmp_path / "notes.jpg", *paths_of(competition)[:1], tmp_path / "none.jpg"]
    broken, good, missing = recogniser.recognise(paths)
    assert good.error is None and good.landmark is not None
    assert broken.error.startswith(f"{paths[0]}: expected an image")
    assert "found no file" in missing.error
    for answer in (broken, missing):
        assert answer.landmark is answer.name is answer.probability is None
        assert answer.margin is answer.is_landmark is None and answer.evidence == ()


def test_a_damaged_image_of_pillow_is_an_answer_that_says_so(recogniser, competition):
    (path,) = paths_of(competition)[:1]
    content = path.read_bytes()
    broken = Image.open(io.BytesIO(content[: len(content) // 2]))
    answer, good = recogniser.recognise([broken, path])
    assert answer.landmark is None and good.error is None
    assert answer.error.startswith("image: expected an image that decodes, got")
    with pytest.raises(DataError, match="got image file is truncated"):
        recogniser.similar(Image.open(io.BytesIO(content[: len(content) // 2])))


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), 5, np.zeros((4, 4, 4), np.uint8)])
def test_what_is_no_image_is_refused_in_one_line(wrong, recogniser):
    with pytest.raises(DataError, match="expected a path, a PIL image or a"):
        recogniser.recognise([wrong])


def test_several_threads_get_the_answers_of_one(local, bundle_dir, competition):
    for folder in (bundle_dir, local[0] / "bundle"):
        with Recogniser.load(folder) as recogniser:
            paths = paths_of(competition)
            expected = recogniser.recognise(paths)
            with ThreadPoolExecutor(4) as pool:
                found = list(pool.map(recogniser.recognise, [paths] * 4))
        assert all(answers == expected for answers in found)


def test_what_was_opened_is_closed(bundle_dir, competition):
    with Recogniser.load(bundle_dir) as warm:  # TensorFlow's own threads stay
        warm.recognise(paths_of(competition))
    before = threading.active_count()
    with Recogniser.load(bundle_dir) as recogniser:
        recogniser.recognise(paths_of(competition))
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_similar_images_are_those_of_the_gallery(recogniser, competition):
    image_id = recogniser.gallery.image_ids[3]
    found = recogniser.similar(image_path(competition / "train", image_id), k=5)
    assert found[0].image_id == image_id
    assert len(found) == 5
    assert [i.similarity for i in found] == sorted(
        (i.similarity for i in found), reverse=True
    )
