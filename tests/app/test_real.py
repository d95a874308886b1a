"""The app on real images: its answers, its speed and its memory."""

import shutil
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from kaggle_kit import config
from kaggle_kit.bundling.build import build_bundle
from kaggle_kit.data.layout import Competition, image_path
from kaggle_kit.data.subset import subset
from kaggle_kit.inference.predict import predict
from kaggle_kit.inference.recogniser import Recogniser
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.storage import tables
from kaggle_kit.training.trainer import train
from tests.helpers.agreement import EPSILON, check_agreement
from tests.helpers.browsing import upload_files
from tests.helpers.served_app import serve_app
from tests.helpers.signed_bundles import sign

pytestmark = pytest.mark.slow
START_S, FURTHER_S, MEMORY = 5.0, 1.0, 400e6
GALLERY = 5000


@pytest.fixture(scope="module", params=["lite0_320", "lite0_320 in integers"])
def real(request, landmarks45, tmp_path_factory):
    """A bundle of the real images, without training: (bundle, competition)."""
    out = tmp_path_factory.mktemp("real")
    settings = config.load(Path("lite0_320.yaml"))
    subset(settings.subset, settings.seed, landmarks45, out / "subset")
    train(settings, out / "subset", out / "run")
    changes = {"recognition.int8": "integers" in request.param}
    build_bundle([out / "run"], landmarks45, out / "bundle", changes)
    return out / "bundle", landmarks45


def test_answers_agree_with_the_kernel_for_the_whole_test_split(real, tmp_path):
    assert len(check_agreement(*real, tmp_path / "s.csv")) == 693


def test_python_agrees_with_the_kernel_for_the_whole_test_split(real, tmp_path):
    """``recognise`` and ``similar``: the nearest image is at least as near as all shown."""
    folder, competition = real
    predict(folder, competition, tmp_path / "s.csv")
    guesses = tables.read_submission(tmp_path / "s.csv")
    paths = [image_path(competition / "test", image_id) for image_id in guesses]
    with Recogniser.load(folder) as recogniser:
        answers = recogniser.recognise(paths)
        nearest = [recogniser.similar(path, k=1)[0] for path in paths]
    assert len(answers) == 693
    for guess, answer, image in zip(guesses.values(), answers, nearest, strict=True):
        assert answer.landmark == guess.landmark_id
        assert answer.confidence == pytest.approx(guess.confidence, abs=EPSILON)
        shown = max(neighbour.similarity for neighbour in answer.evidence)
        assert image.similarity >= shown - EPSILON


def choose_images(competition):
    """Six images of landmarks, the landmark of the first one, and one of no landmark."""
    files = Competition(competition)
    truths = tables.read_solution(files.solution_csv)
    landmarks = [(i, min(t.landmark_ids)) for i, t in truths.items() if t.landmark_ids]
    other = next(i for i, truth in truths.items() if not truth.landmark_ids)
    paths = [image_path(files.test_dir, i) for i, _ in landmarks[:6]]
    return paths, landmarks[0][1], image_path(files.test_dir, other)


def test_images_with_and_without_a_landmark_get_the_right_verdict(
    real, browser, tmp_path
):
    folder, competition = real
    (image, *_), landmark_id, other = choose_images(competition)
    name = tables.read_names(folder / "names.csv")[landmark_id]
    with serve_app(folder, tmp_path, "--photos", competition) as server:
        page = browser.new_page()
        for path, verdict in ((image, name), (other, "Probably not a landmark")):
            page.goto(server.url)
            page.locator("input[type=file]").first.wait_for(state="attached")
            text = upload_files(page, path)
            assert verdict in text.split("Runners-up")[0]
        page.close()


def test_the_app_is_fast_and_small_with_a_large_gallery(real, browser, tmp_path):
    """The time from the command to the first answer, that of a further one, and memory."""
    folder, competition = real
    large = tmp_path / "large"
    shutil.copytree(folder, large)
    gallery = Gallery.load(folder / "gallery")
    rows = np.arange(GALLERY) % len(gallery.image_ids)
    shutil.rmtree(large / "gallery")
    Gallery(
        [f"{i:016x}" for i in range(GALLERY)],
        gallery.landmark_ids[rows],
        gallery.vectors[rows],
        gallery.penalties[rows],
        np.asarray(gallery.non_landmarks),
    ).save(large / "gallery")
    sign(large)
    images, *_ = choose_images(competition)
    page = browser.new_page()
    page.goto("about:blank")
    start = time.monotonic()
    with serve_app(large, tmp_path, "--photos", competition) as server:
        page.goto(server.url)
        upload = page.locator("input[type=file]").first
        upload.wait_for(state="attached")
        why = page.locator('[data-testid="stExpander"]:has-text("Why")')
        seconds = []
        for n, image in enumerate(images, 1):
            upload.set_input_files(str(image))
            why.nth(n - 1).wait_for(timeout=60_000)
            seconds.append(time.monotonic() - start)
            page.wait_for_timeout(1000)
            start = time.monotonic()
        app = psutil.Process(server.process.pid)
        memory = sum(p.memory_info().rss for p in [app, *app.children()])
    page.close()
    further = np.median(seconds[1:])
    print(f"first {seconds[0]:.1f} s, further {further:.2f} s, {memory / 1e6:.0f} MB")
    assert seconds[0] < START_S
    assert further < FURTHER_S
    assert memory < MEMORY
